//! The second copy of what a connection wrote: how many replicas may be counted on, and the wait
//! for them.

use redis::{Cmd, Value};

use crate::log::redis::{CommitLevel, Config};
use crate::telemetry::LOG_REDIS_COMMANDS;

/// A replica acknowledges every second; one that has not for more seconds than this is not waited
/// for.
const LAG_MAX: i64 = 2;

/// Asks a master for its replicas.
pub(super) fn question() -> Cmd {
    LOG_REDIS_COMMANDS.add(1, &[("command", "info")]);
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    info
}

/// Waits until so many replicas have what this connection wrote.
pub(super) fn wait_for(config: &Config, copies: usize) -> Cmd {
    let mut wait = redis::cmd("WAIT");
    // Where no append waits, the time-out of the lane has no room for a long one.
    let longest = match config.commit {
        CommitLevel::Log => config.timeout / 2,
        CommitLevel::Replicated => config.replica_wait,
    };
    // Zero would be for ever.
    let millis = config.replica_wait.min(longest).as_millis().max(1);
    wait.arg(copies).arg(millis.to_string());
    LOG_REDIS_COMMANDS.add(1, &[("command", "wait")]);
    wait
}

/// Whether INFO tells of a replica that a WAIT may count on; what it does not tell may be so.
pub(super) fn has_replica(info: &Value) -> bool {
    replicas(info).is_none_or(|replicas| replicas > 0)
}

/// How many replicas INFO tells of that a WAIT may count on: online, and heard of lately. `None`
/// when it tells nothing, or not of a master.
pub(super) fn replicas(info: &Value) -> Option<usize> {
    let text = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => return None,
    };

    let told = |line: &str| line.starts_with("connected_slaves:");
    let is_online = |line: &&str| {
        let fields = line
            .strip_prefix("slave")
            .and_then(|rest| rest.split_once(':'))
            .map_or("", |(_, fields)| fields);
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let lag = field("lag").and_then(|lag| lag.parse::<i64>().ok());
        field("state") == Some("online") && lag.is_none_or(|lag| (0..=LAG_MAX).contains(&lag))
    };

    let of_master = !text
        .lines()
        .any(|line| line.starts_with("role:") && line != "role:master");
    (of_master && text.lines().any(told)).then(|| text.lines().filter(is_online).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> bool {
        has_replica(&Value::BulkString(text.as_bytes().to_vec()))
    }

    #[test]
    fn only_a_replica_that_is_online_and_answers_is_waited_for() {
        let with = |fields: &str| {
            format!(
                "# Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=1,{fields}\r\n"
            )
        };

        assert!(told(&with("state=online,offset=14,lag=0")));
        assert!(told(&with("state=online,offset=14,lag=2")));
        assert!(
            !told(&with("state=online,offset=14,lag=3")),
            "it may be paused"
        );
        assert!(
            !told(&with("state=online,offset=0,lag=-1")),
            "it has never answered"
        );
        assert!(!told(&with("state=wait_bgsave,offset=0,lag=0")));
        assert!(!told(
            "role:master\r\nconnected_slaves:0\r\nmaster_replid:x\r\n"
        ));
    }

    #[test]
    fn what_is_not_told_is_waited_for() {
        assert!(told("role:master\r\n"));
        assert!(has_replica(&Value::Nil));
    }

    #[test]
    fn the_replicas_that_answer_are_counted_and_a_replica_has_none_to_count() {
        let one = "ip=127.0.0.1,port=1,state=online,offset=14";
        let text = format!(
            "role:master\r\nconnected_slaves:3\r\nslave0:{one},lag=0\r\nslave1:{one},lag=9\r\nslave2:{one},lag=1\r\n"
        );
        let told = |info: &str| replicas(&Value::BulkString(info.as_bytes().to_vec()));
        assert_eq!(told(&text), Some(2));
        assert_eq!(told("role:master\r\nconnected_slaves:0\r\n"), Some(0));
        assert_eq!(told("role:slave\r\nconnected_slaves:0\r\n"), None);
        assert_eq!(told("role:master\r\n"), None);
    }
}
