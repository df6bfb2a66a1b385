//! Frames that are none, and requests that are no socket.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::websocket::STRANGE_ID;
use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn malformed_frames_are_answered_and_the_session_stays() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::ready(&server, group.admin.user()).await;

    for text in [
        "",
        "{",
        "nonsense",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"t":7}"#,
        r#"{"t":"send","ref"}"#,
    ] {
        socket.send_raw(Message::text(text)).await;
        let error = socket.until_t("error").await;
        assert_eq!(error["problem"].text("code"), "invalid", "{text}: {error}");
        assert!(error.get("ref").is_none(), "{text}: {error}");
    }

    let name = &group.name;
    for (frame, code) in [
        (json!({"t": "typing"}), "invalid"),
        (json!({"t": "send"}), "invalid"),
        (json!({"t": "send", "conversation": name}), "invalid"),
        (
            json!({"t": "send", "conversation": name, "text": ""}),
            "invalid",
        ),
        (
            json!({"t": "send", "conversation": name, "text": 7}),
            "invalid",
        ),
        (
            json!({"t": "send", "conversation": name, "text": "x", "reply_to": "7"}),
            "invalid",
        ),
        (
            json!({"t": "send", "conversation": name, "text": "x", "reply_to": STRANGE_ID}),
            "reply_to_unknown",
        ),
        (
            json!({"t": "send", "conversation": name, "text": "x", "reply_to": STRANGE_ID.replace('-', "")}),
            "invalid",
        ),
        (
            json!({"t": "send", "conversation": name, "text": "x", "client_id": ""}),
            "invalid",
        ),
        (
            json!({"t": "send", "conversation": "a b", "text": "x"}),
            "invalid_name",
        ),
        (
            json!({"t": "send", "conversation": name, "text": "x".repeat(16_385)}),
            "text_too_long",
        ),
        (json!({"t": "read"}), "invalid"),
        (json!({"t": "read", "message_id": "7"}), "message_unknown"),
        (json!({"t": "react", "message_id": "7"}), "invalid"),
        (
            json!({"t": "react", "message_id": "7", "reaction": 0}),
            "invalid",
        ),
        (json!({"t": "resume"}), "invalid"),
        (json!({"t": "resume", "positions": []}), "invalid"),
        (json!({"t": "auth"}), "invalid"),
    ] {
        let shown = frame.to_string();
        let answer = socket.request(frame).await;
        assert_eq!(
            (answer.text("t"), answer["problem"].text("code")),
            ("error", code),
            "{shown}"
        );
        for field in ["type", "title", "detail", "request_id"] {
            assert!(answer["problem"][field].is_string(), "{field}: {answer}");
        }
    }

    let ok = socket
        .request(json!({"t": "send", "conversation": name, "text": "still here"}))
        .await;
    assert_eq!((ok.text("t"), &ok["result"]["seq"]), ("ok", &json!(2)));
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let server = shared();
    let mut socket = Socket::ready(&server, &unique("alice")).await;
    socket.send_raw(Message::binary(vec![0_u8, 1, 2])).await;
    assert_eq!(socket.closed().await, Some(1003));
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::ready(&server, group.admin.user()).await;
    // 128 KiB is within: too long as a text, but a frame.
    let within = json!({"t": "send", "conversation": group.name, "text": "x".repeat(120 * 1024)});
    assert_eq!(
        socket.request(within).await["problem"]["code"],
        "text_too_long"
    );
    socket
        .try_send_raw(Message::text("x".repeat(128 * 1024 + 1)))
        .await;
    assert_eq!(socket.closed().await, Some(1009));
}

#[tokio::test]
async fn a_plain_request_for_the_socket_is_answered() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let answer = alice.get("/v1/ws").await;
    answer.refused(426, "upgrade_required");

    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        (
            answer.header("upgrade"),
            answer.header("sec-websocket-version")
        ),
        ("websocket", "13")
    );
    assert_eq!(
        alice.clone().with_token(None).get("/v1/ws").await.status,
        401,
        "the token is looked at first"
    );
    assert_eq!(alice.post("/v1/ws", &json!({})).await.status, 405);
}
