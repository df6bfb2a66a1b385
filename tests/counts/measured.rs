//! Counters of a deployment: those that its processes tell, and those of its Redis.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::limits;
use crate::support::server::Server;

/// Counters by what they count.
pub(crate) type Counters = BTreeMap<&'static str, f64>;

/// What is read of `/metrics`, and what it is called here.
const METRICS: [(&str, &str); 5] = [
    (limits::LINK_FRAMES, "rookery_link_frames_total"),
    (
        limits::SOCKET_FRAMES,
        "rookery_session_frames_total{direction=\"out\"}",
    ),
    (limits::SOCKET_WRITES, "rookery_session_writes_total"),
    (limits::APPENDS, "rookery_shard_appends_total"),
    (limits::STATEMENTS, "rookery_shard_apply_statements_total"),
];

/// Commands of whoever looks at Redis, and of whoever connects to it.
const NOT_COUNTED: [&str; 6] = ["info", "hello", "client", "ping", "select", "command"];

/// All counters as they stand.
pub(crate) async fn counters(server: &Server) -> Counters {
    let mut counters = Counters::new();
    for (name, metric) in METRICS {
        counters.insert(name, server.metric(metric).await);
    }

    match server {
        Server::One(_) => {
            counters.insert(
                limits::TRANSACTIONS,
                server.metric("rookery_log_transactions_total").await,
            );
        }
        // One process has no links over sockets.
        Server::Many(cluster) => {
            counters.insert(
                limits::LINK_WRITES,
                server.metric("rookery_link_writes_total").await,
            );
            counters.insert(limits::COMMANDS, commands(cluster.port("redis-1")));
        }
    }

    counters
}

/// Every command that Redis has carried out, those inside of scripts too.
fn commands(redis: SocketAddr) -> f64 {
    let client = redis::Client::open(format!("redis://{redis}")).unwrap();
    let mut connection = client
        .get_connection_with_timeout(crate::support::DEADLINE)
        .unwrap();
    let told: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut connection)
        .unwrap();
    let calls = told
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counted = calls
        .filter(|(name, _)| !NOT_COUNTED.contains(&name.split('|').next().unwrap_or_default()));
    counted
        .map(|(_, rest)| {
            rest.split(',')
                .next()
                .unwrap_or_default()
                .parse::<f64>()
                .unwrap()
        })
        .sum()
}

/// What was added between two looks.
pub(crate) fn grown(before: &Counters, after: &Counters) -> Counters {
    after
        .iter()
        .map(|(name, count)| (*name, count - before.get(name).copied().unwrap_or(0.0)))
        .collect()
}
