//! When a message counts as delivered, and whom that is told.

use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually, unique};

#[tokio::test]
async fn receipts_are_for_the_sender_about_those_who_were_there() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = bob.say(&group.name, "hello").await;
    let path = format!("/v1/messages/{}/receipts", sent.text("id"));

    alice.get(&path).await.refused(403, "not_sender");
    alice.add(&group.name, &[&unique("late")]).await.expect(200);
    alice
        .remove(&group.name, group.members[2].user())
        .await
        .expect(204);
    let users = |page: &Value| -> Vec<String> {
        page.list("items")
            .iter()
            .map(|receipt| receipt.text("user_id").to_owned())
            .collect()
    };

    let mut expected = vec![alice.user().to_owned(), group.members[1].user().to_owned()];
    expected.sort();

    let page = bob.get(&path).await.expect(200);
    let mut listed = users(&page);
    assert!(page["next"].is_null());

    let first = bob.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(users(&first), listed[..1]);

    let second = bob
        .get(&format!("{path}?limit=1&after={}", listed[0]))
        .await
        .expect(200);
    assert_eq!(
        (users(&second), second["next"].is_null()),
        (listed[1..].to_vec(), true)
    );

    listed.sort();
    assert_eq!(
        listed, expected,
        "neither the sender, nor who came later, nor who is gone"
    );

    for query in ["limit=0", "limit=1001", "limit=-1", "offset=1"] {
        bob.get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_history_answer_delivers() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "hello").await;
    bob.history(&group.name, "").await;

    let receipt = eventually("bob has it delivered", || async {
        alice
            .receipt_of(&sent, bob.user())
            .await
            .filter(|receipt| receipt["delivered"] == true)
    })
    .await;

    assert!(receipt.number("delivered_at") >= sent.number("created"));
    assert_eq!(receipt["read"], false);

    let other = alice
        .receipt_of(&sent, group.members[1].user())
        .await
        .unwrap();
    assert_eq!(
        (&other["delivered"], &other["delivered_at"]),
        (&json!(false), &json!(null))
    );
}

// what must not happen: 20 — nothing is called delivered before a device has it.
#[tokio::test]
async fn delivered_waits_for_the_pong_of_a_device() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut alices = Socket::ready(&server, alice.user()).await;
    // This socket is open but nothing reads from it: no pong either.
    let mut bobs = Socket::ready(&server, bob.user()).await;
    let mut sent = Value::Null;

    for i in 0..20 {
        sent = alice.say(&group.name, &format!("m{i}")).await;
        alices
            .until("my own message", |frame| frame["id"] == sent["id"])
            .await;
        let receipt = alice.receipt_of(&sent, bob.user()).await.unwrap();
        assert_eq!(
            receipt["delivered"],
            json!(false),
            "delivered before the device read it: {receipt}"
        );
    }

    let last = sent.number("seq");
    let name = group.name.clone();
    let reader = tokio::spawn(async move {
        bobs.until_seq(&name, last).await;
        // Read on, so that pings are answered.
        bobs.until("an end that does not come", |_| false).await;
    });
    let receipt = alices
        .until("the delivered mark", |frame| {
            frame["t"] == "receipt" && frame["up_to"].as_u64() >= Some(last)
        })
        .await;
    assert_eq!(
        (receipt.text("kind"), receipt.text("user")),
        ("delivered", bob.user())
    );

    assert_eq!(
        alice.receipt_of(&sent, bob.user()).await.unwrap()["delivered"],
        json!(true)
    );
    reader.abort();
}
