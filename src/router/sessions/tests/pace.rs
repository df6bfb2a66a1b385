//! The pace of a socket: what a client that reads, that reads late, or that reads nothing gets.

use super::*;
use crate::link::front::{Authorization, Open};

#[tokio::test]
async fn large_missed_spans_come_at_the_pace_of_the_socket() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        ..config()
    };
    let node = Node::start(config, 1).await;
    {
        let mut events = node.fake.events.lock().expect("lock");
        events.extend((2..=400).map(|seq| event(seq, &"x".repeat(16_000))));
    }

    let mut bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    bob.send(json!({"t": "resume", "positions": {"c": 0}}))
        .await;
    for seq in 1..=400 {
        assert_eq!(bob.expect("message").await["seq"], json!(seq));
    }

    assert_eq!(bob.expect("live").await["positions"], json!({"c": 400}));
    bob.expect("ready").await;
}

#[tokio::test]
async fn sessions_and_frames_are_limited() {
    let node = Node::start(
        Config {
            sessions_per_user_max: 1,
            sessions_max: 2,
            ..config()
        },
        1,
    )
    .await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    assert_eq!(node.connect("/v1/ws", "bob").await.closed().await, 4429);

    let _carol = node.connect("/v1/ws", "carol").await.when_ready().await;
    assert_eq!(node.connect("/v1/ws", "dave").await.closed().await, 1013);

    for _ in 0..1_000 {
        if bob
            .socket
            .send(Message::text(r#"{"t":"ping"}"#))
            .await
            .is_err()
        {
            break;
        }
    }

    assert_eq!(bob.closed().await, 4429);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_as_slow() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        write_timeout: Duration::from_millis(500),
        ..config()
    };
    let node = Node::start(config, 1).await;
    let mut slow = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut quick = node.connect("/v1/ws", "carol").await.when_ready().await;
    let mut said = 0;

    while node.hub.sessions() == 2 && said < 5_000 {
        node.say(&"x".repeat(16_000)).await;
        said += 1;
        assert_eq!(quick.expect("message").await["seq"], json!(said + 1));
    }

    assert!(said < 5_000, "a socket that takes nothing is given up");
    let mut last = 1;

    loop {
        match slow.raw().await {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                assert_eq!(frame["seq"], json!(last + 1), "no hole before the end");
                last += 1;
            }
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.expect("a code").code), 4420);
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_burst_beyond_the_outbox_reaches_whoever_keeps_up_in_order_and_each_once() {
    let node = Node::start(
        Config {
            outbox_bytes_max: 64 * 1024,
            ..config()
        },
        1,
    )
    .await;
    let mut readers = Vec::new();
    for user in ["alice", "bob", "carol"] {
        readers.push(node.connect("/v1/ws", user).await.when_ready().await);
    }

    for length in std::iter::repeat_n(16_000, 40).chain(std::iter::repeat_n(10, 500)) {
        node.say(&"x".repeat(length)).await;
    }

    for reader in &mut readers {
        for seq in 2..=541 {
            assert_eq!(reader.expect("message").await["seq"], json!(seq));
        }
        reader.send(json!({"t": "ping"})).await;
        reader.expect("pong").await;
    }

    assert_eq!(node.hub.sessions(), 3);
}

#[tokio::test]
async fn a_row_of_large_unknown_frames_gets_its_errors() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        frames_per_second_max: 1_000,
        ..config()
    };

    let node = Node::start(config, 1).await;
    let bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (mut to, mut from) = bob.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            let frame = json!({"t": "x".repeat(100_000), "ref": number});
            to.send(Message::text(frame.to_string()))
                .await
                .expect("sent");
            to.send(Message::Ping(Bytes::from_static(b"between")))
                .await
                .expect("sent");
        }
    });
    let (mut errors, mut pongs) = (0, 0);

    while errors < 100 || pongs < 100 {
        match tokio::time::timeout(WAIT, from.next())
            .await
            .expect("in time")
            .expect("not ended")
            .expect("a message")
        {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                assert_eq!(
                    (&frame["t"], &frame["ref"]),
                    (&json!("error"), &json!(errors))
                );
                errors += 1;
            }
            Message::Pong(_) => pongs += 1,
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    sending.await.expect("no panic");
}

/// ADR 7, interleaving 9.
#[tokio::test]
async fn what_a_client_says_while_its_answers_wait_is_worked_off_in_order_once_it_reads() {
    let limits = Config {
        outbox_bytes_max: 64 * 1024,
        frames_per_second_max: 10_000,
        ..config()
    };

    let node = Node::start(limits, 1).await;
    let bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (mut to, mut from) = bob.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..5_000 {
            let frame = json!({"t": "ping", "ref": format!("{number}-{}", "x".repeat(1_000))});
            to.send(Message::text(frame.to_string()))
                .await
                .expect("sent");
        }
    });
    let mut last = 0;

    while last < 5_000 {
        match tokio::time::timeout(WAIT, from.next())
            .await
            .expect("in time")
            .expect("not ended")
            .expect("a message")
        {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                let number = frame["ref"]
                    .as_str()
                    .and_then(|text| text.split('-').next()?.parse().ok());
                assert_eq!((&frame["t"], number), (&json!("pong"), Some(last)));
                last += 1;
            }
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let node = Node::start(
        Config {
            heartbeat: Duration::from_millis(30),
            ..config()
        },
        1,
    )
    .await;
    let _silent = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.until("the silent one is dropped", |node| node.hub.sessions() == 0)
        .await;
}

/// What a socket takes beside the system's part of it, as long as nothing happens on it: its state,
/// and its task.
#[tokio::test]
async fn an_idle_socket_takes_few_bytes() {
    let node = Node::start(config(), 1).await;
    let asked = handshake::open("", &http::HeaderMap::new(), "request-1");
    let bearer = Authorization::Bearer("bob".to_owned());
    let asked = Open {
        authorization: bearer,
        handshake: None,
        ..asked
    };

    let who = Who {
        token: Arc::from("bob"),
        ..who(&http::HeaderMap::new())
    };
    let opened = node
        .sockets
        .ask(&node.link, asked, who)
        .await
        .expect("opened");
    let stream = TcpStream::connect(&node.at).await.expect("connected");
    let serving = Arc::clone(&opened.socket).run(stream, Bytes::new());
    let (state, task) = (size_of_val(&*opened.socket), size_of_val(&serving));
    assert!(state <= 512 && task <= 1_024, "{state} and {task} bytes");
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_given_up() {
    let config = Config {
        outbox_bytes_max: 256 << 20,
        write_timeout: Duration::from_millis(50),
        ..config()
    };
    let node = Node::start(config, 1).await;
    let _stalled = node.connect("/v1/ws", "bob").await.when_ready().await;
    let deadline = Instant::now() + WAIT;
    while node.hub.sessions() > 0 {
        assert!(Instant::now() < deadline, "the stalled session stays");
        node.say(&"x".repeat(16_000)).await;
    }
}
