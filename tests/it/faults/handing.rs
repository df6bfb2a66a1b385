//! Shards change hands while everybody works, and nobody notices (ADR 19).

use serde_json::Value;

use crate::load::Load;
use crate::load::breakable::{Breakable, breakable};
use crate::support::client::Client;
use crate::support::{Fields as _, eventually};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// As many as a deployment has.
const SHARDS: usize = 16;

/// What the operations port of a node answers.
async fn told(deployment: &Breakable, node: &str, path: &str) -> Option<Vec<u8>> {
    let port = deployment.cluster().port(&format!("{node}.operations"));
    let answer = Client::new(port, "operator").with_token(None).get(path).await;
    (answer.status == 200).then(|| answer.body.to_vec())
}

async fn cluster(deployment: &Breakable, by: &str) -> Value {
    serde_json::from_slice(&told(deployment, by, "/cluster").await.expect("answers")).expect("JSON")
}

/// Waits until every shard is owned and has a standby that is in sync.
async fn in_sync(deployment: &Breakable) {
    eventually("every shard has a standby in sync", || async {
        let mut count = 0;
        for node in NODES {
            let cluster = cluster(deployment, node).await;
            let is_whole = |shard: &&Value| {
                let standbys = shard["standbys"].as_array();
                shard["epoch"].is_u64() && standbys.is_some_and(|all| all.iter().any(|one| one["in_sync"] == true))
            };
            count += cluster.list("shards").iter().filter(is_whole).count();
        }
        (count == SHARDS).then_some(())
    })
    .await;
}

/// How many shards the table gives to this node, as that one follows it.
async fn owned(deployment: &Breakable, by: &str, node: &str) -> usize {
    cluster(deployment, by).await.list("shards").iter().filter(|shard| shard["owner"] == node).count()
}

/// A counter of a node, over all its labels but those given.
async fn counted(deployment: &Breakable, node: &str, name: &str, label: &str) -> f64 {
    let text = told(deployment, node, "/metrics").await.expect("answers");
    let text = String::from_utf8_lossy(&text).into_owned();
    let of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_in_turn_is_asked_to_stop_and_no_request_fails_and_no_takeover_is_needed() {
    let deployment = breakable().await;
    in_sync(&deployment).await;
    let load = Load::start(deployment.server()).await;
    for (node, other) in [("node-1", "node-2"), ("node-2", "node-3"), ("node-3", "node-1")] {
        let before = counted(&deployment, other, "rookery_node_takeovers_total", "result=\"taken\"").await;
        deployment.cluster().command(&["stop", node]).await;
        assert_eq!(deployment.cluster().exit_of(node), Some(0));
        eventually("it is first nowhere", || async { (owned(&deployment, other, node).await == 0).then_some(()) }).await;
        load.flows("while a node is stopped").await;
        let after = counted(&deployment, other, "rookery_node_takeovers_total", "result=\"taken\"").await;
        assert_eq!(before.to_string(), after.to_string(), "nothing was taken over when {node} stopped");
        deployment.cluster().command(&["start", node]).await;
        in_sync(&deployment).await;
    }
    let report = load.finish().await;
    assert!(report.not_written.is_empty() && report.unknown.is_empty(), "{report:?}");
    assert_eq!(report.reads.1, 0, "no read was stale: {report:?}");
    assert_eq!(report.connections, report.readers, "no reader lost its connection: {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_asked_to_stop_at_once_and_everything_is_there_when_they_are_back() {
    let deployment = breakable().await;
    in_sync(&deployment).await;
    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["stop", "nodes"]).await;
    for node in NODES {
        assert_eq!(deployment.cluster().exit_of(node), Some(0), "{node}");
    }
    deployment.cluster().command(&["start", "nodes"]).await;
    load.flows("when all nodes are back").await;
    load.finish().await;
    in_sync(&deployment).await;
}
