//! Frames of one session: what comes, and what is answered.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::shared;
use crate::support::socket::{Next, Socket};
use crate::support::{Fields, Group, unique};

/// A UUID that is no id of ours.
const STRANGE_ID: &str = "123e4567-e89b-42d3-a456-426614174000";

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

#[tokio::test]
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

#[tokio::test]
async fn a_conversation_that_begins_while_connected_is_live_from_its_first_event() {
    let server = shared();
    let (alice, bob) = (server.client(&unique("alice")), unique("bob"));
    let mut socket = Socket::ready(&server, &bob).await;
    let mut own = Socket::ready(&server, alice.user()).await;
    let made = alice.create(&[&bob]).await;
    let name = made.text("name");
    alice.say(name, "hello").await;
    for socket in [&mut socket, &mut own] {
        socket.until_seq(name, 2).await;
        assert_eq!(socket.seqs(name), [1, 2]);
    }
}

#[tokio::test]
async fn who_joins_while_connected_sees_it_from_the_own_joined_on() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let carol = unique("carol");
    for i in 0..5 {
        group.admin.say(&group.name, &format!("before {i}")).await;
    }
    let mut socket = Socket::ready(&server, &carol).await;
    group.admin.add(&group.name, &[&carol]).await.expect(200);
    for i in 0..5 {
        group.admin.say(&group.name, &format!("after {i}")).await;
    }
    socket.until_seq(&group.name, 12).await;
    assert_eq!(socket.seqs(&group.name), (7..=12).collect::<Vec<u64>>());
    let joined = socket.changes(&group.name)[0].clone();
    assert_eq!(
        (joined.text("kind"), joined.text("by")),
        ("joined", group.admin.user())
    );
    assert_eq!(joined["users"], json!([carol]));
    assert_eq!(
        server
            .client(&carol)
            .history(&group.name, "")
            .await
            .list("items")
            .len(),
        10,
        "but may read all of it"
    );
}

/// Invariant: nothing after the removal of a participant reaches him, and nothing of his enters
/// after it.
#[tokio::test]
async fn the_last_frame_of_who_is_removed_is_his_own_left() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let other = alice.create(&[bob.user()]).await;
    let mut bobs = Socket::ready(&server, bob.user()).await;
    let mut witness = Socket::ready(&server, group.members[1].user()).await;
    alice.say(&group.name, "together").await;
    alice.remove(&group.name, bob.user()).await.expect(204);
    let answer = bobs
        .request(json!({"t": "send", "conversation": group.name, "text": "me too"}))
        .await;
    assert_eq!(answer["problem"]["code"], "not_participant");
    let mut last = json!(null);
    for i in 0..20 {
        last = alice.say(&group.name, &format!("alone {i}")).await;
        alice
            .put(
                &format!("/v1/messages/{}/reaction", last.text("id")),
                &json!({"reaction": 1}),
            )
            .await
            .expect(204);
    }
    witness.until_seq(&group.name, last.number("seq")).await;
    let marker = alice.say(other.text("name"), "marker").await;
    bobs.find("the marker", |frame| frame["id"] == marker["id"])
        .await;
    bobs.request(json!({"t": "ping"})).await;
    let seen: Vec<_> = bobs
        .frames
        .iter()
        .filter(|frame| frame["conversation"] == group.name.as_str())
        .collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(
        (seen[1].text("kind"), seen[1].text("user")),
        ("left", bob.user())
    );
    assert_eq!(
        witness.seqs(&group.name),
        (2..=last.number("seq")).collect::<Vec<u64>>()
    );
}

#[tokio::test]
async fn who_leaves_and_comes_back_sees_no_part_of_between() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut socket = Socket::ready(&server, bob.user()).await;
    alice.say(&group.name, "2").await;
    alice.remove(&group.name, bob.user()).await.expect(204);
    socket.until_seq(&group.name, 3).await;
    alice.say(&group.name, "4").await;
    alice.add(&group.name, &[bob.user()]).await.expect(200);
    alice.say(&group.name, "6").await;
    socket.until_seq(&group.name, 6).await;
    assert_eq!(socket.seqs(&group.name), [2, 3, 5, 6]);
}
