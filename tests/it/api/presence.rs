//! Who is there: told to those who watch, of those who have done something.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::{Next, Socket};
use crate::support::{Fields, Group, now_s, unique};

/// A user is offline half a minute after their last session; with what a slow machine needs.
const GONE_WITHIN: Duration = Duration::from_secs(90);

fn watch(conversations: &[&str]) -> Value {
    json!({"t": "watch", "conversations": conversations})
}

/// The newest that a socket was told of a user.
fn known<'a>(socket: &'a Socket, user: &str) -> Option<&'a Value> {
    socket
        .frames
        .iter()
        .rfind(|frame| frame["t"] == "presence" && frame["user"] == user)
}

/// Reads on until the socket is told so of a user, who may take long to go.
async fn until_online(socket: &mut Socket, user: &str, online: bool) -> Value {
    let end = Instant::now() + GONE_WITHIN;
    while known(socket, user).is_none_or(|frame| frame["online"] != online) {
        assert!(
            Instant::now() < end,
            "{user} is not told of as online: {online}; {:?}",
            known(socket, user)
        );
        if let Some(Next::Closed(code)) = socket.next_within(Duration::from_secs(1)).await {
            panic!("closed with {code:?}");
        }
    }
    known(socket, user).cloned().unwrap()
}

/// Says it as soon as that may be said again, and until the server is not behind. The answer.
async fn said(socket: &mut Socket, frame: &Value) -> Value {
    loop {
        let answer = socket.request(frame.clone()).await;
        let code = &answer["problem"]["code"];
        if code != "rate_limited" && code != "lagging" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn watches(socket: &mut Socket, conversations: &[&str]) {
    let answer = said(socket, &watch(conversations)).await;
    assert_eq!(answer.text("t"), "ok", "{answer}");
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_watcher_is_told_of_each_who_has_acted_once_and_when_they_come_and_go() {
    let server = shared();
    let group = Group::create(&server, 4).await;
    let [bob, carol, dave, silent] =
        [0, 1, 2, 3].map(|index| group.members[index].user().to_owned());
    let question = group.admin.say(&group.name, "who is there?").await;
    group.members[0].say(&group.name, "me").await;
    let path = |what: &str| format!("/v1/messages/{}/{what}", question.text("id"));
    group.members[1]
        .post_nothing(&path("read"))
        .await
        .expect(204);
    group.members[2]
        .put(&path("reaction"), &json!({"reaction": 128_077}))
        .await
        .expect(204);
    let bobs = Socket::ready(&server, &bob).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;

    watches(&mut alice, &[&group.name]).await;
    until_online(&mut alice, &bob, true).await;
    for user in [&carol, &dave] {
        let frame = until_online(&mut alice, user, false).await;
        assert_eq!(frame["last_seen"], Value::Null, "never seen: {frame}");
    }
    let carols = Socket::ready(&server, &carol).await;
    let frame = until_online(&mut alice, &carol, true).await;
    assert_eq!(frame["last_seen"], Value::Null, "{frame}");
    let told = |user: &str| {
        alice
            .frames
            .iter()
            .filter(|f| f["t"] == "presence" && f["user"] == user)
            .count()
    };
    assert_eq!(
        [told(&bob), told(&carol), told(&dave), told(&silent)],
        [1, 2, 1, 0]
    );
    assert_eq!(told(group.admin.user()), 0, "not of oneself");

    // A reconnect within half a minute is not noticed; going for good is, with the minute of it.
    bobs.vanish();
    let again = Socket::ready(&server, &bob).await;
    let before = now_s();
    carols.vanish();
    let frame = until_online(&mut alice, &carol, false).await;
    let seen = frame.number("last_seen");
    let minute = before - before % 60;
    assert!(
        seen % 60_000 == 0 && minute <= seen / 1_000 && seen / 1_000 <= now_s(),
        "{frame}; gone after {before}"
    );
    let flickers = alice
        .frames
        .iter()
        .filter(|f| f["user"] == bob.as_str() && f["online"] == false)
        .count();
    assert_eq!(flickers, 0, "bob was never away");

    // The same over REST, with the caller; and one who has acted since is seen.
    group.members[3].say(&group.name, "me too").await;
    until_online(&mut alice, &silent, false).await;
    let page = group.admin.get(&group.path("/presence")).await.expect(200);
    let mut items: Vec<_> = page
        .list("items")
        .iter()
        .map(|item| (item.text("user"), &item["online"]))
        .collect();
    items.sort_by_key(|(user, _)| (*user).to_owned());
    let mut expected = [
        (group.admin.user(), true),
        (&bob, true),
        (&carol, false),
        (&dave, false),
        (&silent, false),
    ]
    .to_vec();
    expected.sort_by_key(|(user, _)| (*user).to_owned());
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(user, online)| (user, Value::from(online)))
        .collect();
    assert_eq!(
        items,
        expected
            .iter()
            .map(|(user, online)| (*user, online))
            .collect::<Vec<_>>()
    );
    let of_carol = page
        .list("items")
        .iter()
        .find(|item| item["user"] == carol.as_str())
        .cloned();
    assert_eq!(of_carol.unwrap()["last_seen"], seen);
    again.vanish();
}

#[tokio::test]
async fn a_watch_takes_the_place_of_the_last_one_and_an_empty_one_ends_it() {
    let server = shared();
    let (one, other) = (
        Group::create(&server, 1).await,
        Group::create(&server, 1).await,
    );
    let reader = one.members[0].user().to_owned();
    other.admin.add(&other.name, &[&reader]).await.expect(200);
    for group in [&one, &other] {
        group.admin.say(&group.name, "here").await;
    }

    let mut socket = Socket::ready(&server, &reader).await;
    watches(&mut socket, &[&one.name, &other.name]).await;
    for group in [&one, &other] {
        until_online(&mut socket, group.admin.user(), false).await;
    }

    watches(&mut socket, &[&other.name]).await;
    let first = Socket::ready(&server, one.admin.user()).await;
    let second = Socket::ready(&server, other.admin.user()).await;
    until_online(&mut socket, other.admin.user(), true).await;
    watches(&mut socket, &[]).await;

    assert_eq!(
        known(&socket, one.admin.user()).unwrap()["online"],
        false,
        "it is not watched any more"
    );
    drop((first, second));
}

#[tokio::test]
async fn one_name_that_is_refused_refuses_the_whole_watch_and_the_last_one_stays() {
    let server = shared();
    let (group, foreign) = (
        Group::create(&server, 1).await,
        Group::create(&server, 1).await,
    );
    group.members[0].say(&group.name, "here").await;

    let bob = group.members[0].user().to_owned();
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    watches(&mut alice, &[&group.name]).await;
    until_online(&mut alice, &bob, false).await;

    let twenty_one: Vec<String> = (0..21).map(|_| unique("c")).collect();
    let twenty_one: Vec<&str> = twenty_one.iter().map(String::as_str).collect();

    for (frame, code) in [
        (watch(&[&group.name, &foreign.name]), "not_participant"),
        (watch(&["absent"]), "not_participant"),
        (watch(&twenty_one), "invalid"),
        (watch(&["a b"]), "invalid_name"),
        (json!({"t": "watch"}), "invalid"),
        (
            json!({"t": "watch", "conversations": group.name}),
            "invalid",
        ),
    ] {
        let told = said(&mut alice, &frame).await;
        assert_eq!(
            (told.text("t"), told["problem"].text("code")),
            ("error", code),
            "{frame}"
        );
    }

    let codes = [
        alice.request(watch(&[&group.name])).await,
        alice.request(watch(&[&group.name])).await,
    ];

    assert!(
        codes
            .iter()
            .any(|answer| answer["problem"]["code"] == "rate_limited"),
        "one a second: {codes:?}"
    );

    let socket = Socket::ready(&server, &bob).await;
    until_online(&mut alice, &bob, true).await;
    drop(socket);
}

#[tokio::test]
async fn who_leaves_sees_nobody_and_who_was_never_in_neither() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (bob, carol) = (
        group.members[0].user().to_owned(),
        group.members[1].user().to_owned(),
    );
    group.members[1].say(&group.name, "here").await;

    let mut bobs = Socket::ready(&server, &bob).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    for socket in [&mut bobs, &mut alice] {
        watches(socket, &[&group.name]).await;
        until_online(socket, &carol, false).await;
    }

    group.members[0]
        .delete(&group.path(&format!("/participants/{bob}")))
        .await
        .expect(204);
    bobs.until("one's own left", |frame| frame["kind"] == "left")
        .await;
    let carols = Socket::ready(&server, &carol).await;

    until_online(&mut alice, &carol, true).await;
    bobs.request(json!({"t": "ping"})).await;
    assert_eq!(
        known(&bobs, &carol).unwrap()["online"],
        false,
        "bob is told nothing more"
    );

    let path = group.path("/presence");
    group.members[0]
        .get(&path)
        .await
        .refused(403, "not_participant");
    server
        .client(&unique("mallory"))
        .get(&path)
        .await
        .refused(403, "not_participant");
    group
        .admin
        .get(&format!("{path}?limit=1"))
        .await
        .refused(400, "invalid");
    drop(carols);
}

#[tokio::test]
async fn nobody_is_seen_in_a_conversation_of_more_than_250() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let many: Vec<String> = (0..249).map(|_| unique("one")).collect();
    group
        .admin
        .add(
            &group.name,
            &many.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await
        .expect(200);
    let mut alice = Socket::ready(&server, group.admin.user()).await;

    let refused = alice.request(watch(&[&group.name])).await;
    assert_eq!(refused["problem"].text("code"), "too_many_participants");

    group
        .admin
        .get(&group.path("/presence"))
        .await
        .refused(409, "too_many_participants");
}
