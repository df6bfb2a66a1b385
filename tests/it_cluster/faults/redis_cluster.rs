//! Masters and replicas are killed.

use crate::BACKEND;
use crate::load::Load;
use crate::load::breakable::breakable;
use crate::load::servers;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::server::Server;

/// Servers of Redis Cluster.
const SERVERS: usize = 6;

// what must not happen: 3 — a master restarts while all run: sends are taken again, and persisting
// goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_killed_under_load_and_started_again_and_nothing_acknowledged_is_lost() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    let load = Load::start(deployment.server()).await;
    for (name, _) in servers::with_role(cluster, SERVERS, true) {
        cluster.command(&["kill", &name]).await;
        cluster.command(&["start", "redis"]).await;
        load.flows(&name).await;
    }
    load.finish().await;
    crate::behaviour::load::drained(deployment.server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_killed_under_load_and_its_replica_takes_over_and_nothing_acknowledged_is_lost()
{
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    let load = Load::start(deployment.server()).await;
    let masters = servers::with_role(cluster, SERVERS, true);
    let (killed, _) = masters[0].clone();
    cluster.command(&["kill", &killed]).await;

    let others: Vec<_> = servers::servers(cluster, SERVERS)
        .into_iter()
        .filter(|(name, _)| *name != killed)
        .collect();
    eventually("a replica takes over", || async {
        let is_master = |server| {
            servers::told::<String>(server, &["INFO", "replication"]).contains("role:master")
        };
        (others
            .iter()
            .filter(|(_, server)| is_master(*server))
            .count()
            == 3)
            .then_some(())
    })
    .await;

    // What took over has no replica itself: nothing is acknowledged there until one is back, rather
    // than once only.
    cluster.command(&["start", "redis"]).await;
    load.flows("after the failover").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_killed_under_load_and_started_again_and_nothing_acknowledged_is_lost() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    let load = Load::start(deployment.server()).await;
    for (name, _) in servers::with_role(cluster, SERVERS, false) {
        cluster.command(&["kill", &name]).await;
        cluster.command(&["start", "redis"]).await;
        load.flows(&name).await;
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_replica_of_redis_the_standbys_stand_in_for_the_second_copy() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    stop_replicas(deployment.cluster()).await;
    load.flows("without a replica").await;
    deployment.cluster().command(&["start", "redis"]).await;
    load.flows("when the replicas are back").await;
    load.finish().await;
}

async fn stop_replicas(cluster: &Cluster) {
    let replicas: Vec<String> = servers::with_role(cluster, SERVERS, false)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let names: Vec<&str> = replicas.iter().map(String::as_str).collect();
    cluster
        .command(&[&["stop"], names.as_slice()].concat())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_replica_sends_are_503_not_replicated_until_one_is_back() {
    let server = Server::Many(Cluster::start_alone(BACKEND, &["--replicas", "1"]));
    let cluster = server.cluster();
    let load = Load::start(&server).await;
    stop_replicas(cluster).await;

    let group = load.groups()[0];
    eventually("a send is refused as not replicated", || async {
        let answer = group
            .admin
            .post(
                &group.path("/messages"),
                &serde_json::json!({"text": "alone"}),
            )
            .await;
        (answer.status == 503 && answer.json()["code"] == "not_replicated").then_some(())
    })
    .await;

    let before = load.acknowledged();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(
        load.acknowledged(),
        before,
        "nothing is acknowledged with one copy only"
    );

    cluster.command(&["start", "redis"]).await;
    load.flows("when the replicas are back").await;

    // The one that was refused may have been written after all: not a message of the load.
    let report = load.finish_but(&["alone"]).await;
    assert!(
        report.unknown("not_replicated") + report.not_written.len() > 0,
        "{report:?}"
    );
}
