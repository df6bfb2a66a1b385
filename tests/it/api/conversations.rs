//! Creating and showing conversations.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::{Fields, Group, percent, unique};

#[tokio::test]
async fn creating_answers_with_the_conversation_and_where_it_is() {
    let server = shared();
    let (alice, bob) = (server.client(&unique("alice")), unique("bob"));
    let name = unique("team");
    let body = json!({"participants": [bob, bob, alice.user()], "title": "The team", "name": name});
    let answer = alice.post("/v1/conversations", &body).await;
    let made = answer.expect(201);

    assert_eq!(made.text("name"), name);
    assert_eq!(made.text("title"), "The team");
    assert_eq!(made.text("admin"), alice.user());
    assert_eq!(made.number("last_seq"), 1);
    assert_eq!(made.number("participants_count"), 2);
    assert!(
        made.number("created") > 1_600_000_000_000,
        "unix milliseconds: {made}"
    );

    let mut participants = made.list("participants").clone();
    participants.sort_by_key(|participant| participant.text("name").to_owned());

    let participant = |name: &str, role: &str| json!({"name": name, "role": role, "muted_until": null, "joined_seq": 1});
    let expected = [
        participant(alice.user(), "admin"),
        participant(&bob, "member"),
    ];
    assert_eq!(json!(participants), json!(expected));

    let shown = alice.get(answer.header("location")).await.expect(200);
    assert_eq!(without_own_view(shown), made, "Location leads to it");

    let path = format!("/v1/conversations/{name}");
    let mut of_bob = server.client(&bob).get(&path).await.expect(200);
    assert_eq!(
        (made.text("my_role"), of_bob.text("my_role")),
        ("admin", "member")
    );

    of_bob["my_role"] = json!("admin");
    assert_eq!(without_own_view(of_bob), made);
}

/// A conversation without what only its reader sees.
fn without_own_view(mut shown: Value) -> Value {
    let members = shown.as_object_mut().expect("an object");
    for own in [
        "notify_after",
        "pinned",
        "archived",
        "read_up_to",
        "unread",
        "unread_mentions",
    ] {
        assert!(members.remove(own).is_some(), "{own}");
    }
    shown
}

#[tokio::test]
async fn without_a_name_the_server_makes_one_and_title_is_null() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let (one, two) = (
        alice.create(&[&unique("bob")]).await,
        alice.create(&[&unique("bob")]).await,
    );
    assert_ne!(one.text("name"), two.text("name"));
    assert!(one["title"].is_null(), "{one}");
    let explicit = json!({"participants": ["bob"], "title": null, "name": null});
    assert!(alice.post("/v1/conversations", &explicit).await.expect(201)["title"].is_null());
}

#[tokio::test]
async fn creating_with_the_same_key_gives_the_same_conversation() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let body = json!({"participants": [unique("bob")], "title": "once"});
    let attempts =
        join_all((0..8).map(|_| alice.post_with_key("/v1/conversations", &body, "key-1"))).await;
    let made: Vec<_> = attempts
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert_eq!(
        made.len(),
        1,
        "of several at once, one creates: {attempts:?}"
    );

    for answer in &attempts {
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        assert_eq!(answer.json(), made[0].json());
    }

    // How it is written does not count: null is the same as nothing. What is known does.
    let mut same = body.clone();
    same["name"] = json!(null);
    alice
        .post_with_key("/v1/conversations", &same, "key-1")
        .await
        .expect(200);
    let mut other = body.clone();

    other["title"] = json!("twice");
    alice
        .post_with_key("/v1/conversations", &other, "key-1")
        .await
        .refused(422, "idempotency_conflict");
    // Another sender's key is another key.
    server
        .client(&unique("carol"))
        .post_with_key("/v1/conversations", &body, "key-1")
        .await
        .expect(201);
}

#[tokio::test]
async fn a_name_in_use_is_409_also_for_its_creator() {
    let server = shared();
    let (alice, mallory) = (
        server.client(&unique("alice")),
        server.client(&unique("mallory")),
    );
    let body = json!({"participants": ["bob"], "name": unique("taken")});

    alice
        .post_with_key("/v1/conversations", &body, "first")
        .await
        .expect(201);
    alice
        .post_with_key("/v1/conversations", &body, "second")
        .await
        .refused(409, "name_taken");
    mallory
        .post("/v1/conversations", &body)
        .await
        .refused(409, "name_taken");
    // A refused request does not consume its key.
    let mut free = body.clone();

    free["name"] = json!(unique("free"));
    alice
        .post_with_key("/v1/conversations", &free, "second")
        .await
        .expect(201);
    alice
        .post_with_key("/v1/conversations", &body, "first")
        .await
        .expect(200);
}

