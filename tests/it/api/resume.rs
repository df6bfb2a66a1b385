//! Coming back: exactly what was missed, or an explicit gap.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

/// Connects with `resume=wait`, sends these positions, and reads to `ready`.
async fn resumed(server: &crate::support::server::Server, user: &str, positions: Value) -> Socket {
    let mut socket = Socket::open_at(server, user, "/v1/ws?resume=wait").await;
    socket
        .send(&json!({"t": "resume", "positions": positions}))
        .await;
    socket.until_t("ready").await;
    socket
}

fn gaps(socket: &Socket) -> Vec<&Value> {
    socket
        .frames
        .iter()
        .filter(|frame| frame["t"] == "gap")
        .collect()
}

fn live_position(socket: &Socket, conversation: &str) -> Option<u64> {
    let live = socket.frames.iter().filter(|frame| frame["t"] == "live");
    live.filter_map(|frame| frame["positions"][conversation].as_u64())
        .next_back()
}

// what must not happen: 20 — whoever was away gets exactly what they missed.
#[tokio::test]
async fn a_resume_brings_exactly_what_was_missed_and_then_live() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut socket = Socket::ready(&server, bob.user()).await;
    alice.say(&group.name, "seen").await;
    socket.until_seq(&group.name, 2).await;
    socket.vanish();
    for i in 0..30 {
        alice.say(&group.name, &format!("missed {i}")).await;
    }

    alice
        .add(&group.name, &[&unique("carol")])
        .await
        .expect(200);
    let mut socket = resumed(&server, bob.user(), json!({&group.name: 2})).await;

    assert_eq!(socket.seqs(&group.name), (3..=33).collect::<Vec<u64>>());
    assert_eq!(live_position(&socket, &group.name), Some(33));
    assert!(gaps(&socket).is_empty());

    let order: Vec<&str> = socket.frames.iter().map(|frame| frame.text("t")).collect();
    assert_eq!(
        (order.first(), order.last()),
        (Some(&"hello"), Some(&"ready"))
    );

    alice.say(&group.name, "live").await;
    socket.until_seq(&group.name, 34).await;
    assert_eq!(socket.seqs(&group.name), (3..=34).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_resume_while_others_send_loses_and_repeats_nothing() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (group.admin.clone(), &group.members[0]);
    let name = group.name.clone();
    let sender = tokio::spawn(async move {
        for i in 0..300 {
            alice.say(&name, &format!("m{i}")).await;
        }
    });
    let mut seen: Vec<u64> = vec![1];

    while seen.last() != Some(&301) {
        let position = seen[seen.len() - 1];
        let mut socket = resumed(&server, bob.user(), json!({&group.name: position})).await;
        socket
            .until_seq(&group.name, (position + 40).min(301))
            .await;
        assert!(gaps(&socket).is_empty(), "{:?}", gaps(&socket));
        seen.extend(socket.seqs(&group.name));
        socket.vanish();
    }

    sender.await.unwrap();
    assert_eq!(seen, (1..=301).collect::<Vec<u64>>());
}

#[tokio::test]
async fn with_wait_nothing_but_hello_and_answers_comes_before_the_resume() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    let mut waiting = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    let mut direct = Socket::ready(&server, bob.user()).await;
    group.admin.say(&group.name, "now").await;
    direct.until_seq(&group.name, 2).await;
    waiting.request(json!({"t": "ping"})).await;

    let kinds: Vec<&str> = waiting.frames.iter().map(|frame| frame.text("t")).collect();
    assert_eq!(kinds, ["hello", "pong"]);

    let other = group.admin.create(&[bob.user()]).await;
    let first = json!({"t": "resume", "positions": {&group.name: 1}, "more": true});
    assert_eq!(waiting.request(first).await["t"], "ok");

    waiting
        .send(&json!({"t": "resume", "positions": {other.text("name"): 1}}))
        .await;
    waiting.until_t("ready").await;

    assert_eq!(waiting.seqs(&group.name), [2]);
    assert!(waiting.seqs(other.text("name")).is_empty());
}

#[tokio::test]
async fn without_a_resume_the_wait_ends_by_itself() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::open_at(&server, group.members[0].user(), "/v1/ws?resume=wait").await;
    socket.until_t("ready").await;
    let sent = group.admin.say(&group.name, "now").await;
    socket
        .until("the message", |frame| frame["id"] == sent["id"])
        .await;
}

#[tokio::test]
async fn a_resume_in_an_open_session_sets_its_cursors_anew() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for i in 0..5 {
        group.admin.say(&group.name, &format!("m{i}")).await;
    }

    let mut socket = Socket::ready(&server, group.members[0].user()).await;
    assert!(
        socket.seqs(&group.name).is_empty(),
        "without a resume the cursor starts at the tail"
    );

    socket
        .send(&json!({"t": "resume", "positions": {&group.name: 3}}))
        .await;
    let caught_up = |frame: &Value| frame["t"] == "live" && frame["positions"][&group.name] == 6;

    socket.until("the end of the missed span", caught_up).await;
    assert_eq!(socket.seqs(&group.name), [4, 5, 6]);
}

