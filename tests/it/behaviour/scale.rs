//! One user in thousands of conversations, one conversation of thousands of users.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::socket::{Next, Socket, reading};
use crate::support::{DEADLINE, Fields, Group, unique};

/// Conversations of one user.
const CONVERSATIONS: usize = 5_000;
/// The most participants of a conversation.
const MEMBERS: usize = 10_000;
/// Those of them that are online.
const ONLINE: usize = 48;

/// Creates conversations of `zoe`, by `creators` in turn, and returns their names.
async fn conversations_of(server: &Server, zoe: &str, count: usize) -> Vec<(Client, String)> {
    let creators: Vec<Client> = (0..40).map(|_| server.client(&unique("creator"))).collect();
    let made = stream::iter(0..count).map(|i| {
        let creator = creators[i % creators.len()].clone();
        async move {
            let name = creator.create(&[zoe]).await.text("name").to_owned();
            (creator, name)
        }
    });
    made.buffer_unordered(64).collect().await
}

/// Every name in the user's list, over all pages.
async fn listed(client: &Client) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();

    loop {
        let page = client
            .get(&format!("/v1/conversations?limit=200{cursor}"))
            .await
            .expect(200);
        assert!(
            page.get("partial").is_none_or(|partial| partial == false),
            "{page}"
        );
        names.extend(
            page.list("items")
                .iter()
                .map(|item| item.text("name").to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            return names;
        };
        cursor = format!("&after={next}");
    }
}

