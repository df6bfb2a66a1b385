//! Shards change hands while everybody works, and nobody notices (ADR 19).

use serde_json::Value;

use crate::BACKEND;
use crate::load::Load;
use crate::load::breakable::breakable;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields as _, eventually};

pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// As many as a deployment has.
pub(crate) const SHARDS: usize = 16;

/// What the operations port of a node answers.
async fn told(deployment: &Cluster, node: &str, path: &str) -> Option<Vec<u8>> {
    let port = deployment.port(&format!("{node}.operations"));
    let answer = Client::new(port, "operator")
        .with_token(None)
        .get(path)
        .await;
    (answer.status == 200).then(|| answer.body.to_vec())
}

pub(crate) async fn cluster(deployment: &Cluster, by: &str) -> Value {
    serde_json::from_slice(&told(deployment, by, "/cluster").await.expect("answers")).expect("JSON")
}

/// Waits until every shard is owned and has a standby that is in sync.
pub(crate) async fn in_sync(deployment: &Cluster, nodes: &[&str]) {
    eventually("every shard has a standby in sync", || async {
        let mut count = 0;
        for node in nodes {
            let cluster = cluster(deployment, node).await;
            let is_whole = |shard: &&Value| {
                let standbys = shard["standbys"].as_array();
                shard["epoch"].is_u64()
                    && standbys.is_some_and(|all| all.iter().any(|one| one["in_sync"] == true))
            };
            count += cluster.list("shards").iter().filter(is_whole).count();
        }
        (count == SHARDS).then_some(())
    })
    .await;
}

/// How many shards the table gives to this node, as that one follows it.
pub(crate) async fn owned(deployment: &Cluster, by: &str, node: &str) -> usize {
    cluster(deployment, by)
        .await
        .list("shards")
        .iter()
        .filter(|shard| shard["owner"] == node)
        .count()
}

