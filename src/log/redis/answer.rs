//! The table of answers: what each reply to an append says about the batch. Pure; the table with
//! its reasons is in `docs/adr/0012-redis-log.md`.

use redis::{ServerError, Value};

use crate::log::redis::denied::{Denied, is_of_script};
use crate::log::redis::keys::{tail_of, token_of};
use crate::log::{AppendError, AppendOutcome};

/// What a reply says, and what the lane has to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For the caller.
    pub(super) result: Result<AppendOutcome, AppendError>,
    /// For the lane.
    pub(super) sign: Sign,
}

/// What the lane has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// Nothing.
    Nothing,
    /// Send the script's text.
    NoScript,
    /// The slot is over there.
    Moved(String),
    /// The keys are over there, though the slot is here still.
    Ask(String),
    /// This server does not serve now: read the slots anew.
    Unserved,
    /// The connection failed: read the slots anew.
    Unanswered,
    /// Tell a person that a server is in need (WARN).
    Warn,
    /// Tell a person that something is broken (ERROR).
    Broken,
}

impl Verdict {
    fn new(result: Result<AppendOutcome, AppendError>, sign: Sign) -> Self {
        Self { result, sign }
    }

    /// For this shard alone, as far as is known.
    fn doubt(reason: impl Into<String>, sign: Sign) -> Self {
        Self::new(Err(AppendError::InDoubt(reason.into())), sign)
    }

    /// For whatever else is sent to that server, too.
    fn silence(reason: impl Into<String>, sign: Sign) -> Self {
        Self::new(Err(AppendError::Unanswered(reason.into())), sign)
    }

    fn not_written(reason: impl Into<String>, sign: Sign) -> Self {
        Self::new(Err(AppendError::NotWritten(reason.into())), sign)
    }

    /// Of a reply to the script.
    pub(super) fn of(reply: &Value) -> Self {
        let malformed = || Self::doubt(format!("a malformed answer: {reply:?}"), Sign::Warn);
        let parts = match reply {
            Value::ServerError(error) => return Self::of_error(error),
            Value::Array(parts) => parts.as_slice(),
            _ => return malformed(),
        };

        let texts: Option<Vec<&[u8]>> = parts.iter().map(text).collect();
        match texts.as_deref() {
            Some([b"OK"]) => Self::new(Ok(AppendOutcome::Appended), Sign::Nothing),
            Some([b"DONE"]) => Self::new(Ok(AppendOutcome::AlreadyDone), Sign::Nothing),
            Some([b"FENCED", token]) => token_of(token).map_or_else(malformed, |current| {
                Self::new(Ok(AppendOutcome::Fenced { current }), Sign::Nothing)
            }),
            Some([b"MISMATCH", tail]) => tail_of(tail).map_or_else(malformed, |found| {
                Self::new(Ok(AppendOutcome::TailMismatch { found }), Sign::Nothing)
            }),
            Some([b"NOSTREAM"]) => Self::not_written("the stream is gone from redis", Sign::Broken),
            Some([b"BLOCKED", words]) if std::str::from_utf8(words).is_ok_and(is_of_script) => {
                Self::not_written(String::from_utf8_lossy(words), Sign::Nothing)
            }
            Some([b"BLOCKED", words]) => Self::not_written(
                format!("the stream refuses it: {}", String::from_utf8_lossy(words)),
                Sign::Broken,
            ),
            _ => malformed(),
        }
    }

    fn of_error(error: &ServerError) -> Self {
        let detail = error.details().unwrap_or_default();
        let words = format!("{} {detail}", error.code());
        // The second word of a redirection is the address.
        let address = || {
            detail
                .split_ascii_whitespace()
                .nth(1)
                .unwrap_or_default()
                .to_owned()
        };

        match error.code() {
            // Told once for all commands, with what to do.
            _ if Denied::of(error).is_some() => Self::doubt(words, Sign::Nothing),
            "NOSCRIPT" => Self::doubt(words, Sign::NoScript),
            "MOVED" => Self::doubt(words, Sign::Moved(address())),
            "ASK" => Self::doubt(words, Sign::Ask(address())),
            // The slot is split, or has no master: the server serves its others.
            "TRYAGAIN" => Self::doubt(words, Sign::Unserved),
            "CLUSTERDOWN" if detail.contains("slot") => Self::doubt(words, Sign::Unserved),
            "CLUSTERDOWN" | "READONLY" | "LOADING" | "MASTERDOWN" => {
                Self::silence(words, Sign::Unserved)
            }
            "BUSY" => Self::silence(words, Sign::Nothing),
            "NOREPLICAS" => Self::new(Err(AppendError::NotReplicated(words)), Sign::Nothing),
            // No memory; and a disk that takes nothing, without which Redis takes nothing either.
            // Told by the lane, once.
            "OOM" | "MISCONF" => Self::new(
                Err(AppendError::Full {
                    reason: words,
                    in_doubt: false,
                }),
                Sign::Nothing,
            ),
            _ => Self::doubt(words, Sign::Warn),
        }
    }

