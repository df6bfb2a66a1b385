//! A node or a router is killed, or asked to stop, and comes back.

use crate::load::Load;
use crate::load::breakable::breakable;
use crate::support::client::Client;
use crate::support::{Fields, Group};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_under_load_and_started_again_and_nothing_acknowledged_is_lost() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    for node in ["node-1", "node-2"] {
        deployment.cluster().command(&["kill", node]).await;
        let before = load.acknowledged();
        // Its shards wait for it or for their standbys; those of the others go on.
        crate::support::eventually("the others go on", || async {
            (load.acknowledged() > before + 10).then_some(())
        })
        .await;
        deployment.cluster().command(&["start", node]).await;
        load.flows(node).await;
    }
    load.finish().await;
}

// what must not happen: 8 — a node that is asked to stop finishes what it began; nothing waits in
// its memory only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_stopped_under_load_and_started_again_and_nothing_acknowledged_is_lost() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["stop", "node-3"]).await;
    assert_eq!(
        deployment.cluster().exit_of("node-3"),
        Some(0),
        "it ended by itself"
    );
    deployment.cluster().command(&["start", "node-3"]).await;
    load.flows("after the start").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_is_killed_under_load_and_sockets_come_back_without_a_gap() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    for router in ["router-1", "router-2"] {
        deployment.cluster().command(&["kill", router]).await;
        // Everybody goes on through the other one.
        load.flows("while one is gone").await;
        deployment.cluster().command(&["start", router]).await;
        load.flows("when it is back").await;
    }
    let report = load.finish().await;
    assert!(
        report.connections > report.readers,
        "some readers were at the router that was killed: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_and_routers_are_killed_under_load_and_started_again_and_nothing_acknowledged_is_lost()
 {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;

    deployment
        .cluster()
        .command(&["kill", "nodes", "routers"])
        .await;
    // In an order that nobody planned for.
    deployment
        .cluster()
        .command(&["--wait", "no", "start", "router-2", "node-3"])
        .await;
    deployment
        .cluster()
        .command(&["--wait", "no", "start", "node-1", "router-1", "node-2"])
        .await;
    load.flows("after the start").await;
    load.finish().await;
}

#[tokio::test]
async fn two_users_chat_through_different_routers() {
    let deployment = breakable().await;
    let server = deployment.server();
    let group = Group::create(server, 1).await;
    let [first, second] = deployment.cluster().routers() else {
        panic!("two routers")
    };
    let (alice, bob) = (
        Client::new(*first, group.admin.user()),
        Client::new(*second, group.members[0].user()),
    );

    for i in 0..5 {
        let (from, to) = if i % 2 == 0 {
            (&alice, &bob)
        } else {
            (&bob, &alice)
        };
        let sent = from.say(&group.name, &format!("m{i}")).await;
        assert_eq!(
            to.history(&group.name, "limit=1").await.list("items")[0]["id"],
            sent["id"]
        );
    }
}
