//! A node loses its way to Redis while routers, its peers and its clients still reach it.

use serde_json::{Value, json};

use crate::BACKEND;
use crate::faults::places::{names_at, operations, rows, rows_of, whole};
use crate::faults::wires::Wires;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::socket::{Next, Socket};
use crate::support::{DEADLINE, Fields as _, eventually};

/// The node whose way to Redis is cut.
const NODE: &str = "node-1";
/// Another one, whose way is not.
const OTHER: &str = "node-2";
/// Sessions at the node that is cut off.
const SESSIONS: usize = 6;

/// What the node tells of itself: whether it is ready, whether it is cut off, its sessions.
async fn told_by(cluster: &Cluster) -> Option<(bool, Value, u64)> {
    let ready = operations(cluster, NODE, "/readyz").await?.status == 200;
    let told = operations(cluster, NODE, "/cluster").await?.json();
    let own = &told["nodes"][NODE];
    Some((ready, own["cut_off"].clone(), own.number("sessions")))
}

/// Opens a socket and waits until it is ready, again and again until one is.
async fn connected(server: &Server, user: &str) -> Socket {
    eventually(&format!("{user} is served"), || async {
        let mut socket = Socket::attempt(server.address(), user, "/v1/ws")
            .await
            .ok()?;
        loop {
            match socket.next_within(DEADLINE).await? {
                Next::Frame(frame) if frame["t"] == "ready" => return Some(socket),
                Next::Frame(_) => {}
                Next::Closed(_) => return None,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_redis_that_others_reach_hands_its_sessions_on_gets_none_and_takes_some_when_it_is_back()
 {
    let server = Server::Many(Cluster::prepared(BACKEND, &[]));
    let cluster = server.cluster();
    let wires = Wires::of(cluster, NODE).await;
    cluster
        .command(&["start", "redis", "nodes", "routers"])
        .await;
    whole(cluster).await;
    let users = names_at(&rows(&server).await, "cut", NODE, SESSIONS);
    let mut sockets = Vec::new();
    for user in &users {
        sockets.push(Socket::ready(&server, user).await);
    }
    assert_eq!(
        told_by(cluster).await,
        Some((true, Value::Bool(false), SESSIONS as u64))
    );

    wires.hold();
    eventually(
        "it can neither read the table nor renew anything, and all its sessions are gone",
        || async {
            let (ready, cut_off, sessions) = told_by(cluster).await?;
            (!ready && cut_off == true && sessions == 0).then_some(())
        },
    )
    .await;

    // They go on elsewhere, over the sockets that they had; new ones are taken elsewhere too.
    let late = connected(&server, &users[0]).await;
    assert_eq!(told_by(cluster).await, Some((false, Value::Bool(true), 0)));
    let others: Vec<&str> = users.iter().map(String::as_str).collect();
    let name = server
        .client(&users[0])
        .create(&others)
        .await
        .text("name")
        .to_owned();
    let sent = server.client(&users[0]).say(&name, "elsewhere").await;
    for socket in sockets.iter_mut().chain([&mut { late }]) {
        socket.until_seq(&name, sent.number("seq")).await;
        let told = |t: &str| socket.frames.iter().filter(|frame| frame["t"] == t).count();
        assert_eq!(
            (told("hello"), told("reconnect")),
            (1, 0),
            "{:?}",
            socket.frames
        );
    }

    drop(sockets);

    wires.pass();
    eventually("it is back", || async {
        let (ready, cut_off, _) = told_by(cluster).await?;
        (ready && cut_off == false).then_some(())
    })
    .await;
    takes_sessions_again(&server, cluster).await;
}

// Interleavings 1 and 5 of docs/adr/0015-a-node-cut-off-from-the-log.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_shards_of_a_node_that_redis_hears_and_that_hears_nothing_are_taken_over_while_that_lasts()
 {
    let server = Server::Many(Cluster::prepared(BACKEND, &[]));
    let cluster = server.cluster();
    let wires = Wires::of(cluster, NODE).await;
    cluster
        .command(&["start", "redis", "nodes", "routers"])
        .await;
    whole(cluster).await;
    let user = names_at(&rows(&server).await, "unheard", NODE, 1).remove(0);
    let name = server
        .client(&user)
        .create(&["bob"])
        .await
        .text("name")
        .to_owned();

    wires.deafen();
    // Its batch is in doubt, and is there to be sent again and again to a Redis that would do what
    // it says each time.
    let path = format!("/v1/conversations/{name}/messages");
    let unheard = server
        .client(&user)
        .post(&path, &json!({"text": "unheard"}))
        .await
        .status;
    // 200: whoever took the shard found that it stands in the log.
    assert!([200, 201, 503].contains(&unheard), "{unheard}");
    eventually("others own all that it had", || async {
        let rows = rows_of(&operations(cluster, OTHER, "/cluster").await?.json());
        (!rows.is_empty() && rows.iter().all(|row| row[0] != NODE)).then_some(())
    })
    .await;
    server.client(&user).say(&name, "heard").await;

    wires.pass();
    eventually("it is back", || async {
        let (ready, cut_off, _) = told_by(cluster).await?;
        (ready && cut_off == false).then_some(())
    })
    .await;
    whole(cluster).await;
}

/// Nothing gives a node its shards back, and sessions are where their users' shards are: another
/// one dies, whose shards it stands by for.
async fn takes_sessions_again(server: &Server, cluster: &Cluster) {
    whole(cluster).await;
    let rows_now = rows(server).await;
    let owner = rows_now
        .iter()
        .find(|row| row[0] != NODE && row[1..].contains(&NODE.to_owned()));
    let owner =
        owner.unwrap_or_else(|| panic!("{NODE} stands by for nothing: {rows_now:?}"))[0].clone();
    cluster.command(&["kill", &owner]).await;
    let rows_after = eventually(&format!("{NODE} takes shards of {owner}"), || async {
        let rows = rows_of(&operations(cluster, NODE, "/cluster").await?.json());
        rows.iter().any(|row| row[0] == NODE).then_some(rows)
    })
    .await;

    let user = names_at(&rows_after, "back", NODE, 1).remove(0);
    let _socket = connected(server, &user).await;
    eventually("it has that session and no other", || async {
        (told_by(cluster).await == Some((true, Value::Bool(false), 1))).then_some(())
    })
    .await;
}