    /// Of a batch whose connection failed before it was answered.
    pub(super) fn unanswered(reason: &str) -> Self {
        Self::silence(reason, Sign::Unanswered)
    }

    /// Of a batch for whose slot no server is known.
    pub(super) fn unserved() -> Self {
        Self::doubt("no server is known for its slot", Sign::Unserved)
    }

    /// The same about its shard alone: the server that it was sent on to is not the one of its
    /// place.
    pub(super) fn of_another_place(self) -> Self {
        match self.result {
            Err(AppendError::Unanswered(reason)) => Self::doubt(reason, self.sign),
            _ => self,
        }
    }

    /// The same, given what WAIT said behind it.
    pub(super) fn after_wait(self, wait: Option<&Value>) -> Self {
        let written = matches!(
            self.result,
            Ok(AppendOutcome::Appended | AppendOutcome::AlreadyDone)
        );
        let reason = match wait {
            Some(Value::Int(copies)) if *copies >= 1 => None,
            Some(Value::Int(_)) => Some("no replica confirmed it in time".to_owned()),
            Some(Value::ServerError(error)) => Some(error.to_string()),
            Some(other) => Some(format!("a malformed answer to WAIT: {other:?}")),
            None => None,
        };

        match reason {
            Some(reason) if written => {
                Self::new(Err(AppendError::NotReplicated(reason)), Sign::Nothing)
            }
            _ => self,
        }
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Offset};
    use crate::log::Token;
    use crate::log::record::Tail;

    fn reply(resp: &str) -> Verdict {
        Verdict::of(&redis::parse_redis_value(resp.as_bytes()).unwrap())
    }

    fn parts(parts: &[&str]) -> Verdict {
        Verdict::of(&Value::Array(
            parts
                .iter()
                .map(|part| Value::BulkString(part.as_bytes().to_vec()))
                .collect(),
        ))
    }

    fn doubt(verdict: &Verdict) -> &Sign {
        assert!(
            matches!(
                verdict.result,
                Err(AppendError::InDoubt(_) | AppendError::Unanswered(_))
            ),
            "{verdict:?}"
        );
        &verdict.sign
    }

    #[test]
    fn ok_and_done_are_committed_where_no_second_copy_is_asked_for() {
        let appended = Verdict::new(Ok(AppendOutcome::Appended), Sign::Nothing);
        assert_eq!(parts(&["OK"]).after_wait(None), appended);
        assert_eq!(
            parts(&["DONE"]).after_wait(None).result,
            Ok(AppendOutcome::AlreadyDone)
        );
    }

