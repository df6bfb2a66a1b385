//! Messages that are sent again under their key.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

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
    let mut bobs = Socket::ready(&server, group.members[0].user()).await;
    let frame = |id: &str, text: &str| json!({"t": "send", "conversation": group.name, "text": text, "client_id": id});
    let by_rest = alice.post_with_key(&path, &body, "one").await.expect(201);
    let answer = socket.request(frame("one", "once")).await;

    assert_eq!(
        (answer.text("t"), &answer["result"]["id"]),
        ("ok", &by_rest["id"])
    );
    let is_message = |frame: &Value| frame["t"] == "message";
    let own = socket.find("their own message", is_message).await;
    assert_eq!((&own["id"], own.text("client_id")), (&by_rest["id"], "one"));

    let refused = socket.request(frame("one", "twice")).await;
    assert_eq!(
        (refused.text("t"), refused["problem"].text("code")),
        ("error", "idempotency_conflict")
    );

    let by_frame = socket.request(frame("two", "once")).await;
    assert_eq!(by_frame.text("t"), "ok");

    // Nobody else learns it.
    let others = bobs.find("the message", is_message).await;
    assert_eq!(others["id"], by_rest["id"]);
    assert!(others.get("client_id").is_none(), "{others}");

    let again = alice.post_with_key(&path, &body, "two").await.expect(200);
    assert_eq!(again["id"], by_frame["result"]["id"]);
    assert_eq!(alice.history(&group.name, "").await.list("items").len(), 2);
}
