//! What is read, and the watermarks that tell of it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::reactions::reaction_path;
use crate::support::client::Client;
use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

async fn read(client: &Client, message: &Value) {
    client
        .post_nothing(&format!("/v1/messages/{}/read", message.text("id")))
        .await
        .expect(204);
}

// what must not happen: 11 — reading reads, and neither reading nor a history request touches a
// reaction.
#[tokio::test]
async fn reading_marks_as_read_and_leaves_the_reaction() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "hello").await;
    let fresh = alice
        .receipt_of(&sent, bob.user())
        .await
        .expect("a receipt for each participant at once");
    assert_eq!(
        (&fresh["read"], &fresh["reaction"], &fresh["read_at"]),
        (&json!(false), &json!(null), &json!(null))
    );
    assert_eq!(fresh["message_id"], sent["id"]);

    bob.put(&reaction_path(&sent), &json!({"reaction": 128_077}))
        .await
        .expect(204);
    read(bob, &sent).await;

    let receipt = alice.receipt_of(&sent, bob.user()).await.unwrap();
    assert_eq!(
        (&receipt["read"], &receipt["reaction"]),
        (&json!(true), &json!(128_077))
    );
    assert!(
        receipt.number("read_at") >= sent.number("created"),
        "{receipt}"
    );
    assert!(receipt["ts"].is_u64(), "{receipt}");

    for _ in 0..2 {
        let shown = bob.history(&group.name, "").await.list("items")[0].clone();
        assert_eq!(
            (&shown["reactions"], &shown["my_reaction"]),
            (&json!({"128077": 1}), &json!(128_077))
        );
        let after = alice.receipt_of(&sent, bob.user()).await.unwrap();
        assert_eq!(
            (&after["read"], &after["reaction"]),
            (&json!(true), &json!(128_077))
        );
        read(bob, &sent).await;
    }

    bob.put(&reaction_path(&sent), &json!({"reaction": 10_084}))
        .await
        .expect(204);
    bob.delete(&reaction_path(&sent)).await.expect(204);

    let receipt = alice.receipt_of(&sent, bob.user()).await.unwrap();
    assert_eq!(
        (&receipt["read"], &receipt["reaction"]),
        (&json!(true), &json!(null)),
        "reacting leaves the reading"
    );
}

// what must not happen: 12 — strangers cannot react or read, unknown messages get no rows, and GET
// changes nothing.
#[tokio::test]
async fn strangers_and_unknown_messages_get_404_and_leave_no_trace() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let sent = group.admin.say(&group.name, "hello").await;
    let mallory = server.client(&unique("mallory"));

    for id in [sent.text("id"), "123e4567-e89b-42d3-a456-426614174000", "7"] {
        let path = format!("/v1/messages/{id}/reaction");
        mallory
            .put(&path, &json!({"reaction": 1}))
            .await
            .refused(404, "message_unknown");
        mallory.delete(&path).await.refused(404, "message_unknown");
        mallory
            .post_nothing(&format!("/v1/messages/{id}/read"))
            .await
            .refused(404, "message_unknown");
    }

    let receipts = group
        .admin
        .get(&format!("/v1/messages/{}/receipts", sent.text("id")))
        .await
        .expect(200);
    assert_eq!(receipts.list("items").len(), 1, "{receipts}");

    assert_eq!(
        group
            .admin
            .get(&format!("/v1/messages/{}", sent.text("id")))
            .await
            .expect(200)["reactions"],
        json!({})
    );

    for path in [
        reaction_path(&sent),
        format!("/v1/messages/{}/read", sent.text("id")),
    ] {
        group.members[0]
            .get(&path)
            .await
            .refused(405, "method_not_allowed");
    }

    assert_eq!(
        group
            .admin
            .receipt_of(&sent, group.members[0].user())
            .await
            .unwrap()["read"],
        json!(false)
    );

    // The same over a socket.
    let mut socket = Socket::ready(&server, mallory.user()).await;

    for frame in [
        json!({"t": "read", "message_id": sent["id"]}),
        json!({"t": "react", "message_id": sent["id"], "reaction": 1}),
        json!({"t": "react", "message_id": sent["id"], "reaction": null}),
    ] {
        let answer = socket.request(frame).await;
        assert_eq!(
            (answer.text("t"), answer["problem"].text("code")),
            ("error", "message_unknown")
        );
    }
}

