//! Sending messages and reading one back.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

// what must not happen: 15 — the sender learns the id, and a retry makes no duplicate.
#[tokio::test]
async fn the_sender_learns_the_whole_message() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let alice = &group.admin;
    let sent = alice.say(&group.name, "hello").await;
    assert_eq!(
        (sent.text("conversation"), sent.text("source")),
        (group.name.as_str(), alice.user())
    );
    assert_eq!((sent.text("text"), sent.number("seq")), ("hello", 2));
    assert_eq!(sent.text("id").len(), 36, "a UUID: {sent}");
    for absent in ["reply_to", "edited", "my_reaction"] {
        assert!(
            sent[absent].is_null() && sent.get(absent).is_some(),
            "{absent} is there and null: {sent}"
        );
    }
    assert_eq!(
        (&sent["deleted"], &sent["reactions"]),
        (&json!(false), &json!({}))
    );
    for client in [alice, &group.members[0]] {
        let by_id = client
            .get(&format!("/v1/messages/{}", sent.text("id")))
            .await
            .expect(200);
        assert_eq!(by_id, sent);
        assert_eq!(
            client.history(&group.name, "").await["items"],
            json!([sent])
        );
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_message() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob, path) = (&group.admin, &group.members[0], group.path("/messages"));
    let body = json!({"text": "once"});
    let first = alice.post_with_key(&path, &body, "k").await.expect(201);
    assert_eq!(
        alice.post_with_key(&path, &body, "k").await.expect(200),
        first
    );
    let with_null = json!({"text": "once", "reply_to": null});
    assert_eq!(
        alice
            .post_with_key(&path, &with_null, "k")
            .await
            .expect(200),
        first
    );
    alice
        .post_with_key(&path, &json!({"text": "twice"}), "k")
        .await
        .refused(422, "idempotency_conflict");
    let reply = json!({"text": "once", "reply_to": first["id"]});
    alice
        .post_with_key(&path, &reply, "k")
        .await
        .refused(422, "idempotency_conflict");
    // Keys belong to one sender and one conversation.
    assert_ne!(
        bob.post_with_key(&path, &body, "k").await.expect(201)["id"],
        first["id"]
    );
    let other = alice.create(&[bob.user()]).await;
    let other_path = format!("/v1/conversations/{}/messages", other.text("name"));
    assert_ne!(
        alice
            .post_with_key(&other_path, &body, "k")
            .await
            .expect(201)["id"],
        first["id"]
    );
    assert_eq!(alice.history(&group.name, "").await.list("items").len(), 2);
}

#[tokio::test]
async fn of_many_with_the_same_key_at_once_one_is_written() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, path, body) = (
        &group.admin,
        group.path("/messages"),
        json!({"text": "once"}),
    );
    for round in 0..5 {
        let key = format!("key-{round}");
        let answers = join_all((0..20).map(|_| alice.post_with_key(&path, &body, &key))).await;
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 201).count(),
            1,
            "{answers:?}"
        );
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer.status, 200 | 201)),
            "{answers:?}"
        );
        let ids: std::collections::BTreeSet<String> = answers
            .iter()
            .map(|answer| answer.json().text("id").to_owned())
            .collect();
        assert_eq!(ids.len(), 1);
    }
    assert_eq!(alice.all_events(&group.name).await.len(), 6);
}

#[tokio::test]
async fn a_refused_request_does_not_consume_its_key() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, path) = (&group.admin, group.path("/messages"));
    let mallory = server.client(&unique("mallory"));
    alice
        .post_with_key(&path, &json!({"text": ""}), "k")
        .await
        .refused(400, "invalid");
    mallory
        .post_with_key(&path, &json!({"text": "mine"}), "k")
        .await
        .refused(403, "not_participant");
    alice
        .post_with_key(&path, &json!({"text": "now"}), "k")
        .await
        .expect(201);
    alice.add(&group.name, &[mallory.user()]).await.expect(200);
    mallory
        .post_with_key(&path, &json!({"text": "ours"}), "k")
        .await
        .expect(201);
    // Membership comes first, also for a key that was used.
    alice.remove(&group.name, mallory.user()).await.expect(204);
    mallory
        .post_with_key(&path, &json!({"text": "ours"}), "k")
        .await
        .refused(403, "not_participant");
}

