//! Frames: what breaks a session, and what does not.

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use super::*;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn commands_are_answered_and_bad_frames_leave_the_session() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws/", "bob").await.when_ready().await;
    bob.send(json!({"t": "ping", "ref": 7})).await;

    assert_eq!(
        bob.expect("pong").await,
        json!({"t": "pong", "ref": 7, "now": 1_000_000})
    );

    bob.send(json!({"t": "send", "ref": "a", "conversation": "c", "text": "hi", "client_id": "k"}))
        .await;
    let ok = bob.expect("ok").await;

    assert_eq!(
        (&ok["ref"], &ok["result"]["text"]),
        (&json!("a"), &json!("hi"))
    );

    let id = MessageId::new(1, Slot(1), 1);
    bob.send(json!({"t": "react", "ref": 1, "message_id": id, "reaction": null}))
        .await;
    assert_eq!(
        bob.expect("ok").await,
        json!({"t": "ok", "ref": 1, "result": null})
    );

    let refused = [
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "refuse"}),
            "not_participant",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "a b", "text": "x"}),
            "invalid_name",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": ""}),
            "invalid",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "x".repeat(16_385)}),
            "text_too_long",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "x", "reply_to": "7"}),
            "invalid",
        ),
        (
            json!({"t": "read", "ref": 2, "message_id": "7"}),
            "message_unknown",
        ),
        (
            json!({"t": "react", "ref": 2, "message_id": id, "reaction": 0}),
            "invalid",
        ),
        (json!({"t": "typing", "ref": 2}), "invalid"),
        (
            json!({"t": "auth", "ref": 2, "token": "bad"}),
            "unauthorized",
        ),
        (
            json!({"t": "auth", "ref": 2, "token": "carol.3000"}),
            "unauthorized",
        ),
        (
            json!({"t": "auth", "ref": 2, "token": "bob.1500"}),
            "unauthorized",
        ),
    ];

    for (frame, code) in refused {
        bob.send(frame.clone()).await;
        let error = bob.expect("error").await;
        assert_eq!(
            (&error["ref"], &error["problem"]["code"]),
            (&json!(2), &json!(code)),
            "{frame}"
        );
        assert_eq!(error["problem"]["request_id"], "request-1");
    }

    bob.socket
        .send(Message::text("{nonsense"))
        .await
        .expect("sent");
    assert_eq!(bob.expect("error").await.get("ref"), None);

    let commands = node.fake.commands.lock().expect("lock");
    let Command::Send(first) = &commands[0] else {
        panic!("{:?}", commands[0])
    };
    let key = first.key.as_ref().expect("a key");

    assert_eq!(
        (&*key.key, key.stamped, first.source.as_str()),
        ("k", false, "bob")
    );
}

#[tokio::test]
async fn broken_frames_close_with_their_codes() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .send(Message::binary(vec![1]))
        .await
        .expect("sent");
    assert_eq!(client.closed().await, 1003);

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .send(Message::text("x".repeat(128 * 1024 + 1)))
        .await
        .expect("sent");
    assert_eq!(client.closed().await, 1009);

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    for part in 0..3 {
        let code = if part == 0 {
            OpCode::Data(Data::Text)
        } else {
            OpCode::Data(Data::Continue)
        };
        client
            .socket
            .send(Message::Frame(Frame::message(
                vec![b'x'; 60_000],
                code,
                false,
            )))
            .await
            .expect("sent");
    }
    assert_eq!(client.closed().await, 1009, "fragments count together");

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .get_mut()
        .write_all(b"\x81\x02{}")
        .await
        .expect("written");
    assert_eq!(client.closed().await, 4400, "unmasked");

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .get_mut()
        .write_all(b"\x81\x81\0\0\0\0\xff")
        .await
        .expect("written");
    assert_eq!(client.closed().await, 4400, "not utf-8");
}

#[tokio::test]
async fn a_message_in_fragments_is_put_together() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));

    client
        .socket
        .send(Message::Frame(Frame::message(&b"{\"t\":"[..], text, false)))
        .await
        .expect("sent");
    client
        .socket
        .send(Message::Ping(Bytes::from_static(b"between")))
        .await
        .expect("sent");
    client
        .socket
        .send(Message::Frame(Frame::message(
            &b"\"ping\"}"[..],
            more,
            true,
        )))
        .await
        .expect("sent");
    assert!(matches!(client.raw().await, Message::Pong(payload) if &payload[..] == b"between"));
    client.expect("pong").await;
}

#[tokio::test]
async fn the_clients_close_is_answered_once() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    let close = CloseFrame {
        code: 4000.into(),
        reason: "bye".into(),
    };
    client.socket.close(Some(close)).await.expect("sent");
    assert_eq!(client.closed().await, 4000);
    assert!(client.socket.next().await.is_none(), "nothing follows");
}
