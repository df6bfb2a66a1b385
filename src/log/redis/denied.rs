//! A Redis that does not let this process in, or does not let it do what it has to: told once, by
//! the name that Redis gives it, with what to do. Every call goes on being tried, for what is wrong
//! may be mended in Redis while this process runs.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use redis::{ServerError, Value};

/// The rights that Rookery needs, as words of `ACL SETUSER`, for the keys of the prefix `rk`
/// (`--redis-prefix`). The page `docs/operations.md` has them; tests run everything with them, and
/// show that one less is missed.
pub(crate) const RIGHTS: &str = "resetchannels ~{rk:* +evalsha +eval +time +get +set +del +hget +hset +hdel +hlen +hmget +hgetall \
    +hincrby +xadd +xlen +xrange +xsetid +xtrim +xgroup|create +xgroup|destroy +info +wait +cluster|slots +asking \
    +config|get";

/// Different refusals of a right that are told; each names its command or key.
const TOLD_MAX: usize = 32;

/// How Redis refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Denied {
    /// The user or password is not right.
    Password,
    /// A password is asked for, and none is given.
    NoPassword,
    /// The user may not do this.
    Right,
    /// There is no database of that number.
    Database,
}

impl Denied {
    /// Returns how an error refuses, if it does. That a command within a script is refused has no
    /// code of its own, and before 7.2 Redis does not say which.
    pub(super) fn of(error: &ServerError) -> Option<Self> {
        match error.code() {
            "WRONGPASS" => Some(Self::Password),
            "NOAUTH" => Some(Self::NoPassword),
            "NOPERM" => Some(Self::Right),
            _ => error
                .details()
                .filter(|words| is_of_script(words))
                .map(|_| Self::Right),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Password => {
                "redis refuses the user or password of its URL: give those that it has, \
                 percent-encoded"
            }
            Self::NoPassword => {
                "redis asks for a password and its URL has none: give it as \
                 redis://user:password@host, percent-encoded"
            }
            Self::Right => {
                "the user of the URL of redis lacks a right: give it those of `rights` for your \
                 --redis-prefix"
            }
            Self::Database => {
                "redis has no database of the number in its URL: Redis Cluster has only 0, others \
                 as many as `databases`"
            }
        }
    }
}

/// Whether a script was refused one of its commands, by the words of Redis 7.2 and of 7.0: there is
/// no code for it. Decides what is told, not what is done.
pub(super) fn is_of_script(words: &str) -> bool {
    words.contains("ACL failure in script") || words.contains("The user executing the script can't")
}

/// What was told. Cheap to ask on the way of every answer: nothing is looked up unless it is a
/// refusal.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<BTreeSet<(Denied, String)>>);

impl Denials {
    /// Tells of the refusals among the answers of a server.
    pub(super) fn note(&self, redis: &str, answers: &[Value]) {
        for answer in answers {
            match answer {
                Value::ServerError(error) => {
                    if let Some(denied) = Denied::of(error) {
                        self.tell(
                            redis,
                            denied,
                            (error.code(), error.details().unwrap_or_default()),
                        );
                    }
                }
                // A script that caught it gives it back as its answer.
                Value::Array(parts) => {
                    if let [Value::BulkString(word), Value::BulkString(words)] = parts.as_slice()
                        && word == b"BLOCKED"
                        && let Some(words) = std::str::from_utf8(words)
                            .ok()
                            .filter(|words| is_of_script(words))
                    {
                        self.tell(redis, Denied::Right, ("ERR", words));
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells of one, unless it was told.
    pub(super) fn tell(&self, redis: &str, denied: Denied, (code, words): (&str, &str)) {
        // The command or key is in Redis' words; of the others one line is enough, whatever server
        // they come from.
        let which = if denied == Denied::Right {
            words_of(words)
        } else {
            String::new()
        };

        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX || !told.insert((denied, which)) {
            return;
        }

        match denied {
            Denied::Right => {
                tracing::warn!(redis, code, words, rights = RIGHTS, "{}", denied.advice())
            }
            _ => tracing::warn!(redis, code, words, "{}", denied.advice()),
        }
    }

    /// A server let this process in: what kept it out before is mended.
    pub(super) fn entered(&self, redis: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.len();
        told.retain(|(denied, _)| *denied == Denied::Right);
        if told.len() < before {
            tracing::info!(redis, "redis lets this process in");
        }
    }

    /// The words of what was told.
    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<(Denied, String)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

/// What is refused, without the place in a script.
fn words_of(error: &str) -> String {
    error
        .split(" script: ")
        .take(2)
        .collect::<Vec<_>>()
        .join(" script: ")
}
