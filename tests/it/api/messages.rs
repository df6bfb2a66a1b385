//! Sending messages and reading one back.

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
