//! The servers of Redis themselves, past Rookery.

use std::net::SocketAddr;
use std::time::Duration;

use redis::{FromRedisValue, RedisResult};

use crate::support::cluster::Cluster;

/// One command to one server.
pub(crate) fn ask<T: FromRedisValue>(server: SocketAddr, words: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(format!("redis://{server}"))?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query(&mut connection)
}

/// The same, which must succeed.
pub(crate) fn told<T: FromRedisValue>(server: SocketAddr, words: &[&str]) -> T {
    ask(server, words).unwrap_or_else(|error| panic!("{words:?} at {server}: {error}"))
}

/// Names and addresses of the servers of a deployment.
pub(crate) fn servers(cluster: &Cluster, count: usize) -> Vec<(String, SocketAddr)> {
    (1..=count)
        .map(|i| format!("redis-{i}"))
        .map(|name| (name.clone(), cluster.port(&name)))
        .collect()
}

/// Those that are masters now, or else those that are replicas.
pub(crate) fn with_role(
    cluster: &Cluster,
    count: usize,
    master: bool,
) -> Vec<(String, SocketAddr)> {
    let role = if master { "role:master" } else { "role:slave" };
    let fits = |server: &(String, SocketAddr)| {
        told::<String>(server.1, &["INFO", "replication"]).contains(role)
    };
    servers(cluster, count).into_iter().filter(fits).collect()
}