#[tokio::test]
async fn more_than_a_thousand_missed_are_a_gap_and_the_newest() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (name, alice) = (&group.name, &group.admin);
    for _ in 0..55 {
        join_all((0..20).map(|i| alice.say(name, if i % 2 == 0 { "even" } else { "odd" }))).await;
    }

    let socket = resumed(&server, group.members[0].user(), json!({name: 10})).await;
    let gaps = gaps(&socket);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(
        (gaps[0].text("reason"), gaps[0].text("conversation")),
        ("too_far", name.as_str())
    );
    assert_eq!(gaps[0].number("from"), 11);

    let seqs = socket.seqs(name);
    assert!(seqs.len() <= 1_000, "{}", seqs.len());
    assert_eq!(
        seqs,
        (gaps[0].number("to") + 1..=1_101).collect::<Vec<u64>>(),
        "what the gap names is not sent, the rest is"
    );

    let at_gap = socket
        .frames
        .iter()
        .position(|frame| frame["t"] == "gap")
        .unwrap();
    let first = socket
        .frames
        .iter()
        .position(|frame| frame["t"] == "message")
        .unwrap();
    assert!(at_gap < first, "the gap comes in its place");

    // What the gap names is there to be read.
    let path = group.path(&format!(
        "/events?after=10&limit={}",
        gaps[0].number("to") - 10
    ));

    assert_eq!(
        group.members[0].get(&path).await.expect(200).seqs(),
        (11..=gaps[0].number("to")).collect::<Vec<u64>>()
    );
}

#[tokio::test]
async fn a_conversation_that_is_not_the_callers_is_a_gap_that_tells_nothing() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "secret").await;

    let absent = unique("absent");
    let socket = resumed(
        &server,
        &unique("mallory"),
        json!({&group.name: 5, &absent: 5}),
    )
    .await;
    let mut gaps = gaps(&socket);
    gaps.sort_by_key(|gap| gap["conversation"] == absent.as_str());
    assert_eq!(gaps.len(), 2, "{gaps:?}");

    for (gap, name) in gaps.iter().zip([&group.name, &absent]) {
        let expected = json!({"t": "gap", "conversation": name, "from": 6, "to": 6, "reason": "not_participant"});
        assert_eq!(**gap, expected);
    }

    assert!(socket.seqs(&group.name).is_empty());
}

#[tokio::test]
async fn a_position_past_the_tail_is_replaced() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "tail").await;
    let mut socket = resumed(&server, group.members[0].user(), json!({&group.name: 12})).await;
    let expected =
        json!({"t": "gap", "conversation": group.name, "from": 3, "to": 12, "reason": "replaced"});
    assert_eq!(gaps(&socket), [&expected]);
    assert!(socket.seqs(&group.name).is_empty());
    group.admin.say(&group.name, "next").await;
    socket.until_seq(&group.name, 3).await;
    assert_eq!(socket.seqs(&group.name), [3]);
}

#[tokio::test]
async fn a_resume_of_hundreds_of_conversations_comes_in_several_frames() {
    let server = shared();
    let (alice, bob) = (
        server.client(&unique("alice")),
        server.client(&unique("bob")),
    );
    let (mut names, members) = (Vec::new(), [bob.user()]);
    for _ in 0..12 {
        let made = join_all((0..25).map(|_| alice.create(&members))).await;
        names.extend(made.iter().map(|made| made.text("name").to_owned()));
    }

    for batch in names.chunks(25) {
        join_all(batch.iter().map(|name| alice.say(name, "missed"))).await;
    }

    let mut socket = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    for (i, part) in names.chunks(100).enumerate() {
        let positions: serde_json::Map<String, Value> =
            part.iter().map(|name| (name.clone(), json!(1))).collect();
        socket
            .send(&json!({"t": "resume", "positions": positions, "more": i < 2}))
            .await;
    }

    socket.until_t("ready").await;
    for name in &names {
        assert_eq!(socket.seqs(name), [2], "{name}");
        assert_eq!(live_position(&socket, name), Some(2), "{name}");
    }

    for live in socket.frames.iter().filter(|frame| frame["t"] == "live") {
        assert!(live["positions"].as_object().unwrap().len() <= 200);
    }

    let many: serde_json::Map<String, Value> =
        (0..501).map(|i| (format!("c{i}"), json!(1))).collect();
    let answer = socket
        .request(json!({"t": "resume", "positions": many}))
        .await;
    assert_eq!(answer["problem"]["code"], "invalid");
}