#[tokio::test]
async fn a_read_covers_everything_before_it_and_never_goes_back() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut sent = Vec::new();
    for i in 0..6 {
        sent.push(alice.say(&group.name, &format!("m{i}")).await);
    }

    read(bob, &sent[3]).await;
    let at = alice
        .receipt_of(&sent[3], bob.user())
        .await
        .unwrap()
        .number("read_at");
    read(bob, &sent[1]).await;

    for (i, message) in sent.iter().enumerate() {
        let receipt = alice.receipt_of(message, bob.user()).await.unwrap();
        assert_eq!(receipt["read"], json!(i <= 3), "message {i}: {receipt}");
        if i <= 3 {
            assert_eq!(
                receipt.number("read_at"),
                at,
                "the first advance that covers it"
            );
        }
    }

    let marks = alice.get(&group.path("/watermarks")).await.expect(200);
    let bobs = marks
        .list("items")
        .iter()
        .find(|mark| mark.text("user") == bob.user())
        .unwrap();
    assert_eq!(bobs.number("read_up_to"), sent[3].number("seq"));
    join_all([5, 2, 4, 0].map(|i: usize| read(bob, &sent[i]))).await;

    let marks = bob
        .get(&group.path("/watermarks?limit=1000"))
        .await
        .expect(200);
    let bobs = marks
        .list("items")
        .iter()
        .find(|mark| mark.text("user") == bob.user())
        .unwrap();
    assert_eq!(bobs.number("read_up_to"), sent[5].number("seq"));
}

#[tokio::test]
async fn watermarks_page_by_name() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let path = group.path("/watermarks");
    let whole = group.admin.get(&path).await.expect(200);
    let names: Vec<String> = whole
        .list("items")
        .iter()
        .map(|mark| mark.text("user").to_owned())
        .collect();
    assert_eq!(names.len(), 4);
    let mut paged = Vec::new();
    let mut at = String::new();

    loop {
        let page = group
            .admin
            .get(&format!("{path}?limit=3{at}"))
            .await
            .expect(200);
        paged.extend(
            page.list("items")
                .iter()
                .map(|mark| mark.text("user").to_owned()),
        );
        if page["next"].is_null() {
            break;
        }
        assert!(
            paged.len() < names.len(),
            "the cursor does not move on: {paged:?}"
        );
        at = format!("&after={}", paged[paged.len() - 1]);
    }

    assert_eq!(paged, names);

    for query in ["limit=0", "limit=-1", "limit=x", "before=a"] {
        group
            .admin
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_read_is_shown_to_the_sender_and_to_the_readers_other_devices() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "hello").await;
    let mut alices = Socket::ready(&server, alice.user()).await;
    let mut one = Socket::ready(&server, bob.user()).await;
    let mut two = Socket::ready(&server, bob.user()).await;
    let is_read = |frame: &Value| frame["t"] == "receipt" && frame["kind"] == "read";
    let answer = one
        .request(json!({"t": "read", "message_id": sent["id"]}))
        .await;
    assert_eq!(answer.text("t"), "ok");

    for socket in [&mut alices, &mut two] {
        let receipt = socket.find("the read mark", is_read).await;
        assert_eq!(
            (receipt.text("conversation"), receipt.text("user")),
            (group.name.as_str(), bob.user())
        );
        assert_eq!(receipt.number("up_to"), sent.number("seq"));
        assert!(receipt["ts"].is_u64());
    }

    // A read by REST goes to all devices; what came to the first one before it was not its own.
    let next = alice.say(&group.name, "again").await;
    read(bob, &next).await;

    for socket in [&mut alices, &mut one, &mut two] {
        let seq = next.number("seq");
        socket
            .find("the second mark", |frame| {
                is_read(frame) && frame["up_to"] == seq
            })
            .await;
    }

    let first_seq = sent.number("seq");
    assert!(
        !one.frames
            .iter()
            .any(|frame| is_read(frame) && frame["up_to"] == first_seq),
        "{:?}",
        one.frames
    );
}
