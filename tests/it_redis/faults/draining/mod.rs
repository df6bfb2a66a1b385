//! Nodes are taken away for good and join while everybody works, and nobody notices (ADR 20).

use serde_json::Value;

use crate::BACKEND;
use crate::faults::common::handing::{NODES, cluster, in_sync, printed};
use crate::load::Load;
use crate::load::check::Report;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields as _, eventually};

mod copies;
mod for_good;
mod undrained;

/// A deployment of its own, that runs.
fn deployment(flags: &[&str]) -> Server {
    Server::Many(Cluster::start_alone(BACKEND, flags))
}

/// The nodes of each row, the owner first, as this node follows the table.
async fn rows(deployment: &Cluster, by: &str) -> Vec<Vec<String>> {
    let told = cluster(deployment, by).await;
    let name = |node: &Value| node.as_str().expect("a name").to_owned();
    let row = |shard: &Value| {
        std::iter::once(&shard["owner"])
            .chain(shard.list("standby"))
            .map(name)
            .collect()
    };
    told.list("shards").iter().map(row).collect()
}

/// Drains a node until it has nothing. What was printed.
async fn drained(deployment: &Cluster, node: &str) -> String {
    let told = printed(
        &deployment
            .ask_while(&["drain", node, "--by", "anna@desk"])
            .await,
        0,
    );
    assert!(
        told.contains(&format!(
            "{node} is drained: no shard names it, and others have everything"
        )),
        "{told}"
    );
    told
}

/// Every row has so many copies, on these nodes alone.
async fn is_kept_by(deployment: &Cluster, nodes: &[&str], copies: usize) {
    for row in rows(deployment, nodes[0]).await {
        let mut distinct = row.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((row.len(), distinct.len()), (copies, copies), "{row:?}");
        assert!(
            row.iter().all(|node| nodes.contains(&node.as_str())),
            "{row:?}"
        );
    }
}

/// Nobody was refused anything, or lost a connection.
fn nobody_noticed(report: &Report) {
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        report.connections, report.readers,
        "no reader lost its connection: {report:?}"
    );
}