/// A counter of a node, over all its labels but those given.
async fn counted(deployment: &Cluster, node: &str, name: &str, label: &str) -> f64 {
    let text = told(deployment, node, "/metrics").await.expect("answers");
    let text = String::from_utf8_lossy(&text).into_owned();
    let of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    text.lines()
        .filter(of)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_in_turn_is_asked_to_stop_and_no_request_fails_and_no_takeover_is_needed() {
    let deployment = breakable().await;
    in_sync(deployment.cluster(), &NODES).await;
    let load = Load::start(deployment.server()).await;

    for (node, other) in [
        ("node-1", "node-2"),
        ("node-2", "node-3"),
        ("node-3", "node-1"),
    ] {
        let before = counted(
            deployment.cluster(),
            other,
            "rookery_node_takeovers_total",
            "result=\"taken\"",
        )
        .await;
        deployment.cluster().command(&["stop", node]).await;
        assert_eq!(deployment.cluster().exit_of(node), Some(0));
        eventually("it is first nowhere", || async {
            (owned(deployment.cluster(), other, node).await == 0).then_some(())
        })
        .await;
        load.flows("while a node is stopped").await;
        let after = counted(
            deployment.cluster(),
            other,
            "rookery_node_takeovers_total",
            "result=\"taken\"",
        )
        .await;
        assert_eq!(
            before.to_string(),
            after.to_string(),
            "nothing was taken over when {node} stopped"
        );
        deployment.cluster().command(&["start", node]).await;
        in_sync(deployment.cluster(), &NODES).await;
    }

    let report = load.finish().await;
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(report.reads.1, 0, "no read was stale: {report:?}");
    assert_eq!(
        report.connections, report.readers,
        "no reader lost its connection: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_asked_to_stop_at_once_and_everything_is_there_when_they_are_back() {
    let deployment = breakable().await;
    in_sync(deployment.cluster(), &NODES).await;
    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["stop", "nodes"]).await;
    for node in NODES {
        assert_eq!(deployment.cluster().exit_of(node), Some(0), "{node}");
    }
    deployment.cluster().command(&["start", "nodes"]).await;
    load.flows("when all nodes are back").await;
    load.finish().await;
    in_sync(deployment.cluster(), &NODES).await;
}

/// Waits until the nodes own about equally many, and no row has more nodes than it should; how many
/// the last one owns then.
pub(crate) async fn evened_out(deployment: &Cluster, nodes: &[&str]) -> usize {
    let least = SHARDS / nodes.len();
    let last = nodes[nodes.len() - 1];

    // It has to be there for a while, and a new one is seeded first.
    eventually("it gets something", || async {
        (owned(deployment, last, last).await > 0).then_some(())
    })
    .await;

    eventually("the shards are evened out", || async {
        let mut owned_by = Vec::new();
        for node in nodes {
            owned_by.push(owned(deployment, last, node).await);
        }
        let told = cluster(deployment, last).await;
        let paired = told
            .list("shards")
            .iter()
            .filter(|shard| shard.list("standby").len() == 1)
            .count();
        let is_even = owned_by
            .iter()
            .all(|count| (least..=least + 1).contains(count));
        (is_even && paired == SHARDS).then(|| owned_by[nodes.len() - 1])
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_owns_its_share_again_and_nobody_notices() {
    let server = Server::Many(Cluster::start_alone(BACKEND, &["--balance", "on"]));
    let deployment = server.cluster();
    in_sync(deployment, &NODES).await;
    deployment.command(&["stop", "node-3"]).await;
    deployment.command(&["start", "node-3"]).await;

    let load = Load::start(&server).await;
    evened_out(deployment, &NODES).await;
    load.flows("when all is even").await;

    let report = load.finish().await;
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        report.connections, report.readers,
        "no reader lost its connection: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_and_gets_its_share_and_nobody_notices() {
    let server = Server::Many(Cluster::prepared(
        BACKEND,
        &["--nodes", "4", "--expect-nodes", "3", "--balance", "on"],
    ));
    let deployment = server.cluster();
    deployment
        .command(&["start", "redis", "node-1", "node-2", "node-3", "routers"])
        .await;
    in_sync(deployment, &NODES).await;

    let load = Load::start(&server).await;
    deployment.command(&["start", "node-4"]).await;
    let all = ["node-1", "node-2", "node-3", "node-4"];
    assert_eq!(evened_out(deployment, &all).await, SHARDS / 4);

    in_sync(deployment, &all).await;
    load.flows("with four nodes").await;

    let report = load.finish().await;
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        report.connections, report.readers,
        "no reader lost its connection: {report:?}"
    );
}

/// What a command printed, which ended with this code.
pub(crate) fn printed(output: &std::process::Output, code: i32) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    out + &err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_told_how_the_cluster_stands_and_moves_a_shard_with_its_key() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    in_sync(cluster, &NODES).await;
    let status = printed(&cluster.ask(&["status"]), 0);
    assert!(
        status.starts_with("All is well.\n16 shards on 3 nodes"),
        "{status}"
    );
    // Its exit code is 1 as long as the former owner does not follow again.
    let shards = || -> Value {
        serde_json::from_slice(&cluster.ask(&["--json", "shards"]).stdout).expect("JSON")
    };
    let row = |shards: &Value| {
        let name = |value: &Value| value.as_str().expect("a name").to_owned();
        (name(&shards[3]["owner"]), name(&shards[3]["standby"][0]))
    };
    let (owner, standby) = row(&shards());

    let load = Load::start(deployment.server()).await;
    let moved = printed(&cluster.ask(&["move", "3", &standby]), 0);
    assert_eq!(moved, format!("{standby} owns shard s3\n"));
    eventually("the table says so", || async {
        (row(&shards()) == (standby.clone(), owner.clone())).then_some(())
    })
    .await;
    let again = printed(&cluster.ask(&["move", "3", &standby]), 2);
    assert!(again.contains("owns shard s3 already"), "{again}");
    let nowhere = printed(&cluster.ask(&["move", "3", "node-9"]), 2);
    assert!(
        nowhere.contains("node-9 is no standby of shard s3 that is in sync"),
        "{nowhere}"
    );
    load.flows("when a shard was moved").await;
    let report = load.finish().await;
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );

    // Whoever has no key changes nothing.
    let port = cluster.port("node-1.operations");
    let stranger = Client::new(port, "operator").with_token(None);
    let refused = stranger
        .post(
            &format!("/shards/3/owner?node={owner}"),
            &serde_json::json!({}),
        )
        .await;
    assert_eq!(refused.status, 401);
    assert_eq!(row(&shards()).0, standby);

    cluster.command(&["stop", "node-2"]).await;
    let ill = eventually("it is told", || async {
        let output = cluster.ask(&["status"]);
        (output.status.code() == Some(1)).then(|| printed(&output, 1))
    })
    .await;
    assert!(ill.contains("node-2 does not answer"), "{ill}");
    cluster.command(&["start", "node-2"]).await;
    in_sync(cluster, &NODES).await;
    printed(&cluster.ask(&["status"]), 0);
}
