//! Who types: told to the others at once, and kept nowhere.

use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, now_s};

fn typing(conversation: &str, on: bool) -> Value {
    json!({"t": "typing", "conversation": conversation, "on": on})
}

/// What a socket was told of typing so far.
fn told(socket: &Socket) -> Vec<&Value> {
    socket
        .frames
        .iter()
        .filter(|frame| frame["t"] == "typing")
        .collect()
}

/// Everything that was said before has come: a message after it has.
async fn marker(group: &Group, sockets: &mut [&mut Socket]) {
    let seq = group.admin.say(&group.name, "marker").await.number("seq");
    for socket in sockets {
        socket.until_seq(&group.name, seq).await;
    }
}

#[tokio::test]
async fn others_are_told_at_once_who_types_and_when_they_stop() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let [bob, carol] = [group.members[0].user(), group.members[1].user()];
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let (mut first, mut second) = (
        Socket::ready(&server, bob).await,
        Socket::ready(&server, bob).await,
    );
    let mut other = Socket::ready(&server, carol).await;
    let before = now_s() * 1_000;
    let ok = first.request(typing(&group.name, true)).await;
    assert_eq!((ok.text("t"), &ok["result"]), ("ok", &Value::Null));

    for socket in [&mut alice, &mut other] {
        let frame = socket.until_t("typing").await;
        assert_eq!(
            (frame.text("conversation"), frame.text("user")),
            (group.name.as_str(), bob)
        );
        assert!(frame.number("until") >= before + 6_000, "{frame}");
    }

    let until = told(&alice)[0].number("until");
    first.send(&typing(&group.name, false)).await;

    let stopped = alice.until_t("typing").await;
    assert!(
        stopped.number("until") < until,
        "they stopped: {stopped} after {until}"
    );

    // What was over is announced at once again.
    second.send(&typing(&group.name, true)).await;
    alice.until_t("typing").await;
    marker(
        &group,
        &mut [&mut alice, &mut first, &mut second, &mut other],
    )
    .await;

    assert!(
        told(&first).is_empty() && told(&second).is_empty(),
        "not to the typist's own sessions"
    );
    assert_eq!((told(&alice).len(), told(&other).len()), (3, 3));
}

#[tokio::test]
async fn what_comes_too_often_is_dropped_and_answered_all_the_same() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    for _ in 0..50 {
        bob.send(&typing(&group.name, true)).await;
    }

    assert_eq!(bob.request(typing(&group.name, true)).await.text("t"), "ok");
    marker(&group, &mut [&mut alice, &mut bob]).await;

    // Of a slow machine more than 3 s may have passed.
    assert!((1..=3).contains(&told(&alice).len()), "{:?}", told(&alice));
    assert!(bob.frames.iter().all(|frame| frame["t"] != "error"));
    assert_eq!(
        bob.frames.iter().filter(|frame| frame["t"] == "ok").count(),
        1,
        "only a frame with a ref is answered"
    );
}

#[tokio::test]
async fn a_message_ends_typing_without_a_frame_and_what_follows_is_announced_at_once() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    bob.send(&typing(&group.name, true)).await;
    alice.until_t("typing").await;

    let send = json!({"t": "send", "conversation": group.name, "text": "here"});
    let seq = bob.request(send).await["result"].number("seq");
    alice.until_seq(&group.name, seq).await;
    assert_eq!(told(&alice).len(), 1, "the message says it");

    bob.send(&typing(&group.name, true)).await;
    alice.until_t("typing").await;
    bob.send(&typing(&group.name, false)).await;
    alice.until_t("typing").await;

    let events = group.admin.all_events(&group.name).await;
    assert_eq!(events.len(), 2, "none of it is in the history: {events:?}");
}

#[tokio::test]
async fn who_may_not_send_may_not_type_and_is_told_so_if_they_ask() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let stranger = crate::support::unique("mallory");
    let mut mallory = Socket::ready(&server, &stranger).await;

    for name in [group.name.as_str(), "absent"] {
        let error = mallory.request(typing(name, true)).await;
        assert_eq!(
            (error.text("t"), error["problem"].text("code")),
            ("error", "not_participant")
        );
        mallory.send(&typing(name, true)).await;
    }

    for (frame, code) in [
        (
            json!({"t": "typing", "conversation": group.name}),
            "invalid",
        ),
        (
            json!({"t": "typing", "conversation": group.name, "on": 1}),
            "invalid",
        ),
        (
            json!({"t": "typing", "conversation": "a b", "on": true}),
            "invalid_name",
        ),
    ] {
        assert_eq!(mallory.request(frame).await["problem"].text("code"), code);
    }

    marker(&group, &mut [&mut alice]).await;
    assert!(told(&alice).is_empty());

    let errors = mallory
        .frames
        .iter()
        .filter(|frame| frame["t"] == "error")
        .count();
    assert_eq!(
        errors, 5,
        "without a ref nothing is answered: {:?}",
        mallory.frames
    );
}

#[tokio::test]
async fn nobody_types_after_they_were_removed_and_the_end_of_it_is_told() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let bob = group.members[0].user();
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut typist = Socket::ready(&server, bob).await;
    typist.send(&typing(&group.name, true)).await;

    let until = alice.until_t("typing").await.number("until");
    group
        .admin
        .delete(&group.path(&format!("/participants/{bob}")))
        .await
        .expect(204);
    let ended = alice.until_t("typing").await;

    assert!(
        ended.text("user") == bob && ended.number("until") < until,
        "{ended}"
    );

    let refused = typist.request(typing(&group.name, true)).await;
    assert_eq!(refused["problem"].text("code"), "not_participant");

    // Nor is one who was removed told of others.
    let mut carol = Socket::ready(&server, group.members[1].user()).await;
    carol.send(&typing(&group.name, true)).await;
    alice.until_t("typing").await;
    typist.request(json!({"t": "ping"})).await;
    assert!(told(&typist).is_empty());
}

#[tokio::test]
async fn nobody_is_told_in_a_conversation_of_more_than_250() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    let many: Vec<String> = (0..247).map(|_| crate::support::unique("one")).collect();

    group
        .admin
        .add(
            &group.name,
            &many.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await
        .expect(200);
    assert_eq!(
        bob.request(typing(&group.name, true)).await.text("t"),
        "ok",
        "250 take part"
    );

    alice.until_t("typing").await;
    group
        .admin
        .add(&group.name, &[&crate::support::unique("one")])
        .await
        .expect(200);
    let refused = bob.request(typing(&group.name, true)).await;

    assert_eq!(refused["problem"].text("code"), "too_many_participants");
    assert_eq!(refused["problem"].number("status"), 409);
}

#[tokio::test]
async fn a_flood_of_typing_closes_nothing_and_delays_no_message() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let mut bob = Socket::ready(&server, group.members[0].user()).await;
    for step in 0..300 {
        bob.send(&typing(&group.name, step % 2 == 0)).await;
    }
    let send = json!({"t": "send", "conversation": group.name, "text": "through"});
    let answer = bob.request(send).await;
    assert_eq!(answer.text("t"), "ok", "{answer}");
    alice
        .until_seq(&group.name, answer["result"].number("seq"))
        .await;
    assert!(told(&alice).len() < 100, "{}", told(&alice).len());
}
