//! How many copies there are, and where they stand, while nodes join and drain.

use super::*;
use crate::faults::common::handing::{SHARDS, owned};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_replicas_a_node_is_stopped_and_another_drained_and_nobody_notices() {
    let server = deployment(&["--nodes", "4", "--replicas", "3"]);
    let deployment = server.cluster();
    let all = ["node-1", "node-2", "node-3", "node-4"];
    in_sync(deployment, &all).await;
    is_kept_by(deployment, &all, 3).await;
    let load = Load::start(&server).await;
    deployment.command(&["stop", "node-1"]).await;
    assert_eq!(deployment.exit_of("node-1"), Some(0));
    load.flows("while a node is stopped").await;
    deployment.command(&["start", "node-1"]).await;
    in_sync(deployment, &all).await;
    drained(deployment, "node-4").await;
    is_kept_by(deployment, &NODES, 3).await;
    load.flows("with three nodes").await;
    nobody_noticed(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_replica_a_node_that_joins_gets_shards_and_one_that_drains_gives_them_and_nobody_notices()
 {
    let flags = [
        "--nodes",
        "3",
        "--expect-nodes",
        "2",
        "--replicas",
        "1",
        "--balance",
        "on",
    ];

    let server = Server::Many(Cluster::prepared(BACKEND, &flags));
    let deployment = server.cluster();
    deployment
        .command(&["start", "redis", "node-1", "node-2", "routers"])
        .await;
    let load = Load::start(&server).await;

    deployment.command(&["start", "node-3"]).await;
    eventually("it owns its share, and each shard has one node", || async {
        let rows = rows(deployment, "node-3").await;
        let counts = NODES.map(|node| rows.iter().filter(|row| row[0] == node).count());
        (rows.iter().all(|row| row.len() == 1)
            && counts.iter().all(|count| (5..=6).contains(count)))
        .then_some(())
    })
    .await;

    load.flows("when all is even").await;
    drained(deployment, "node-1").await;
    is_kept_by(deployment, &["node-2", "node-3"], 1).await;
    deployment.command(&["stop", "node-1"]).await;
    deployment.remove_data("node-1");
    load.flows("without the first").await;
    nobody_noticed(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_stand_in_different_zones_and_a_drain_keeps_them_so() {
    let server = Server::Many(Cluster::prepared(BACKEND, &["--nodes", "4"]));
    let deployment = server.cluster();
    let zone = |node: &str| {
        if ["node-1", "node-2"].contains(&node) {
            "east"
        } else {
            "west"
        }
    };
    let all = ["node-1", "node-2", "node-3", "node-4"];
    for node in all {
        deployment.write(node, "flags", &format!("--zone {}", zone(node)));
    }
    deployment
        .command(&["start", "redis", "nodes", "routers"])
        .await;
    in_sync(deployment, &all).await;
    let are_apart = |rows: Vec<Vec<String>>| {
        rows.iter()
            .all(|row| zone(&row[0]) != zone(&row[1]) && row.len() == 2)
    };
    assert!(are_apart(rows(deployment, "node-1").await));
    let told = cluster(deployment, "node-1").await;
    assert_eq!(
        all.map(|node| told["nodes"][node].text("zone").to_owned()),
        all.map(zone)
    );
    let nodes = printed(&deployment.ask(&["nodes"]), 0);
    assert!(
        nodes
            .lines()
            .skip(1)
            .all(|line| line.ends_with("east") || line.ends_with("west")),
        "{nodes}"
    );

    drained(deployment, "node-1").await;
    assert!(are_apart(rows(deployment, "node-2").await));
    assert_eq!(owned(deployment, "node-2", "node-1").await, 0);
    assert_eq!(rows(deployment, "node-2").await.len(), SHARDS);
}
