//! More clients than connections: who gives way, and who is refused.

use super::*;

fn few(connections_max: usize) -> Config {
    Config {
        connections_max,
        ..config()
    }
}

/// Asks on fresh connections until one is served.
async fn served_at_last(stand: &Stand) {
    let asking = async {
        loop {
            let mut newcomer = stand.client().await;
            let got = newcomer.ask(GET, "").await;
            if got.status() == 200 {
                return;
            }
            assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));
            assert_eq!(newcomer.rest().await, b"", "refused, and closed");
        }
    };
    timeout(PATIENCE, asking)
        .await
        .expect("an idle connection gives way");
}

#[tokio::test]
async fn an_idle_connection_gives_way_to_a_new_client_and_one_that_was_used_since_stays() {
    let node = Node::ok().await;
    let stand = Stand::with(few(2), table(1, &[node.address])).await;
    let (mut first, mut second) = (stand.client().await, stand.client().await);
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(GET, "").await.status(), 200);
    }
    assert_eq!(first.ask(GET, "").await.status(), 200);
    served_at_last(&stand).await;
    assert_eq!(second.rest().await, b"", "closed without a word");
    assert_eq!(first.ask(GET, "").await.status(), 200);
}

#[tokio::test]
async fn while_every_connection_has_a_request_a_new_client_is_refused_at_once_and_told_so() {
    let node = Node::scripted(|_, _| Reply::Hang).await;
    let stand = Stand::with(few(1), table(1, &[node.address])).await;
    let mut busy = stand.client().await;
    busy.send(GET, "").await;
    let asked = async {
        while node.seen().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the node is asked");

    let got = stand
        .ask(
            &format!("{GET}\norigin: http://localhost:3000\nx-request-id: mine"),
            "",
        )
        .await;
    assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));
    assert_eq!(
        (got.header("x-request-id"), got.header("connection")),
        (Some("mine"), Some("close"))
    );
    assert_eq!(
        got.header("access-control-allow-origin"),
        Some("http://localhost:3000"),
        "a page may read why"
    );
    assert_eq!(node.seen().len(), 1, "no node hears of it");
    assert_eq!(
        busy.answer().await.expect("an answer of its own").status(),
        503
    );
}

#[tokio::test]
async fn an_open_socket_takes_no_place_and_never_gives_way() {
    let node = Node::scripted(|_, seen| {
        if seen.line.contains("/ws") {
            Reply::Echo
        } else {
            answer("200 OK", &[], "{}")
        }
    });
    let node = node.await;
    let stand = Stand::with(few(1), table(1, &[node.address])).await;
    let mut socket = sockets::open(&stand).await;
    for _ in 0..3 {
        served_at_last(&stand).await;
    }
    sockets::echoes(&mut socket, "still there").await;
}
