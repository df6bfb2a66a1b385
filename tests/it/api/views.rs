//! What participants set for themselves alone: notifications, pins, the archive, and up to where
//! they count as having read.

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually, unique};

async fn set(client: &Client, group: &Group, body: &Value) -> Answer {
    client.put(&group.path("/me"), body).await
}

/// The fields of an own view, of whatever shows them.
fn own(shown: &Value) -> Value {
    json!([
        shown["notify_after"],
        shown["pinned"],
        shown["archived"],
        shown["read_up_to"],
        shown["unread"],
        shown["unread_mentions"],
    ])
}

async fn listed(client: &Client, group: &Group) -> Value {
    let list = client.get("/v1/conversations").await.expect(200);
    let mut items = list.list("items").iter();
    let item = items.find(|item| item["name"] == group.name.as_str());
    item.cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_one_sets_is_shown_to_oneself_by_every_way_and_to_nobody_else() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let body = json!({"notify_after": 1_800_000_000_000_u64, "pinned": 2, "archived": true});
    let set_to = set(bob, &group, &body).await.expect(200);
    let expected = json!([1_800_000_000_000_u64, 2, true, 1, 0, 0]);
    assert_eq!(own(&set_to), expected);
    assert_eq!(set_to["my_muted_until"], Value::Null);

    assert_eq!(own(&bob.get(&group.path("")).await.expect(200)), expected);
    eventually("the list has it", || async {
        (own(&listed(bob, &group).await) == expected).then_some(())
    })
    .await;
    let alices = alice.get(&group.path("")).await.expect(200);
    assert_eq!(own(&alices), json!([null, null, false, 1, 0, 0]));

    // What is absent stays, null takes away, and none of it makes an event.
    let less = json!({"notify_after": null, "pinned": null});
    let set_to = set(bob, &group, &less).await.expect(200);
    assert_eq!(own(&set_to), json!([null, null, true, 1, 0, 0]));
    assert_eq!(set_to["last_seq"], 1);
    alice
        .say(&group.name, "a message does not bring it back")
        .await;
    let shown = bob.get(&group.path("")).await.expect(200);
    assert_eq!(shown["archived"], true);
}

#[tokio::test]
async fn what_is_no_view_is_refused_and_changes_nothing() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    for body in [
        json!({}),
        json!({"pinned": -1}),
        json!({"pinned": 2_147_483_648_u64}),
        json!({"pinned": "1"}),
        json!({"archived": null}),
        json!({"archived": 1}),
        json!({"read_up_to": null}),
        json!({"read_up_to": 2, "pinned": 1}),
        json!({"notify_after": -1}),
        json!({"muted_until": 1}),
    ] {
        set(bob, &group, &body).await.refused(400, "invalid");
    }
    let shown = bob.get(&group.path("")).await.expect(200);
    assert_eq!(own(&shown), json!([null, null, false, 1, 0, 0]));

    let largest = json!({"pinned": 2_147_483_647, "read_up_to": 1.0});
    set(bob, &group, &largest).await.expect(200);
    bob.get(&group.path("/me"))
        .await
        .refused(405, "method_not_allowed");
}

#[tokio::test]
async fn strangers_have_no_view_and_nobody_has_one_of_what_was_deleted() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    let stranger = server.client(&unique("mallory"));
    let body = json!({"archived": true, "read_up_to": 0});
    set(&stranger, &group, &body)
        .await
        .refused(403, "not_participant");

    bob.remove(&group.name, bob.user()).await.expect(204);
    set(bob, &group, &body)
        .await
        .refused(403, "not_participant");
    group.admin.delete(&group.path("")).await.expect(204);
    set(&group.admin, &group, &body)
        .await
        .refused(410, "conversation_closed");
}

#[tokio::test]
async fn marking_as_unread_counts_again_and_takes_back_no_receipt() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let plain = alice.say(&group.name, "one").await;
    let mentioning = json!({"text": "two", "mentions": [bob.user(), alice.user()]});
    let path = group.path("/messages");
    let second = alice.post(&path, &mentioning).await.expect(201);
    bob.post(&path, &json!({"text": "mine", "mentions": [bob.user()]}))
        .await
        .expect(201);
    bob.post_nothing(&format!("/v1/messages/{}/read", second.text("id")))
        .await
        .expect(204);
    assert_eq!(
        own(&bob.get(&group.path("")).await.expect(200)),
        json!([null, null, false, 3, 0, 0])
    );

    let back = set(bob, &group, &json!({"read_up_to": 0}))
        .await
        .expect(200);
    assert_eq!(own(&back), json!([null, null, false, 0, 2, 1]));
    let receipt = alice.receipt_of(&second, bob.user()).await.expect("one");
    assert_eq!(receipt["read"], true);
    let marks = bob.get(&group.path("/watermarks")).await.expect(200);
    let bobs = marks
        .list("items")
        .iter()
        .find(|mark| mark["user"] == bob.user());
    assert_eq!(bobs.expect("a mark")["read_up_to"], 3);

    bob.post_nothing(&format!("/v1/messages/{}/read", plain.text("id")))
        .await
        .expect(204);
    let shown = bob.get(&group.path("")).await.expect(200);
    assert_eq!(own(&shown), json!([null, null, false, 2, 1, 1]));

    alice
        .delete(&format!("/v1/messages/{}", second.text("id")))
        .await
        .expect(204);
    let shown = bob.get(&group.path("")).await.expect(200);
    assert_eq!(own(&shown), json!([null, null, false, 2, 0, 0]));
}

#[tokio::test]
async fn all_sessions_of_the_user_are_told_of_what_they_set_and_read() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut bobs = [
        Socket::ready(&server, bob.user()).await,
        Socket::ready(&server, bob.user()).await,
    ];
    let mut alices = Socket::ready(&server, alice.user()).await;

    let body = json!({"pinned": 1, "archived": true});
    set(bob, &group, &body).await.expect(200);
    for socket in &mut bobs {
        let me = socket.until_t("me").await;
        let expected = json!({"t": "me", "conversation": group.name, "notify_after": null, "pinned": 1,
            "archived": true, "read_up_to": 1});
        assert_eq!(me, expected);
    }

    // Again: no change, no frame. A read is told to both.
    set(bob, &group, &body).await.expect(200);
    let sent = alice.say(&group.name, "hello").await;
    let read = json!({"t": "read", "message_id": sent["id"]});
    bobs[0].until_seq(&group.name, 2).await;
    bobs[0].request(read).await;
    for socket in &mut bobs {
        let fits = |frame: &Value| frame["t"] == "me" && frame["read_up_to"] == 2;
        let me = socket.find("what was read", fits).await;
        assert_eq!(me.number("pinned"), 1);
    }

    alices.until_seq(&group.name, 2).await;
    let receipt = alices.until_t("receipt").await;
    assert_eq!(receipt["user"], bob.user());
    alice.say(&group.name, "the end").await;
    alices
        .until("the end", |frame| {
            assert_ne!(frame["t"], "me", "{frame}");
            frame["seq"] == 3
        })
        .await;
}
