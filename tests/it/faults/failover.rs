//! A node is gone for good, or for so long that its standbys take its shards over.

use futures_util::future::join_all;
use serde_json::Value;

use crate::load::Load;
use crate::load::breakable::{Breakable, breakable};
use crate::support::client::Client;
use crate::support::{Fields as _, Group, eventually, unique};

/// What a node says of the cluster.
async fn told_by(deployment: &Breakable, node: &str) -> Value {
    let port = deployment.cluster().port(&format!("{node}.operations"));
    Client::new(port, "operator")
        .with_token(None)
        .get("/cluster")
        .await
        .json()
}

/// How many shards this node is the first of.
async fn owned(deployment: &Breakable, by: &str, node: &str) -> usize {
    let cluster = told_by(deployment, by).await;
    cluster
        .list("shards")
        .iter()
        .filter(|shard| shard["owner"] == node)
        .count()
}

/// Waits until each row of the table has two nodes, and each node follows what it stands by for.
async fn whole(deployment: &Breakable) {
    eventually("every shard has a standby that follows it", || async {
        let mut following = 0.0;
        for node in ["node-1", "node-2", "node-3"] {
            let port = deployment.cluster().port(&format!("{node}.operations"));
            let answer = Client::new(port, "operator")
                .with_token(None)
                .get("/metrics")
                .await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let line = text
                .lines()
                .find(|line| line.starts_with("rookery_node_standbys{"))?;
            following += line.rsplit(' ').next()?.parse::<f64>().ok()?;
        }
        let cluster = told_by(deployment, "node-1").await;
        let shards = cluster.list("shards");
        let paired = shards
            .iter()
            .filter(|shard| shard.list("standby").len() == 1)
            .count();
        (paired == shards.len() && following >= f64::from(u32::try_from(paired).unwrap()))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_and_its_standbys_take_over_and_later_it_takes_over_in_turn() {
    let deployment = breakable().await;
    whole(&deployment).await;

    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["kill", "node-1"]).await;
    load.flows("while node-1 is gone").await;
    eventually("node-1 is first nowhere", || async {
        (owned(&deployment, "node-2", "node-1").await == 0).then_some(())
    })
    .await;

    deployment.cluster().command(&["start", "node-1"]).await;
    whole(&deployment).await;
    deployment.cluster().command(&["kill", "node-2"]).await;
    load.flows("while node-2 is gone").await;
    eventually("node-1 has shards of node-2", || async {
        (owned(&deployment, "node-1", "node-1").await > 0).then_some(())
    })
    .await;

    deployment.cluster().command(&["start", "node-2"]).await;
    whole(&deployment).await;
    load.finish().await;
}

/// Adds somebody new, and reads their list until it has the conversation. What an acknowledged
/// addition is missing from must say how old it is. False when the addition was not acknowledged.
async fn added_and_listed(deployment: &Breakable, group: &Group) -> bool {
    let user = unique("late");
    if group.admin.add(&group.name, &[&user]).await.status != 200 {
        return false;
    }

    let reader = deployment.server().client(&user);
    eventually("the list has the conversation", || async {
        let list = reader.get("/v1/conversations").await;
        if list.status != 200 {
            return None;
        }
        let has = list
            .json()
            .list("items")
            .iter()
            .any(|item| item["name"] == group.name.as_str());
        assert!(
            has || !list.header("rookery-stale").is_empty(),
            "an unmarked list lacks {} of {user}",
            group.name
        );
        has.then_some(())
    })
    .await;

    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_every_acknowledged_addition_or_says_how_old_it_is_when_a_node_dies() {
    let deployment = breakable().await;
    whole(&deployment).await;

    let mut groups = Vec::new();
    for _ in 0..24 {
        groups.push(Group::create(deployment.server(), 1).await);
    }

    for node in ["node-1", "node-2"] {
        let before = join_all(
            groups
                .iter()
                .map(|group| added_and_listed(&deployment, group)),
        )
        .await;
        assert!(before.iter().all(|acknowledged| *acknowledged));
        deployment.cluster().command(&["kill", node]).await;
        // From the moment of its death until its shards are served elsewhere and longer.
        let mut acknowledged = 0;
        for _ in 0..4 {
            let added = join_all(
                groups
                    .iter()
                    .map(|group| added_and_listed(&deployment, group)),
            )
            .await;
            acknowledged += added.iter().filter(|added| **added).count();
        }
        assert!(acknowledged > 0);
        deployment.cluster().command(&["start", node]).await;
        whole(&deployment).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_paused_until_its_shards_are_taken_and_stands_by_when_it_goes_on() {
    let deployment = breakable().await;
    whole(&deployment).await;
    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["pause", "node-3"]).await;

    // Its sockets hang with it; what its shards do meanwhile the table tells.
    eventually("node-3 is first nowhere", || async {
        (owned(&deployment, "node-1", "node-3").await == 0).then_some(())
    })
    .await;

    deployment.cluster().command(&["resume", "node-3"]).await;
    load.flows("when it goes on").await;
    whole(&deployment).await;
    eventually("node-3 knows that it owns nothing", || async {
        (owned(&deployment, "node-3", "node-3").await == 0).then_some(())
    })
    .await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_and_a_server_of_redis_are_killed_at_once_and_nothing_acknowledged_is_lost() {
    let deployment = breakable().await;
    whole(&deployment).await;
    let load = Load::start(deployment.server()).await;
    deployment
        .cluster()
        .command(&["kill", "node-2", "redis-1"])
        .await;
    // Of Redis Cluster its replica may have become the master meanwhile.
    deployment.cluster().command(&["start", "redis"]).await;
    load.flows("while node-2 is gone").await;
    deployment.cluster().command(&["start", "node-2"]).await;
    whole(&deployment).await;
    load.finish().await;
}
