//! Drains, links that end, and what is left of a session then.

use super::*;

#[tokio::test]
async fn a_drain_tells_when_to_come_back_and_takes_nobody_new() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let hub = Arc::clone(&node.hub);
    let drained =
        tokio::spawn(async move { hub.drain(Duration::from_millis(300), "node drains").await });
    let told = bob.expect("reconnect").await;

    assert!(
        told["after_ms"].as_u64().expect("a number") <= 1_000,
        "{told}"
    );
    assert_eq!(
        told["reason"], "the node of this session is gone",
        "there is no other node"
    );
    assert_eq!(node.connect("/v1/ws", "carol").await.closed().await, 1012);
    assert_eq!(bob.closed().await, 1012);

    drop(bob);
    tokio::time::timeout(WAIT, drained)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(node.hub.sessions(), 0);
}

#[tokio::test]
async fn sessions_that_are_sent_away_are_told_and_new_ones_are_taken_again_when_that_ends() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.hub
        .send_away(Duration::from_millis(300), "the node is cut off");
    let told = bob.expect("reconnect").await;

    assert_eq!(
        told["reason"], "the node of this session is gone",
        "there is no other node"
    );

    let bearer = ("authorization", "Bearer carol");
    assert_eq!(
        node.connect_with("/v1/ws", &[bearer]).await.err(),
        Some(503),
        "another node is asked"
    );
    assert_eq!(bob.closed().await, 1012);

    drop(bob);
    node.until("all are gone", |node| node.hub.sessions() == 0)
        .await;
    assert!(node.hub.is_away());

    node.hub.welcome();
    node.connect("/v1/ws", "bob").await.when_ready().await;
}

#[tokio::test]
async fn a_router_that_drains_tells_its_clients_when_to_come_back_and_ends_their_sessions() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let sockets = Arc::clone(&node.sockets);
    let drained = tokio::spawn(async move { sockets.drain().await });
    let told = bob.expect("reconnect").await;

    assert!(
        told["after_ms"].as_u64().expect("a number") <= 300,
        "{told}"
    );
    assert_eq!(told["reason"], "the router drains");
    assert_eq!(bob.closed().await, 1012);

    drop(bob);
    tokio::time::timeout(WAIT, drained)
        .await
        .expect("in time")
        .expect("no panic");
    node.until("the session is gone", |node| node.hub.sessions() == 0)
        .await;
}

/// ADR 7, interleavings 5 to 7.
#[tokio::test]
async fn when_the_link_ends_its_sessions_end_and_their_clients_are_told_to_come_back() {
    let node = Node::start(config(), 1).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "carol"] {
        clients.push(node.connect("/v1/ws", user).await.when_ready().await);
    }

    node.front.shutdown().await;
    for client in &mut clients {
        let told = client.expect("reconnect").await;
        assert!(
            told["after_ms"].as_u64().expect("a number") <= 1_000,
            "{told}"
        );
        assert_eq!(client.closed().await, 1012);
    }

    node.until("the node ended them too", |node| node.hub.sessions() == 0)
        .await;
}

/// ADR 7, interleaving 2.
#[tokio::test]
async fn a_session_that_is_asked_for_while_its_link_ends_is_not_opened() {
    let node = Node::start(config(), 1).await;
    node.front.shutdown().await;
    assert_eq!(
        node.connect_with("/v1/ws", &[("authorization", "Bearer bob")])
            .await
            .err(),
        Some(503)
    );
    assert_eq!(node.hub.sessions(), 0);
}

/// ADR 7, interleavings 3 and 4.
#[tokio::test]
async fn clients_that_come_and_go_at_once_leave_nothing_behind() {
    let node = Node::start(
        Config {
            sessions_per_user_max: 1_000,
            ..config()
        },
        1,
    )
    .await;

    for round in 0..100 {
        let mut stream = TcpStream::connect(&node.at).await.expect("connected");
        let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        let head = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket";
        let text = format!("{head}\r\n{key}\r\nauthorization: Bearer bob\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("written");
        if round % 2 == 0 {
            // Some wait for the first byte of the answer.
            stream.read_exact(&mut [0]).await.expect("an answer");
        }
        drop(stream);
    }

    node.until("all are gone", |node| node.hub.sessions() == 0)
        .await;
    node.connect("/v1/ws", "bob").await.when_ready().await;
}
