//! Redis is killed and started again, or starts last.

use serde_json::json;

use crate::BACKEND;
use crate::load::Load;
use crate::load::breakable::breakable;
use crate::load::servers;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields, Group, eventually};

// what must not happen: 3 — Redis restarts while all run: sends are taken again, and persisting
// goes on. what must not happen: 8 — that Redis keeps what it acknowledged is set in the file that
// is shipped with us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_under_load_and_started_again_and_everything_goes_on() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    for _ in 0..2 {
        deployment.cluster().command(&["kill", "redis-1"]).await;
        deployment.cluster().command(&["start", "redis-1"]).await;
        load.flows("after the start").await;
    }

    load.finish().await;
    crate::behaviour::load::drained(deployment.server()).await;

    let kept: Vec<String> = servers::told(
        deployment.cluster().port("redis-1"),
        &["CONFIG", "GET", "append*"],
    );
    for pair in [["appendonly", "yes"], ["appendfsync", "everysec"]] {
        assert!(kept.chunks(2).any(|found| found == pair), "{kept:?}");
    }
}

// what must not happen: 4 — Redis is down when all start: they wait, say so, and serve when it
// comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_routers_that_start_before_redis_wait_for_it_and_serve() {
    let cluster = Cluster::prepared(BACKEND, &[]);
    cluster
        .command(&["--wait", "no", "start", "routers", "nodes"])
        .await;
    let server = Server::Many(cluster);

    let cluster = server.cluster();
    for operator in server.operators() {
        eventually("it lives and is not ready", || async {
            let live = operator.try_call(http::Method::GET, "/livez", &[], bytes::Bytes::new()).await;
            let ready = operator.try_call(http::Method::GET, "/readyz", &[], bytes::Bytes::new()).await;
            matches!((live, ready), (Ok(live), Ok(ready)) if live.status == 200 && ready.status == 503).then_some(())
        })
        .await;
    }

    let refused = server
        .client("alice")
        .post("/v1/conversations", &json!({"participants": ["bob"]}))
        .await;
    refused.refused(503, "unavailable");

    cluster.command(&["start", "redis"]).await;
    for operator in server.operators() {
        eventually("it is ready", || async {
            (operator.get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "at last").await;
    assert_eq!(
        group.members[0]
            .history(&group.name, "")
            .await
            .list("items")
            .len(),
        1
    );
    crate::behaviour::load::drained(&server).await;
}
