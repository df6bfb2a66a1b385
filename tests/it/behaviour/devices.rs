//! Many devices of one user, many users on all nodes: each gets everything, once, in order.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::{Socket, devices, reading};
use crate::support::{Fields, Group};

// what must not happen: 19 — a second device neither replaces the first nor stops with it.
#[tokio::test]
async fn one_two_and_ten_devices_each_get_everything() {
    let server = shared();
    for count in [1, 2, 10] {
        let group = Group::create(&server, 1).await;
        let (alice, bob) = (&group.admin, &group.members[0]);
        let mut sockets = devices(&server, bob.user(), count).await;
        let mut own = devices(&server, alice.user(), 2).await;
        for i in 0..5 {
            alice.say(&group.name, &format!("m{i}")).await;
        }
        for socket in sockets.iter_mut().chain(&mut own) {
            socket.until_seq(&group.name, 6).await;
            assert_eq!(socket.seqs(&group.name), [2, 3, 4, 5, 6], "{count} devices");
        }
        // The first ones go, one politely and one without a word; the others stay.
        if count > 1 {
            sockets.remove(0).vanish();
        }
        if count > 2 {
            let mut polite = sockets.remove(0);
            polite
                .try_send_raw(tokio_tungstenite::tungstenite::Message::Close(None))
                .await;
            polite.closed().await;
        }
        alice.say(&group.name, "after").await;
        for socket in &mut sockets {
            socket.until_seq(&group.name, 7).await;
            assert_eq!(
                socket.seqs(&group.name),
                [2, 3, 4, 5, 6, 7],
                "{count} devices"
            );
        }
    }
}

#[tokio::test]
async fn a_device_sees_what_another_device_of_the_user_sent() {
    let server = shared();
    let group = Group::create(&server, 0).await;
    let mut sockets = devices(&server, group.admin.user(), 3).await;
    let frame = json!({"t": "send", "conversation": group.name, "text": "from the first"});
    let id = sockets[0].request(frame).await["result"]["id"].clone();
    for socket in &mut sockets {
        socket
            .find("the message", |frame| {
                frame["t"] == "message" && frame["id"] == id
            })
            .await;
    }
}

// what must not happen: 23 — more than one node, and it does not matter who is connected where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_all_nodes_reach_each_other() {
    let server = shared();
    // With this many users and conversations each of the nodes has some of both.
    let group = Group::create(&server, 24).await;
    let users: Vec<&str> = group.members.iter().map(|member| member.user()).collect();
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(group.admin.create(&users).await.text("name").to_owned());
    }

    let mut sockets = Vec::new();
    for user in &users {
        sockets.push(Socket::ready(&server, user).await);
    }

    for (i, member) in group.members.iter().enumerate() {
        member
            .say(&others[i % others.len()], &format!("from {i}"))
            .await;
    }

    for name in &others {
        let readers: Vec<_> = sockets
            .into_iter()
            .map(|socket| reading(socket, name, 4))
            .collect();
        sockets = join_all(readers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
    }

    for socket in &sockets {
        for name in &others {
            assert_eq!(socket.seqs(name), [2, 3, 4], "{name}");
        }
    }
}
