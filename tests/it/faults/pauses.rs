//! Redis answers late, or has forgotten its scripts.

use std::time::Duration;

use crate::BACKEND;
use crate::load::Load;
use crate::load::breakable::breakable;
use crate::load::servers;
use crate::support::server::Backend;

/// Servers of Redis in a deployment.
pub(super) const SERVERS: usize = match BACKEND {
    Backend::Redis => 1,
    Backend::Embedded | Backend::RedisCluster => 6,
};

/// Pauses all masters of Redis for so long, twice, under load.
async fn pause_masters(length: Duration) {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    let load = Load::start(deployment.server()).await;
    for master in servers::with_role(cluster, SERVERS, true)
        .into_iter()
        .take(2)
    {
        cluster.command(&["pause", &master.0]).await;
        tokio::time::sleep(length).await;
        cluster.command(&["resume", &master.0]).await;
        load.flows("after the pause").await;
    }
    // A replica may have taken over: whole again before the next test.
    cluster.command(&["start", "redis"]).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_for_a_second_under_load_and_nothing_is_there_twice() {
    pause_masters(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_for_ten_seconds_under_load_and_nothing_acknowledged_is_lost() {
    pause_masters(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_all_scripts_under_load_and_nobody_notices() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    for _ in 0..5 {
        for (_, server) in servers::servers(deployment.cluster(), SERVERS) {
            servers::told::<()>(server, &["SCRIPT", "FLUSH"]);
        }
        load.flows("after the flush").await;
    }
    let report = load.finish().await;
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
}