#[tokio::test]
async fn a_key_has_1_to_128_bytes() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let path = group.path("/messages");
    let body = json!({"text": "x"});
    group
        .admin
        .post_with_key(&path, &body, "")
        .await
        .refused(400, "invalid");
    group
        .admin
        .post_with_key(&path, &body, &"k".repeat(129))
        .await
        .refused(400, "invalid");
    group
        .admin
        .post_with_key(&path, &body, &"k".repeat(128))
        .await
        .expect(201);
}

#[tokio::test]
async fn the_key_of_a_request_and_the_client_id_of_a_frame_are_one_space() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, path, body) = (
        &group.admin,
        group.path("/messages"),
        json!({"text": "once"}),
    );
    let mut socket = Socket::ready(&server, alice.user()).await;
    let frame = |id: &str, text: &str| json!({"t": "send", "conversation": group.name, "text": text, "client_id": id});
    let by_rest = alice.post_with_key(&path, &body, "one").await.expect(201);
    let answer = socket.request(frame("one", "once")).await;
    assert_eq!(
        (answer.text("t"), &answer["result"]["id"]),
        ("ok", &by_rest["id"])
    );
    let refused = socket.request(frame("one", "twice")).await;
    assert_eq!(
        (refused.text("t"), refused["problem"].text("code")),
        ("error", "idempotency_conflict")
    );
    let by_frame = socket.request(frame("two", "once")).await;
    assert_eq!(by_frame.text("t"), "ok");
    let again = alice.post_with_key(&path, &body, "two").await.expect(200);
    assert_eq!(again["id"], by_frame["result"]["id"]);
    assert_eq!(alice.history(&group.name, "").await.list("items").len(), 2);
}

// what must not happen: 14 — replies name a UUID, of a message in this conversation.
#[tokio::test]
async fn a_reply_names_a_message_of_the_same_conversation() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob, path) = (&group.admin, &group.members[0], group.path("/messages"));
    let question = alice.say(&group.name, "why?").await;
    let answer = bob
        .post(&path, &json!({"text": "so", "reply_to": question["id"]}))
        .await
        .expect(201);
    assert_eq!(answer["reply_to"], question["id"]);
    let found = alice
        .history(&group.name, &format!("reply_to={}", question.text("id")))
        .await;
    assert_eq!(found["items"], json!([answer]));
    let other = alice.create(&[bob.user()]).await;
    let elsewhere = alice.say(other.text("name"), "elsewhere").await;
    bob.post(&path, &json!({"text": "x", "reply_to": elsewhere["id"]}))
        .await
        .refused(404, "reply_to_unknown");
    // A well-formed id that no message has.
    let mut absent = question.text("id").to_owned();
    let last = if absent.ends_with('0') { "1" } else { "0" };
    absent.replace_range(35.., last);
    bob.post(&path, &json!({"text": "x", "reply_to": absent}))
        .await
        .refused(404, "reply_to_unknown");
    let random = "123e4567-e89b-42d3-a456-426614174000";
    bob.post(&path, &json!({"text": "x", "reply_to": random}))
        .await
        .refused(404, "reply_to_unknown");
    for nonsense in [
        json!(7),
        json!("7"),
        json!(""),
        json!("not-a-uuid"),
        json!(true),
        json!([]),
    ] {
        bob.post(&path, &json!({"text": "x", "reply_to": nonsense}))
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn text_comes_back_as_it_was_sent() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let texts = [
        "x".to_owned(),
        " ".to_owned(),
        "\n\t leading and trailing \r\n".to_owned(),
        "e\u{301} is not \u{e9}".to_owned(),
        "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{2029}\u{feff}".to_owned(),
        "👩‍👩‍👧‍👦 𝔘𝔫𝔦 مرحبا שלום".to_owned(),
        "<script>alert('\"')</script> \\u0041 ' ; DROP TABLE messages; --".to_owned(),
        "\u{10ffff}".to_owned(),
        "x".repeat(16_384),
        "é".repeat(8_192),
        "😀".repeat(4_096),
        "\u{1}".repeat(16_384),
    ];
    let mut socket = Socket::ready(&server, group.members[0].user()).await;
    for text in &texts {
        let sent = group.admin.say(&group.name, text).await;
        assert_eq!(sent.text("text"), text);
        let read = group.members[0]
            .get(&format!("/v1/messages/{}", sent.text("id")))
            .await
            .expect(200);
        assert_eq!(read.text("text"), text);
        let live = socket
            .until("the message", |frame| frame["id"] == sent["id"])
            .await;
        assert_eq!(live.text("text"), text);
    }
    let history = group.members[0].history(&group.name, "order=asc").await;
    let read: Vec<&str> = history
        .list("items")
        .iter()
        .map(|item| item.text("text"))
        .collect();
    assert_eq!(read, texts);
}

