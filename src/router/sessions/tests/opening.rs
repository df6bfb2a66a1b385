//! What a session begins with, and which requests are none.

use std::collections::HashMap;

use super::*;

#[tokio::test]
async fn a_session_says_hello_becomes_ready_and_gets_what_commits() {
    let node = Node::start(config(), 3).await;
    let mut bob = node.connect("/v1/ws", "bob").await;
    let hello = bob.expect("hello").await;

    assert_eq!(
        (&hello["user"], &hello["max_frame_bytes"]),
        (&json!("bob"), &json!(131_072))
    );

    bob.expect("ready").await;
    let mut second = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.say("hi").await;
    for device in [&mut bob, &mut second] {
        let frame = device.expect("message").await;
        assert_eq!((&frame["seq"], &frame["text"]), (&json!(4), &json!("hi")));
    }

    assert_eq!(node.hub.sessions(), 2);
    drop((bob, second));
    node.until("both are gone", |node| node.hub.sessions() == 0)
        .await;
}

#[tokio::test]
async fn a_resume_brings_the_missed_then_live_then_ready() {
    let node = Node::start(config(), 1_500).await;
    let mut bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    node.say("pushed while held").await;
    bob.send(json!({"t": "resume", "positions": {"strange": 5}, "more": true}))
        .await;
    bob.send(json!({"t": "resume", "positions": {"c": 100}}))
        .await;
    let mut seqs = Vec::new();

    let mut gaps = HashMap::new();
    loop {
        let frame = bob.next().await;
        match frame["t"].as_str().expect("t") {
            "gap" => drop(gaps.insert(frame["conversation"].to_string(), frame)),
            "message" => seqs.push(frame["seq"].as_u64().expect("seq")),
            "live" => assert_eq!(frame["positions"], json!({"c": 1_501})),
            "ready" => break,
            _ => panic!("{frame}"),
        }
    }

    assert_eq!(seqs, (502..=1_501).collect::<Vec<u64>>());
    let expected =
        json!({"t": "gap", "conversation": "c", "from": 101, "to": 501, "reason": "too_far"});
    assert_eq!(gaps["\"c\""], expected);
    let expected = json!({"t": "gap", "conversation": "strange", "from": 6, "to": 6, "reason": "not_participant"});
    assert_eq!(gaps["\"strange\""], expected);
}

#[tokio::test]
async fn a_request_that_is_no_session_is_refused_before_the_upgrade() {
    let node = Node::start(config(), 1).await;
    let bearer = ("authorization", "Bearer bob");

    assert_eq!(
        node.connect_with("/v1/ws", &[("authorization", "Bearer bad")])
            .await
            .err(),
        Some(401)
    );
    assert_eq!(node.connect_with("/v1/ws", &[]).await.err(), Some(401));
    assert_eq!(
        node.connect_with("/v1/ws?token=bob", &[]).await.err(),
        Some(400)
    );

    assert_eq!(
        node.connect_with("/v1/ws?access_token=bob", &[bearer])
            .await
            .err(),
        Some(400)
    );
    assert_eq!(
        node.connect_with("/v1/ws?x=1", &[bearer]).await.err(),
        Some(400)
    );

    let mut stream = TcpStream::connect(&node.at).await.expect("connected");
    stream
        .write_all(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bob\r\n\r\n")
        .await
        .expect("written");
    let mut head = [0; 12];

    stream.read_exact(&mut head).await.expect("an answer");
    assert!(String::from_utf8_lossy(&head).ends_with("426"));
    assert_eq!(node.hub.sessions(), 0);
}

#[tokio::test]
async fn browsers_bring_the_token_as_a_subprotocol() {
    let node = Node::start(config(), 1).await;
    let offer = [("sec-websocket-protocol", "rookery.v1, rookery.bearer.bob")];
    let bob = node
        .connect_with("/v1/ws", &offer)
        .await
        .expect("connected");
    assert_eq!(bob.protocol.as_deref(), Some("rookery.v1"));
    bob.when_ready().await;

    let offer = [("sec-websocket-protocol", "rookery.v1, rookery.bearer.bad")];
    assert_eq!(
        node.connect_with("/v1/ws", &offer)
            .await
            .expect("upgraded")
            .closed()
            .await,
        4401
    );
}

#[tokio::test]
async fn a_token_ends_its_session_unless_a_newer_one_comes() {
    let node = Node::start(
        Config {
            heartbeat: Duration::from_millis(50),
            ..config()
        },
        1,
    )
    .await;
    let mut old = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut renewed = node.connect("/v1/ws", "bob").await.when_ready().await;
    renewed
        .send(json!({"t": "auth", "ref": 1, "token": "bob.3000"}))
        .await;
    assert_eq!(renewed.expect("ok").await["ref"], 1);

    node.clock.set(2_029_000);
    old.send(json!({"t": "ping"})).await;
    old.expect("pong").await;
    node.clock.set(2_030_000);
    assert_eq!(old.closed().await, 4401);

    renewed.send(json!({"t": "ping"})).await;
    renewed.expect("pong").await;
}

#[tokio::test]
async fn a_session_whose_resume_never_comes_starts_without() {
    let node = Node::start(
        Config {
            resume_wait_max: Duration::from_millis(50),
            ..config()
        },
        3,
    )
    .await;
    let bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.when_ready().await;
}
