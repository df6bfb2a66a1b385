//! Live order is the order of seq, for everyone, whoever sends.

use futures_util::future::join_all;

use crate::support::server::shared;
use crate::support::socket::{Socket, reading};
use crate::support::{Fields, Group};

// what must not happen: 22 — with many senders at once, frames come in the order of creation, to
// every receiver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_senders_at_once_are_seen_in_one_order() {
    let server = shared();
    let group = Group::create(&server, 16).await;
    let mut sockets = Vec::new();

    for client in group
        .members
        .iter()
        .take(4)
        .chain([&group.admin, &group.admin])
    {
        sockets.push(Socket::ready(&server, client.user()).await);
    }

    let readers: Vec<_> = sockets
        .into_iter()
        .map(|socket| reading(socket, &group.name, 641))
        .collect();
    let senders = group.members.iter().map(|member| {
        let (member, name) = (member.clone(), group.name.clone());
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for i in 0..40 {
                sent.push(member.say(&name, &format!("{} {i}", member.user())).await);
            }
            sent
        })
    });

    let sent: Vec<_> = join_all(senders)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for own in &sent {
        assert!(
            own.windows(2)
                .all(|pair| pair[0].number("seq") < pair[1].number("seq")),
            "a sender's own order"
        );
    }
    let history = group.admin.all_events(&group.name).await;
    assert_eq!(history.len(), 641);

    for reader in readers {
        let socket = reader.await.unwrap();
        let changes = socket.changes(&group.name);
        assert_eq!(socket.seqs(&group.name), (2..=641).collect::<Vec<u64>>());
        assert!(
            changes
                .windows(2)
                .all(|pair| pair[0].number("created") <= pair[1].number("created"))
        );
        assert!(
            changes
                .iter()
                .zip(&history[1..])
                .all(|(live, stored)| *live == stored),
            "live is what is stored"
        );
    }
}

// what must not happen: 22 — nor do sockets and requests of one conversation race past each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_one_socket_are_each_in_order() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    let mut names = vec![group.name.clone()];

    for _ in 0..5 {
        names.push(
            group
                .admin
                .create(&[bob.user()])
                .await
                .text("name")
                .to_owned(),
        );
    }

    let mut socket = Socket::ready(&server, bob.user()).await;
    join_all(names.iter().map(|name| async {
        for i in 0..30 {
            group.admin.say(name, &format!("m{i}")).await;
        }
    }))
    .await;

    for name in &names {
        socket.until_seq(name, 31).await;
        assert_eq!(socket.seqs(name), (2..=31).collect::<Vec<u64>>(), "{name}");
    }
}
