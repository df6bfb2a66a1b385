//! Frames of one session: what comes, and what is answered.

use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::{Next, Socket};
use crate::support::{Fields, Group, unique};

/// A UUID that is no id of ours.
pub(super) const STRANGE_ID: &str = "123e4567-e89b-42d3-a456-426614174000";

#[tokio::test]
async fn hello_is_first_and_tells_the_limits() {
    let server = shared();
    let user = unique("alice");

    for path in ["/v1/ws", "/v1/ws/", "/ws", "/ws/"] {
        let mut socket = Socket::open_at(&server, &user, path).await;
        let Next::Frame(hello) = socket.next().await else {
            panic!("closed")
        };
        assert_eq!(
            (hello.text("t"), hello.text("user")),
            ("hello", user.as_str())
        );
        assert!(!hello.text("session").is_empty());
        assert!(hello.number("now") > 1_600_000_000_000);
        assert!(
            (1..=25_000).contains(&hello.number("heartbeat_ms")),
            "{hello}"
        );
        assert_eq!(hello.number("max_frame_bytes"), 128 * 1024);
        assert_eq!(hello.number("max_text_bytes"), 16_384);
        assert_eq!(hello.number("resume_max_events"), 1_000);
        let Next::Frame(ready) = socket.next().await else {
            panic!("closed")
        };
        assert_eq!(
            ready.text("t"),
            "ready",
            "no conversation, nothing in between"
        );
    }
}

#[tokio::test]
async fn a_message_frame_has_the_fields_of_the_message() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::ready(&server, group.members[0].user()).await;
    let question = group.admin.say(&group.name, "why?").await;
    let body = json!({"text": "so", "reply_to": question["id"]});
    let mut sent = group
        .admin
        .post(&group.path("/messages"), &body)
        .await
        .expect(201);
    let frame = socket
        .until("the reply", |frame| frame["id"] == sent["id"])
        .await;
    let fields = sent.as_object_mut().unwrap();

    fields.remove("reactions");
    fields.remove("my_reaction");
    fields.insert("t".to_owned(), json!("message"));
    assert_eq!(frame, sent);
}

#[tokio::test]
async fn a_send_is_answered_and_echoed() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    let frame = json!({"t": "send", "conversation": group.name, "text": "hello"});
    let ok = alice.request(frame).await;
    assert_eq!(ok.text("t"), "ok", "{ok}");

    let id = ok["result"]["id"].clone();
    assert_eq!(ok["result"]["seq"], 2);

    for socket in [&mut alice, &mut bob] {
        let echo = socket
            .find("the message", |frame| {
                frame["t"] == "message" && frame["id"] == id
            })
            .await;
        assert_eq!((echo.text("text"), echo.number("seq")), ("hello", 2));
    }

    assert_eq!(
        group.members[0]
            .history(&group.name, "")
            .await
            .list("items")[0]["id"],
        id
    );
}

#[tokio::test]
async fn a_ref_of_any_kind_comes_back_and_is_not_needed() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::ready(&server, group.admin.user()).await;

    for reference in [json!("a"), json!(7), json!("")] {
        socket.send(&json!({"t": "ping", "ref": reference})).await;
        let pong = socket.until_t("pong").await;
        assert_eq!(pong["ref"], reference);
        assert!(pong.number("now") > 1_600_000_000_000);
    }

    socket.send(&json!({"t": "ping"})).await;
    assert!(socket.until_t("pong").await.get("ref").is_none());

    socket
        .send(&json!({"t": "send", "conversation": group.name, "text": "no ref"}))
        .await;
    socket
        .until("the echo", |frame| frame["text"] == "no ref")
        .await;
}

#[tokio::test]
async fn sends_of_one_socket_keep_their_order() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    let texts: Vec<String> = (0..100).map(|i| format!("m{i}")).collect();

    for text in &texts {
        alice
            .post(json!({"t": "send", "conversation": group.name, "text": text}))
            .await;
    }

    for socket in [&mut alice, &mut bob] {
        socket.until_seq(&group.name, 101).await;
        let seen: Vec<&str> = socket
            .changes(&group.name)
            .iter()
            .map(|frame| frame.text("text"))
            .collect();
        assert_eq!(seen, texts);
        assert_eq!(socket.seqs(&group.name), (2..=101).collect::<Vec<u64>>());
    }
}

// what must not happen: 13 — there are no frames from anyone to anyone, only messages in one's
// conversations.
#[tokio::test]
async fn nobody_sends_into_a_conversation_of_others() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mallory = unique("mallory");
    let mut socket = Socket::ready(&server, &mallory).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;

    for conversation in [group.name.as_str(), group.members[0].user(), "absent"] {
        let answer = socket
            .request(json!({"t": "send", "conversation": conversation, "text": "psst"}))
            .await;
        assert_eq!(
            (answer.text("t"), answer["problem"].text("code")),
            ("error", "not_participant")
        );
        assert_eq!(answer["problem"].number("status"), 403);
    }

    // Membership is checked before what the message refers to.
    let reply =
        json!({"t": "send", "conversation": group.name, "text": "psst", "reply_to": STRANGE_ID});
    assert_eq!(
        socket.request(reply).await["problem"].text("code"),
        "not_participant"
    );

    for t in ["private", "direct", "message", "event", "receipt"] {
        let frame = json!({"t": t, "to": group.members[0].user(), "conversation": group.name, "text": "psst"});
        assert_eq!(socket.request(frame).await.text("t"), "error");
    }

    let marker = group.admin.say(&group.name, "marker").await;
    bob.until("the marker", |frame| frame["id"] == marker["id"])
        .await;
    assert_eq!(bob.seqs(&group.name), [2]);

    assert!(
        !bob.frames
            .iter()
            .any(|frame| frame.to_string().contains("psst")),
        "{:?}",
        bob.frames
    );
}
