//! Flags of `rookery dev`, by whom they are for in a deployment of several processes.

use super::*;

/// Shards of a deployment; as many as `rookery dev` has.
const SHARDS: &str = "16";

/// Flags of `rookery dev` that only a router knows, and those that both know; all others belong to
/// nodes.
const OF_ROUTERS: [&str; 5] = [
    "--cors-origins",
    "--connections-max",
    "--hold-bytes",
    "--request-budget",
    "--sockets-max",
];

const OF_BOTH: [&str; 9] = [
    "--threads",
    "--jwks",
    "--jwt-issuer",
    "--jwt-audience",
    "--token-cache",
    "--drain-window",
    "--log-level",
    "--log-format",
    "--redis-timeout",
];

pub(super) fn kind(backend: Backend) -> &'static str {
    match backend {
        Backend::Redis => "single",
        Backend::Embedded | Backend::RedisCluster => "cluster",
    }
}

/// The number of shards, which is the deployment's.
pub(super) fn shards_of<'a>(flags: &[&'a str]) -> &'a str {
    flags
        .chunks(2)
        .find(|pair| pair[0] == "--shards")
        .map_or(SHARDS, |pair| pair[1])
}

/// Flags by whom they are for.
pub(super) struct Sorted<'a> {
    pub(super) nodes: usize,
    pub(super) routers: usize,
    pub(super) of_nodes: Vec<&'a str>,
    pub(super) of_routers: Vec<&'a str>,
}

pub(super) fn sorted<'a>(flags: &[&'a str]) -> Sorted<'a> {
    let mut sorted = Sorted {
        nodes: 3,
        routers: 2,
        of_nodes: Vec::new(),
        of_routers: Vec::new(),
    };

    for pair in flags.chunks(2) {
        let &[flag, value] = pair else {
            panic!("a flag without a value: {pair:?}")
        };
        match flag {
            "--nodes" => sorted.nodes = value.parse().unwrap(),
            "--routers" => sorted.routers = value.parse().unwrap(),
            "--shards" => {}
            _ => {
                if OF_ROUTERS.contains(&flag) || OF_BOTH.contains(&flag) {
                    sorted.of_routers.extend([flag, value]);
                }
                if !OF_ROUTERS.contains(&flag) {
                    sorted.of_nodes.extend([flag, value]);
                }
            }
        }
    }

    sorted
}
