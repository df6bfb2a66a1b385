//! Standbys die, come back empty and take over: what is told of them meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::faults::places::{largest, operations, rows, whole};
use crate::load::Load;
use crate::load::breakable::breakable;
use crate::support::Fields as _;
use crate::support::cluster::Cluster;

/// A standby is silent for too long after some heartbeats. Until here is half of the time for which
/// the log is held back for it, which must not be taken for being in sync.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// How many shards their owners tell to have this node as a standby in sync.
async fn in_sync(cluster: &Cluster, node: &str) -> usize {
    let mut count = 0;
    for owner in ["node-1", "node-2", "node-3"]
        .into_iter()
        .filter(|owner| *owner != node)
    {
        let told = operations(cluster, owner, "/cluster").await.unwrap().json();
        let standbys = told
            .list("shards")
            .iter()
            .filter_map(|shard| shard["standbys"].as_array())
            .flatten();
        count += standbys
            .filter(|standby| standby["node"] == node && standby["in_sync"] == true)
            .count();
    }

    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_died_is_not_told_to_be_in_sync_for_as_long_as_the_log_waits_for_it() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    whole(cluster).await;

    let rows = rows(deployment.server()).await;
    let node = rows[0][1].clone();
    assert!(in_sync(cluster, &node).await > 0);

    cluster.command(&["kill", &node]).await;
    let end = Instant::now() + TOLD_WITHIN;

    loop {
        let count = in_sync(cluster, &node).await;
        if count == 0 {
            break;
        }
        assert!(
            Instant::now() < end,
            "{node} is dead, and in sync for {count} shards"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    cluster.command(&["start", &node]).await;
    whole(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeovers_and_the_seeding_of_a_node_without_files_are_nothing_that_a_person_must_look_at()
{
    let deployment = breakable().await;
    let (server, cluster) = (deployment.server(), deployment.cluster());
    whole(cluster).await;
    let load = Load::start(server).await;
    let logged: BTreeMap<String, usize> = cluster
        .names()
        .into_iter()
        .map(|name| (name.clone(), cluster.log_of(&name).len()))
        .collect();
    let node = largest(&rows(server).await);
    cluster.command(&["kill", &node]).await;
    cluster.remove_data(&node);
    load.flows("when its shards were taken over").await;
    cluster.command(&["start", &node]).await;
    whole(cluster).await;
    load.finish().await;

    for (name, before) in logged {
        let log = cluster.log_of(&name);
        let errors: Vec<&str> = log[before..]
            .lines()
            .filter(|line| line.contains("ERROR"))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    assert_eq!(
        server.metric("rookery_shard_apply_stopped_total").await,
        0.0
    );
    assert_eq!(
        server.metric("rookery_shard_apply_quarantined_total").await,
        0.0
    );
}
