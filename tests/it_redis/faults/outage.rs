//! Redis is gone for a while, and everything else goes on as far as it can.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::load::Load;
use crate::load::breakable::breakable;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually};

/// Longer than any lease and any request.
const GONE: Duration = Duration::from_secs(9);

// what must not happen: 5 — Redis is down during a send: an answer comes, 503, and it is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_gone_sends_are_truly_503_and_afterwards_everything_resumes() {
    let deployment = breakable().await;
    let load = Load::start(deployment.server()).await;
    deployment.cluster().command(&["stop", "redis-1"]).await;
    tokio::time::sleep(GONE).await;

    let before = load.acknowledged();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        load.acknowledged(),
        before,
        "nothing is acknowledged without a log"
    );

    deployment.cluster().command(&["start", "redis-1"]).await;
    load.flows("when Redis is back").await;

    let report = load.finish().await;
    assert!(
        report.not_written.contains_key("unavailable"),
        "some were surely not written: {report:?}"
    );
    assert_eq!(
        report.connections, report.readers,
        "no socket was closed: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn while_redis_is_gone_reads_go_on_and_say_how_old_they_are() {
    let deployment = breakable().await;
    let server = deployment.server();
    let group = Group::create(server, 1).await;
    let mut socket = Socket::ready(server, group.members[0].user()).await;
    let sent = group.admin.say(&group.name, "before").await;
    socket.until_seq(&group.name, 2).await;
    deployment.cluster().command(&["kill", "redis-1"]).await;

    let message = format!("/v1/messages/{}", sent.text("id"));
    let paths = [
        group.path(""),
        group.path("/messages"),
        group.path("/events"),
        group.path("/participants"),
        message,
    ];

    for path in &paths {
        eventually("it is marked as stale", || async {
            let answer = group.admin.get(path).await;
            let ms = answer.header("rookery-stale").to_owned();
            answer.expect(200);
            (!ms.is_empty()).then(|| ms.parse::<u64>().expect("milliseconds"))
        })
        .await;
        let strict = [("rookery-consistency", "strict")];
        group
            .admin
            .call(Method::GET, path, &strict, Bytes::new())
            .await
            .refused(503, "stale");
    }

    let history = group.admin.history(&group.name, "").await;
    assert_eq!(history.list("items")[0]["id"], sent["id"]);
    assert_eq!(
        socket.request(json!({"t": "ping"})).await["t"],
        "pong",
        "the socket stays"
    );

    deployment.cluster().command(&["start", "redis-1"]).await;
    for path in &paths {
        eventually("it is strict again", || async {
            group
                .admin
                .get(path)
                .await
                .header("rookery-stale")
                .is_empty()
                .then_some(())
        })
        .await;
    }

    eventually("sends are taken again", || async {
        let answer = group
            .admin
            .post(&group.path("/messages"), &json!({"text": "after"}))
            .await;
        (answer.status == 201).then_some(())
    })
    .await;

    socket
        .until("the message", |frame| frame["text"] == "after")
        .await;
}
