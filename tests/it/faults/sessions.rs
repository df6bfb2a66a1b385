//! The node that holds a session dies, hangs, or is asked to stop: its client keeps the socket, and
//! notices nothing else either.

use futures_util::future::join_all;
use serde_json::json;

use crate::load::breakable::{Breakable, breakable};
use crate::support::socket::Socket;
use crate::support::{Group, eventually};

/// Members of a conversation: enough that every node holds sessions of some.
const MEMBERS: usize = 12;

/// Writes until it is acknowledged, whatever is served right now. Its seq.
async fn said(group: &Group, text: &str) -> u64 {
    let key = crate::support::unique("key");
    eventually("a message is acknowledged", || async {
        let answer = group
            .admin
            .post_with_key(&group.path("/messages"), &json!({"text": text}), &key)
            .await;
        (answer.status == 201 || answer.status == 200)
            .then(|| answer.json()["seq"].as_u64())
            .flatten()
    })
    .await
}

/// Each socket gets everything up to this seq, once and in order, by no other way than it came so
/// far.
async fn all_get(sockets: &mut [Socket], group: &Group, seq: u64) {
    join_all(
        sockets
            .iter_mut()
            .map(|socket| socket.until_seq(&group.name, seq)),
    )
    .await;
    for socket in sockets {
        let seqs = socket.seqs(&group.name);
        let first = seqs.first().copied().unwrap_or_default();
        assert_eq!(
            seqs,
            (first..=seq).collect::<Vec<_>>(),
            "each once, in order"
        );
        let count = |t: &str| socket.frames.iter().filter(|frame| frame["t"] == t).count();
        let told = ["hello", "ready", "gap", "reconnect"].map(count);
        assert_eq!(
            told,
            [1, 1, 0, 0],
            "hello, ready, gap, reconnect: {:?}",
            socket.frames
        );
    }
}

/// Breaks each node in turn by the first command, and mends it by the second.
async fn go_on(deployment: &Breakable, breaks: &str, mends: &str) {
    let group = Group::create(deployment.server(), MEMBERS).await;
    let mut sockets = Vec::new();
    for member in &group.members {
        sockets.push(Socket::ready(deployment.server(), member.user()).await);
    }

    for node in ["node-1", "node-2", "node-3"] {
        let seq = said(&group, "before").await;
        all_get(&mut sockets, &group, seq).await;
        deployment.cluster().command(&[breaks, node]).await;
        let seq = said(&group, "meanwhile").await;
        all_get(&mut sockets, &group, seq).await;
        // What clients say goes on too, each answered once.
        for socket in &mut sockets {
            let send = json!({"t": "send", "conversation": group.name, "text": "x"});
            let answer = socket.request(send).await;
            assert!(
                answer["t"] == "ok" || answer["problem"]["code"] == "unavailable",
                "{answer}"
            );
        }
        deployment.cluster().command(&[mends, node]).await;
        let seq = said(&group, "after").await;
        all_get(&mut sockets, &group, seq).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_outlive_each_node_that_is_killed() {
    go_on(&breakable().await, "kill", "start").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_outlive_each_node_that_is_asked_to_stop() {
    go_on(&breakable().await, "stop", "start").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_outlive_each_node_that_hangs() {
    go_on(&breakable().await, "pause", "resume").await;
}