#[tokio::test]
async fn text_is_limited_in_bytes() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let path = group.path("/messages");
    for text in [
        "x".repeat(16_385),
        "é".repeat(8_193),
        format!("{}x", "😀".repeat(4_096)),
    ] {
        group
            .admin
            .post(&path, &json!({"text": text}))
            .await
            .refused(413, "text_too_long");
    }
    for body in [
        json!({"text": ""}),
        json!({}),
        json!({"text": null}),
        json!({"text": 5}),
        json!({"text": ["x"]}),
    ] {
        group.admin.post(&path, &body).await.refused(400, "invalid");
    }
    assert_eq!(
        group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("last_seq"),
        1
    );
}

#[tokio::test]
async fn nobody_sends_in_the_name_of_another() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (bob, path) = (&group.members[0], group.path("/messages"));
    let (admin, body) = (group.admin.user(), json!({"text": "x"}));
    for (field, value) in [
        ("source", json!(admin)),
        ("id", json!("1")),
        ("seq", json!(99)),
        ("user", json!("root")),
    ] {
        let mut forged = body.clone();
        forged[field] = value;
        bob.post(&path, &forged).await.refused(400, "invalid");
    }
    let forged = [
        ("content-type", "application/json"),
        ("x-user", group.admin.user()),
        ("x-forwarded-user", group.admin.user()),
        ("x-rookery-user", group.admin.user()),
        ("x-rookery-identity", group.admin.user()),
    ];
    let answer = bob
        .call(http::Method::POST, &path, &forged, body.to_string().into())
        .await;
    let sent = answer.expect(201);
    assert_eq!((sent.text("source"), sent.number("seq")), (bob.user(), 2));
    assert!(sent.number("created") > 1);
    // Nor do such headers stand in for a token.
    let anonymous = bob.clone().with_token(None);
    anonymous
        .call(http::Method::POST, &path, &forged, body.to_string().into())
        .await
        .refused(401, "unauthorized");
}

#[tokio::test]
async fn a_message_is_unknown_to_strangers_and_when_it_is_none() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let sent = group.admin.say(&group.name, "secret").await;
    let mallory = server.client(&unique("mallory"));
    // Of the right form, in the right place, and yet no message: looks the same as one that is not
    // the caller's.
    let mut absent = sent.text("id").to_owned();
    absent.replace_range(35.., if absent.ends_with('0') { "1" } else { "0" });
    let mut details: Vec<String> = Vec::new();
    for id in [
        sent.text("id"),
        &absent,
        "123e4567-e89b-42d3-a456-426614174000",
        "7",
        "nonsense",
    ] {
        let problem = mallory
            .get(&format!("/v1/messages/{id}"))
            .await
            .refused(404, "message_unknown");
        details.push(problem.text("detail").replace(id, "?"));
        mallory
            .get(&format!("/v1/messages/{id}/receipts"))
            .await
            .refused(404, "message_unknown");
    }
    assert_eq!(details[0], details[1]);
    group
        .admin
        .remove(&group.name, group.members[0].user())
        .await
        .expect(204);
    let path = format!("/v1/messages/{}", sent.text("id"));
    group.members[0]
        .get(&path)
        .await
        .refused(404, "message_unknown");
}
