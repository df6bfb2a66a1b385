//! `scripts/cluster` itself.

use std::collections::BTreeSet;

use crate::BACKEND;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields, Group};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_starts_what_is_missing_on_its_data_and_down_leaves_no_process_behind() {
    let server = Server::Many(Cluster::prepared(BACKEND, &[]));
    let cluster = server.cluster();
    cluster.command(&["up"]).await;
    cluster.command(&["status"]).await;

    let group = Group::create(&server, 1).await;
    let sent = group.admin.say(&group.name, "kept").await;
    let before: BTreeSet<u32> = server.pids().into_iter().collect();
    cluster.command(&["up"]).await;

    assert_eq!(
        server.pids().into_iter().collect::<BTreeSet<u32>>(),
        before,
        "what runs is left alone"
    );

    // One of each kind, and both copies of a third of all slots.
    cluster
        .command(&["kill", "redis-1", "redis-4", "node-2", "router-1"])
        .await;
    cluster.command(&["up"]).await;

    cluster.command(&["status"]).await;
    let kept: BTreeSet<u32> = server
        .pids()
        .into_iter()
        .filter(|pid| before.contains(pid))
        .collect();
    assert_eq!(kept.len(), 3, "only what was missing is started");
    let history = group.members[0].history(&group.name, "").await;
    assert_eq!(history.list("items")[0]["id"], sent["id"]);

    // A paused one ends too.
    cluster.command(&["pause", "redis-2"]).await;
    cluster.command(&["down"]).await;
    assert_eq!(cluster.left_running(), Vec::<String>::new());

    cluster.command(&["up"]).await;
    assert_eq!(
        group.members[0]
            .history(&group.name, "")
            .await
            .list("items")[0]["id"],
        sent["id"]
    );
}
