//! Who joins or leaves a conversation while connected, and what they see of it.

use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

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

/// Invariant: nothing after the removal of a participant reaches them, and nothing of theirs enters
/// after it.
#[tokio::test]
async fn the_last_frame_of_who_is_removed_is_their_own_left() {
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