/// How many frames with these names and this text a socket has.
fn texts(socket: &Socket, text: &str) -> usize {
    socket
        .frames
        .iter()
        .filter(|frame| frame["t"] == "message" && frame["text"] == text)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_in_five_thousand_conversations_connects_reads_and_resumes() {
    let mut server = Server::start();
    let zoe = unique("zoe");
    let begun = Instant::now();
    let all = conversations_of(&server, &zoe, CONVERSATIONS).await;
    eprintln!("created {CONVERSATIONS} in {:?}", begun.elapsed());

    // Twice: with the heads in memory, and after a restart with none of them.
    for round in ["warm", "cold"] {
        if round == "cold" {
            assert!(server.terminate().await.success());
            server.restart();
        }
        let begun = Instant::now();
        let mut socket = Socket::ready(&server, &zoe).await;
        eprintln!("{round}: ready after {:?}", begun.elapsed());
        let sent: Vec<usize> = (0..CONVERSATIONS).step_by(50).collect();
        let say = |i: usize| {
            let (creator, name) = &all[i];
            let creator = server.client(creator.user());
            async move { creator.say(name, round).await }
        };
        join_all(sent.iter().map(|&i| say(i))).await;
        while texts(&socket, round) < sent.len() {
            assert!(matches!(socket.next().await, Next::Frame(_)), "closed");
        }
        drop(socket);
        let begun = Instant::now();
        let names = listed(&server.client(&zoe)).await;
        eprintln!("{round}: listed after {:?}", begun.elapsed());
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(
            (names.len(), distinct.len()),
            (CONVERSATIONS, CONVERSATIONS)
        );
        resumes(&server, &zoe, &all, round).await;
    }
}

/// Misses one message in some of the conversations, and resumes with a position in each of them.
async fn resumes(server: &Server, zoe: &str, all: &[(Client, String)], round: &str) {
    let begun = Instant::now();
    let zoe_client = server.client(zoe);
    let missed = format!("missed {round}");
    let quiet = all[1].1.clone();
    let before = zoe_client
        .get(&format!("/v1/conversations/{quiet}"))
        .await
        .expect(200)
        .number("last_seq");
    for i in (0..all.len()).step_by(100) {
        server.client(all[i].0.user()).say(&all[i].1, &missed).await;
    }
    let mut socket = Socket::open_at(server, zoe, "/v1/ws?resume=wait").await;
    let mut positions: Vec<(String, u64)> = Vec::new();

    for (i, (_, name)) in all.iter().enumerate() {
        // Created at 1; each round wrote once into every fiftieth and misses one in every
        // hundredth.
        let rounds = if round == "cold" { 2 } else { 1 };
        let said = if i % 50 == 0 { rounds } else { 0 };
        let missed_before = if i % 100 == 0 { rounds - 1 } else { 0 };
        positions.push((name.clone(), 1 + said + missed_before));
    }

    assert_eq!(positions[1].1, before);
    let frames = positions.len().div_ceil(500);
    for (i, part) in positions.chunks(500).enumerate() {
        let part: serde_json::Map<String, Value> = part
            .iter()
            .map(|(name, seq)| (name.clone(), json!(seq)))
            .collect();
        socket
            .send(&json!({"t": "resume", "positions": part, "more": i + 1 < frames}))
            .await;
    }

    socket.until_t("ready").await;
    eprintln!("{round}: resumed after {:?}", begun.elapsed());
    assert_eq!(texts(&socket, &missed), all.len() / 100);
    assert!(
        !socket.frames.iter().any(|frame| frame["t"] == "gap"),
        "{:?}",
        socket.frames.last()
    );

    let live: usize = socket
        .frames
        .iter()
        .filter(|f| f["t"] == "live")
        .map(|f| f["positions"].as_object().unwrap().len())
        .sum();
    assert_eq!(live, all.len(), "every conversation named is told live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn ten_thousand_members_of_one_conversation() {
    let server = Server::start();
    let group = Group::create(&server, 0).await;
    let (name, admin) = (group.name.clone(), &group.admin);
    let members: Vec<String> = (0..MEMBERS - 1).map(|i| format!("member-{i:05}")).collect();
    let online: Vec<&String> = members
        .iter()
        .step_by(MEMBERS / ONLINE)
        .take(ONLINE)
        .collect();
    // Some are connected before they are added: they hear of it by their own `joined`.
    let mut sockets = Vec::new();

    for user in &online[..ONLINE / 2] {
        sockets.push(Socket::ready(&server, user).await);
    }

    let begun = Instant::now();
    for batch in members.chunks(1_000) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        admin.add(&name, &batch).await.expect(200);
    }

    eprintln!("added {MEMBERS} in {:?}", begun.elapsed());
    admin
        .add(&name, &["one-too-many"])
        .await
        .refused(400, "invalid");
    for user in &online[ONLINE / 2..] {
        sockets.push(Socket::ready(&server, user).await);
    }

    let first = 1 + MEMBERS.div_ceil(1_000) as u64 + 1;
    let count = 100;
    let last = first + count - 1;
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|socket| reading(socket, &name, last))
        .collect();
    let mut slowest = Duration::ZERO;

    for i in 0..count {
        let begun = Instant::now();
        let sent = admin.say(&name, &format!("m{i}")).await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(sent.number("seq"), first + i);
    }
    eprintln!("slowest of {count} sends: {slowest:?}");

    // Not a measurement: with work for each member in the way of a send, it would be far beyond
    // this.
    assert!(slowest < DEADLINE / 10, "a send took {slowest:?}");

    let mut sockets: Vec<Socket> = join_all(readers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for (i, (socket, user)) in sockets.iter().zip(&online).enumerate() {
        let seqs = socket.seqs(&name);
        let from = *seqs.first().unwrap();
        // Who was connected before they were added starts with their own `joined`.
        if i < ONLINE / 2 {
            let joined = socket.changes(&name)[0];
            assert!(
                joined["users"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|u| u == user.as_str()),
                "{user}: {}",
                joined["kind"]
            );
        } else {
            assert_eq!(from, first, "{user}");
        }
        assert_eq!(seqs, (from..=last).collect::<Vec<u64>>(), "{user}");
    }
    let sent = admin.history(&name, "limit=1").await.list("items")[0].clone();
    removing(admin, &name, &online, &mut sockets, last).await;

    // Too many for delivered marks by themselves; a mark that was made later, in a small
    // conversation, is there.
    let small = admin.create(&[online[1].as_str()]).await;
    let control = admin.say(small.text("name"), "marked").await;
    let end = Instant::now() + DEADLINE;

    while admin
        .receipt_of(&control, online[1])
        .await
        .is_none_or(|receipt| receipt["delivered"] == false)
    {
        assert!(Instant::now() < end, "no mark in the small conversation");
        sockets[1].request(json!({"t": "ping"})).await;
    }

    let receipt = admin.receipt_of(&sent, online[1]).await.expect("a receipt");
    assert_eq!(receipt["delivered"], false, "marks over 1,000 members");
}

/// Removes one who is online and reads the whole list of the others.
async fn removing(
    admin: &Client,
    name: &str,
    online: &[&String],
    sockets: &mut [Socket],
    last: u64,
) {
    admin.remove(name, online[0]).await.expect(204);
    admin.say(name, "after").await;

    let left = sockets[0]
        .until("one's own left", |frame| frame["kind"] == "left")
        .await;
    assert_eq!(
        (left.text("user"), left.number("seq")),
        (online[0].as_str(), last + 1)
    );

    sockets[1].until_seq(name, last + 2).await;
    // Whatever came would have come before this answer.
    sockets[0].request(json!({"t": "ping"})).await;

    assert_eq!(
        sockets[0].seqs(name).last(),
        Some(&(last + 1)),
        "nothing after one's own left"
    );

    let answer = sockets[0]
        .request(json!({"t": "send", "conversation": name, "text": "still here?"}))
        .await;
    assert_eq!(answer["problem"]["code"], "not_participant");
    let mut after = String::new();
    let mut seen = 0;

    loop {
        let page = admin
            .get(&format!(
                "/v1/conversations/{name}/participants?limit=1000{after}"
            ))
            .await
            .expect(200);
        seen += page.list("items").len();
        assert!(
            page.list("items")
                .iter()
                .all(|item| item.text("name") != online[0].as_str())
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }

    assert_eq!(seen, MEMBERS - 1);
}
