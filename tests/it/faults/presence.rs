//! Who is there while nodes die and shards change hands: nobody who comes back in time was ever
//! away.

use std::time::{Duration, Instant};

use serde_json::json;

use super::handing::{NODES, in_sync, printed};
use crate::load::breakable::{Breakable, breakable};
use crate::support::socket::{Next, Socket};
use crate::support::{Fields as _, Group, eventually};

/// Enough that every node holds sessions of some, and owns the shards of some.
const MEMBERS: usize = 12;

/// Half a minute without a session, a takeover, and what a slow machine needs.
const GONE_WITHIN: Duration = Duration::from_secs(150);

/// Reads a socket in the background, as its client does, until that is dropped.
fn reads(mut socket: Socket) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(Next::Frame(_)) = socket.next_within(GONE_WITHIN * 2).await {}
    })
}

/// Users that the socket was told of as online, or not, by its last frame of each.
fn told(socket: &Socket, online: bool) -> Vec<String> {
    let mut newest = std::collections::BTreeMap::new();
    for frame in socket
        .frames
        .iter()
        .filter(|frame| frame["t"] == "presence")
    {
        newest.insert(
            frame["user"].as_str().unwrap().to_owned(),
            frame["online"] == true,
        );
    }

    newest
        .into_iter()
        .filter(|(_, is)| *is == online)
        .map(|(user, _)| user)
        .collect()
}

async fn until(socket: &mut Socket, what: &str, fits: impl Fn(&Socket) -> bool) {
    let end = Instant::now() + GONE_WITHIN;
    while !fits(socket) {
        assert!(
            Instant::now() < end,
            "not in time: {what}; online {:?}",
            told(socket, true)
        );
        if let Some(Next::Closed(code)) = socket.next_within(Duration::from_secs(1)).await {
            panic!("closed with {code:?} while waiting for {what}");
        }
    }
}

/// A group whose members are all there, each with a socket, and the socket of one who watches them.
async fn all_there(deployment: &Breakable) -> (Group, Vec<Socket>, Socket) {
    let group = Group::create(deployment.server(), MEMBERS).await;
    let mut sockets = Vec::new();
    for member in &group.members {
        let read = eventually("a message is acknowledged", || async {
            let answer = member
                .post(&group.path("/messages"), &json!({"text": "here"}))
                .await;
            (answer.status == 201).then_some(())
        });
        read.await;
        sockets.push(Socket::ready(deployment.server(), member.user()).await);
    }

    let mut watcher = Socket::ready(deployment.server(), group.admin.user()).await;
    let ok = watcher
        .request(json!({"t": "watch", "conversations": [group.name]}))
        .await;
    assert_eq!(ok["t"], "ok", "{ok}");
    until(&mut watcher, "all are online", |socket| {
        told(socket, true).len() == MEMBERS
    })
    .await;
    (group, sockets, watcher)
}

/// Everybody but this one was told of as online alone.
fn only_this_one_went(watcher: &Socket, leaver: &str) {
    let offline = |frame: &&serde_json::Value| frame["t"] == "presence" && frame["online"] == false;
    let users: Vec<_> = watcher
        .frames
        .iter()
        .filter(offline)
        .map(|frame| &frame["user"])
        .collect();
    assert!(
        users.iter().all(|user| *user == leaver),
        "nobody else was away: {users:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_dies_and_nobody_flickers_and_who_went_with_it_is_told_of_once() {
    let deployment = breakable().await;
    // What a test before this one broke is whole again: the shards of the node that dies are taken
    // at once.
    in_sync(deployment.cluster(), &NODES).await;
    let written = || async {
        deployment
            .server()
            .metric("rookery_shard_seen_written_total")
            .await
    };
    // Tests before this one have written too.
    let before = written().await;
    let (group, mut sockets, mut watcher) = all_there(&deployment).await;

    let rows = f64::from(2 * (u32::try_from(MEMBERS).unwrap() + 1));
    eventually("it is written down, twice, that they were seen", || async {
        (written().await >= before + rows).then_some(())
    })
    .await;

    let leaver = group.members[0].user();
    deployment.cluster().command(&["kill", "node-1"]).await;
    sockets.remove(0).vanish();
    let gone = Instant::now();
    let clients: Vec<_> = sockets.into_iter().map(reads).collect();
    until(&mut watcher, "one is offline", |socket| {
        told(socket, false) == [leaver]
    })
    .await;
    assert!(
        gone.elapsed() >= Duration::from_secs(25),
        "not before those who live had time to come back"
    );
    // Whoever is to be offline with that node would be by now.
    watcher.next_within(Duration::from_secs(10)).await;
    only_this_one_went(&watcher, leaver);

    // The watch goes on where the session does.
    deployment.cluster().command(&["start", "node-1"]).await;
    let back = Socket::ready(deployment.server(), leaver).await;
    until(&mut watcher, "they are back", |socket| {
        told(socket, true).len() == MEMBERS
    })
    .await;
    drop(back);
    clients.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_changes_hands_and_nobody_flickers_and_the_watch_goes_on() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    in_sync(cluster, &NODES).await;
    let (group, mut sockets, mut watcher) = all_there(&deployment).await;
    let leaver = group.members[0].user();
    let leaves = sockets.remove(0);
    let clients: Vec<_> = sockets.into_iter().map(reads).collect();

    let output = cluster.ask(&["--json", "shards"]);
    let shards: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (number, row) in shards.as_array().expect("rows").iter().enumerate() {
        let to = row["standby"][0].as_str().expect("a standby");
        let moved = printed(
            &cluster.ask_while(&["move", &number.to_string(), to]).await,
            0,
        );
        assert_eq!(moved, format!("{to} owns shard s{number}\n"));
    }

    leaves.vanish();
    let gone = Instant::now();
    until(&mut watcher, "one is offline", |socket| {
        told(socket, false) == [leaver]
    })
    .await;
    assert!(
        gone.elapsed() >= Duration::from_secs(25),
        "not before they had time to come back"
    );
    // Whoever did not subscribe at the new owners would be offline by now.
    watcher.next_within(Duration::from_secs(10)).await;
    only_this_one_went(&watcher, leaver);
    let back = Socket::ready(deployment.server(), leaver).await;
    until(&mut watcher, "they are back", |socket| {
        told(socket, true).len() == MEMBERS
    })
    .await;

    let seen = group.admin.get(&group.path("/presence")).await.expect(200);
    assert!(
        seen.list("items").iter().all(|item| item["online"] == true),
        "{seen}"
    );
    drop(back);
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    in_sync(cluster, &NODES).await;
}