#[tokio::test]
async fn what_is_no_conversation_is_400() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let many: Vec<String> = (0..1_001).map(|i| format!("user-{i}")).collect();
    let invalid = [
        json!({}),
        json!([]),
        json!("text"),
        json!({"participants": []}),
        json!({"participants": "bob"}),
        json!({"participants": null}),
        json!({"participants": [1]}),
        json!({"participants": many}),
        json!({"participants": ["bob"], "title": ""}),
        json!({"participants": ["bob"], "title": "x".repeat(257)}),
        json!({"participants": ["bob"], "title": 7}),
        json!({"participants": ["bob"], "name": 7}),
    ];

    for body in &invalid {
        alice
            .post("/v1/conversations", body)
            .await
            .refused(400, "invalid");
    }

    for name in [
        "",
        ".",
        "..",
        "a b",
        "ä",
        "a/b",
        "a\u{0}",
        "{x}",
        &"x".repeat(129),
    ] {
        let as_name = json!({"participants": ["bob"], "name": name});
        alice
            .post("/v1/conversations", &as_name)
            .await
            .refused(400, "invalid_name");
        let as_participant = json!({"participants": ["bob", name]});
        alice
            .post("/v1/conversations", &as_participant)
            .await
            .refused(400, "invalid_name");
    }

    let longest = json!({"participants": ["bob"], "title": "é".repeat(128), "name": format!("{:x<128}", unique("n"))});
    alice.post("/v1/conversations", &longest).await.expect(201);
}

// what must not happen: 9 — the names of streams, tables and keys are names like any other, and
// harm nothing.
#[tokio::test]
async fn names_of_the_servers_own_things_are_ordinary_names() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let witness = Group::create(&server, 1).await;
    let names = [
        "messages_stream",
        "receipts_stream",
        "messages",
        "receipts",
        "rk:s0:messages",
        "rk:s12:ctl",
        "participants",
        "conversations",
        "v1",
        "ws",
        "__proto__",
        "a@b.example:8080",
    ];

    for name in names {
        alice
            .post(
                "/v1/conversations",
                &json!({"participants": ["bob"], "name": name}),
            )
            .await
            .expect(201);
        let sent = alice.say(name, "hello").await;
        assert_eq!(sent.text("conversation"), name);
        assert_eq!(alice.history(name, "").await.seqs(), [2]);
        let escaped = format!("/v1/conversations/{}/messages", percent(name));
        assert_eq!(
            alice.get(&escaped).await.expect(200).seqs(),
            [2],
            "percent-encoded: {escaped}"
        );
        witness.admin.say(&witness.name, name).await;
    }

    assert_eq!(
        witness.members[0]
            .history(&witness.name, "")
            .await
            .list("items")
            .len(),
        names.len()
    );
}

// what must not happen: 10 — asking for a name that does not exist yet leaves nothing behind.
#[tokio::test]
async fn a_name_asked_for_too_early_works_once_it_exists() {
    let server = shared();
    let (alice, bob) = (
        server.client(&unique("alice")),
        server.client(&unique("bob")),
    );
    let name = unique("later");
    let messages = format!("/v1/conversations/{name}/messages");

    for client in [&alice, &bob] {
        client
            .post(&messages, &json!({"text": "too early"}))
            .await
            .refused(403, "not_participant");
        client.get(&messages).await.refused(403, "not_participant");
    }

    alice
        .post(
            "/v1/conversations",
            &json!({"participants": [bob.user()], "name": name}),
        )
        .await
        .expect(201);
    alice.say(&name, "now").await;

    bob.say(&name, "me too").await;
    assert_eq!(bob.history(&name, "order=asc").await.seqs(), [2, 3]);
}

#[tokio::test]
async fn a_stranger_cannot_tell_whether_a_conversation_exists() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mallory = server.client(&unique("mallory"));
    let absent = unique("absent");

    for rest in ["", "/participants", "/messages", "/events", "/watermarks"] {
        let known = mallory
            .get(&group.path(rest))
            .await
            .refused(403, "not_participant");
        let unknown = mallory
            .get(&format!("/v1/conversations/{absent}{rest}"))
            .await
            .refused(403, "not_participant");
        for field in ["type", "title", "detail", "code", "status"] {
            let hide = |text: &Value| {
                text.to_string()
                    .replace(&group.name, "?")
                    .replace(&absent, "?")
            };
            assert_eq!(hide(&known[field]), hide(&unknown[field]), "{rest} {field}");
        }
    }
}