    #[test]
    fn ok_and_done_are_committed_only_when_wait_counts_a_replica() {
        for (copies, committed) in [(0, false), (1, true), (2, true)] {
            for word in ["OK", "DONE"] {
                let verdict = parts(&[word]).after_wait(Some(&Value::Int(copies)));
                assert_eq!(verdict.result.is_ok(), committed, "{verdict:?}");
                assert!(committed || matches!(verdict.result, Err(AppendError::NotReplicated(_))));
            }
        }
        for broken in [
            "-ERR WAIT cannot be used with replica instances\r\n",
            "$-1\r\n",
            "+OK\r\n",
        ] {
            let wait = redis::parse_redis_value(broken.as_bytes()).unwrap();
            let verdict = parts(&["OK"]).after_wait(Some(&wait));
            assert!(
                matches!(verdict.result, Err(AppendError::NotReplicated(_))),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn fenced_and_mismatch_are_definite_whatever_wait_says() {
        let current = Token {
            epoch: Epoch(7),
            nonce: 0xab,
        };
        let fenced = parts(&["FENCED", "7:00000000000000ab"]).after_wait(Some(&Value::Int(0)));
        assert_eq!(fenced.result, Ok(AppendOutcome::Fenced { current }));

        let nobody = Token {
            epoch: Epoch(0),
            nonce: 0,
        };

        assert_eq!(
            parts(&["FENCED", ""]).result,
            Ok(AppendOutcome::Fenced { current: nobody })
        );

        let found = Tail {
            offset: Offset(3),
            ..Tail::EMPTY
        };
        let mismatch =
            parts(&["MISMATCH", &format!("3:{}", "0".repeat(32))]).after_wait(Some(&Value::Int(0)));
        assert_eq!(mismatch.result, Ok(AppendOutcome::TailMismatch { found }));
    }

    #[test]
    fn a_stream_that_is_gone_or_refuses_the_id_is_surely_not_written_and_a_person_must_look() {
        for verdict in [
            parts(&["NOSTREAM"]),
            parts(&[
                "BLOCKED",
                "ERR The ID specified in XADD is equal or smaller",
            ]),
        ] {
            assert!(
                matches!(verdict.result, Err(AppendError::NotWritten(_))),
                "{verdict:?}"
            );
            assert_eq!(verdict.sign, Sign::Broken);
        }
    }

    #[test]
    fn noscript_asks_for_the_text() {
        let verdict = reply("-NOSCRIPT No matching script. Please use EVAL.\r\n");
        assert_eq!(doubt(&verdict), &Sign::NoScript);
    }

    #[test]
    fn redirections_name_the_other_server() {
        assert_eq!(
            doubt(&reply("-MOVED 3999 127.0.0.1:6381\r\n")),
            &Sign::Moved("127.0.0.1:6381".to_owned())
        );
        assert_eq!(
            doubt(&reply("-ASK 3999 127.0.0.1:6381\r\n")),
            &Sign::Ask("127.0.0.1:6381".to_owned())
        );
        assert_eq!(doubt(&reply("-MOVED\r\n")), &Sign::Moved(String::new()));
    }

    #[test]
    fn a_server_that_does_not_serve_now_is_waited_for() {
        for words in [
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-CLUSTERDOWN The cluster is down",
            "-CLUSTERDOWN Hash slot not served",
            "-READONLY You can't write against a read only replica.",
            "-READONLY Can not run script with write flag on readonly replica.",
            "-LOADING Redis is loading the dataset in memory",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        ] {
            assert_eq!(
                doubt(&reply(&format!("{words}\r\n"))),
                &Sign::Unserved,
                "{words}"
            );
        }
    }

    #[test]
    fn what_concerns_one_slot_says_nothing_about_its_server_and_what_concerns_the_server_does() {
        let concerns_all =
            |verdict: &Verdict| matches!(verdict.result, Err(AppendError::Unanswered(_)));
        for words in [
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-CLUSTERDOWN Hash slot not served",
            "-MOVED 3999 127.0.0.1:6381",
            "-ASK 3999 127.0.0.1:6381",
            "-ERR Error running script: something",
        ] {
            assert!(!concerns_all(&reply(&format!("{words}\r\n"))), "{words}");
        }

        for words in [
            "-CLUSTERDOWN The cluster is down",
            "-READONLY You can't write against a read only replica.",
            "-LOADING Redis is loading the dataset in memory",
            "-BUSY Redis is busy running a script.",
        ] {
            let verdict = reply(&format!("{words}\r\n"));
            assert!(concerns_all(&verdict), "{words}");
            assert!(!concerns_all(&verdict.of_another_place()), "{words}");
        }

        assert!(
            concerns_all(&Verdict::unanswered("time-out")) && !concerns_all(&Verdict::unserved())
        );
    }

    #[test]
    fn too_few_replicas_is_not_replicated() {
        let verdict = reply("-NOREPLICAS Not enough good replicas to write.\r\n");
        assert!(
            matches!(verdict.result, Err(AppendError::NotReplicated(_))),
            "{verdict:?}"
        );
    }

    #[test]
    fn out_of_memory_and_misconfigured_are_surely_not_written() {
        let full = reply(
            "-OOM allow-oom flag is not set on the script, can not run it when used memory > \
             'maxmemory'\r\n",
        );
        let is_full = |verdict: &Verdict| {
            matches!(
                verdict.result,
                Err(AppendError::Full {
                    in_doubt: false,
                    ..
                })
            )
        };
        assert!(is_full(&full) && full.sign == Sign::Nothing, "{full:?}");

        let words = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.";
        let broken = reply(&format!("-{words}\r\n"));
        let reason = words.to_owned();
        let told = Verdict::new(
            Err(AppendError::Full {
                reason,
                in_doubt: false,
            }),
            Sign::Nothing,
        );
        assert_eq!(broken, told, "with redis's own words");
    }

    #[test]
    fn a_busy_server_is_tried_again() {
        let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
        assert_eq!(doubt(&reply(busy)), &Sign::Nothing);
    }

    #[test]
    fn what_this_process_may_not_do_is_in_doubt_and_told_elsewhere() {
        for denied in [
            "-NOAUTH Authentication required.\r\n",
            "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
            "-ERR ACL failure in script: User a has no permissions to run the 'xadd' command \
             script: b, on @c:1.\r\n",
            "-ERR The user executing the script can't run this command or subcommand script: b, on \
             @c:1.\r\n",
        ] {
            assert_eq!(doubt(&reply(denied)), &Sign::Nothing, "{denied:?}");
        }

        let caught = parts(&[
            "BLOCKED",
            "ERR The user executing the script can't run this command or subcommand",
        ]);

        assert!(
            matches!(caught.result, Err(AppendError::NotWritten(_)))
                && caught.sign == Sign::Nothing,
            "{caught:?}"
        );
    }

    #[test]
    fn anything_else_is_in_doubt_and_told() {
        for other in [
            "-ERR Error running script: something\r\n",
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
            "+OK\r\n",
            ":1\r\n",
            "*0\r\n",
            "*1\r\n$5\r\nHELLO\r\n",
            "*2\r\n$6\r\nFENCED\r\n$1\r\nx\r\n",
            "*2\r\n$8\r\nMISMATCH\r\n$0\r\n\r\n",
        ] {
            assert_eq!(doubt(&reply(other)), &Sign::Warn, "{other:?}");
        }
    }

    #[test]
    fn a_connection_that_failed_leaves_everything_in_doubt() {
        assert_eq!(doubt(&Verdict::unanswered("time-out")), &Sign::Unanswered);
        assert_eq!(
            doubt(&Verdict::unanswered("time-out").after_wait(None)),
            &Sign::Unanswered
        );
    }
}
