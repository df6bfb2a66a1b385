//! Start and end of the processes.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::support::server::{Server, shared};
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually};

// what must not happen: 8 — the end of the process is an orderly one, and nothing waits only in
// memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn sigterm_finishes_what_is_begun_tells_the_sockets_and_exits_with_0() {
    let mut server = Server::start();
    let group = Group::create(&server, 4).await;
    let mut sockets = Vec::new();
    for member in &group.members {
        sockets.push(Socket::ready(&server, member.user()).await);
    }

    let senders: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            let (member, path) = (member.clone(), group.path("/messages"));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for i in 0.. {
                    let body = json!({"text": format!("{i}")}).to_string();
                    let headers = [("content-type", "application/json")];
                    match member
                        .try_call(Method::POST, &path, &headers, body.into())
                        .await
                    {
                        Ok(answer) if answer.status == 201 => acknowledged.push(answer.json()),
                        Ok(answer) => {
                            assert_eq!(answer.status, 503, "{answer:?}");
                            break;
                        }
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    sockets[0].until_seq(&group.name, 40).await;
    server.ask_to_end();

    let closing = sockets.into_iter().map(|mut socket| {
        tokio::spawn(async move {
            let code = socket.closed().await;
            (code, socket.frames)
        })
    });

    for closed in join_all(closing).await {
        let (code, frames) = closed.unwrap();
        let reconnect = frames.iter().find(|frame| frame["t"] == "reconnect");
        let reconnect = reconnect.expect("a reconnect frame before the close");
        assert!(
            reconnect["after_ms"].is_u64() && !reconnect.text("reason").is_empty(),
            "{reconnect}"
        );
        assert_eq!(code, Some(1012));
    }

    assert!(server.exited().await.success());
    server.restart();

    let events = server
        .client(group.admin.user())
        .all_events(&group.name)
        .await;
    for acknowledged in join_all(senders).await {
        for message in acknowledged.unwrap() {
            let at = usize::try_from(message.number("seq")).unwrap() - 1;
            assert_eq!(
                events[at]["id"], message["id"],
                "acknowledged before the end"
            );
        }
    }
}

#[tokio::test]
async fn the_operations_port_tells_how_the_process_is() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "counted").await;

    for operator in server.operators() {
        for path in ["/livez", "/readyz"] {
            assert_eq!(operator.get(path).await.status, 200, "{path}");
        }
        let cluster = operator.get("/cluster").await.json();
        assert!(cluster.to_string().contains("owner"), "{cluster}");
        let metrics = eventually("the metrics show the requests", || async {
            let answer = operator.get("/metrics").await;
            assert_eq!(answer.status, 200);
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            text.contains("# HELP").then_some(text)
        })
        .await;
        assert!(metrics.contains("# TYPE"), "{metrics}");
        for private in [group.name.as_str(), group.admin.user()] {
            assert!(
                !metrics.contains(private),
                "no label names a conversation or a user: {private}"
            );
        }
    }
}

#[tokio::test]
async fn live_sessions_are_counted_over_all_nodes() {
    let server = Server::start();
    let told = async |count: usize| {
        eventually("the metric tells the sessions", || async {
            let live = server.metric("rookery_session_live").await;
            (live.to_string() == count.to_string()).then_some(())
        })
        .await;
    };
    let mut sockets = Vec::new();
    for number in 0..9 {
        sockets.push(Socket::ready(&server, &format!("user-{number}")).await);
    }
    told(9).await;
    sockets.truncate(2);
    told(2).await;
}
