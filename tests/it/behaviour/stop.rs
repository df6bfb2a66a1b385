//! A server that is told to stop while its clients send.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::Server;
use crate::support::socket::{Next, Socket};
use crate::support::{DEADLINE, Fields, Group, eventually};

/// Sends without waiting for answers until the socket ends; what was answered, and all frames.
async fn send_until_closed(
    mut socket: Socket,
    conversation: String,
    who: usize,
) -> (Option<u16>, Vec<Value>) {
    let mut sent = 0_u64;
    let ended = async {
        loop {
            if sent < 5_000 {
                let frame = json!({
                    "t": "send", "ref": sent, "conversation": conversation, "text": format!("{who}-{sent}"),
                });
                socket.try_send_raw(Message::text(frame.to_string())).await;
                sent += 1;
            }
            // Never more than a few ahead of what was answered.
            loop {
                if let Next::Closed(code) = socket.next().await {
                    return code;
                }
                let answered = socket
                    .frames
                    .iter()
                    .filter(|frame| matches!(frame["t"].as_str(), Some("ok" | "error")))
                    .count();
                if answered as u64 + 8 > sent {
                    break;
                }
            }
        }
    };

    let code = tokio::time::timeout(DEADLINE, ended)
        .await
        .expect("the socket ends");
    (code, socket.frames)
}

// what must not happen: 8 — what was acknowledged over a socket until the very end is there after a
// restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_live_sends_loses_nothing_and_tells_every_socket() {
    // They send as fast as they are answered, which is not what is limited here.
    let mut server = Server::start_with(&["--frames-per-second-max", "10000"]);
    let group = Group::create(&server, 6).await;
    let mut senders = Vec::new();

    for (i, member) in group.members.iter().enumerate() {
        let socket = Socket::ready(&server, member.user()).await;
        senders.push(tokio::spawn(send_until_closed(
            socket,
            group.name.clone(),
            i,
        )));
    }

    eventually("sends flow", || async {
        (group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("last_seq")
            > 200)
            .then_some(())
    })
    .await;

    assert!(server.terminate().await.success());
    let ended = join_all(senders).await;
    server.restart();

    let events = server
        .client(group.admin.user())
        .all_events(&group.name)
        .await;
    for ended in ended {
        let (code, frames) = ended.unwrap();
        assert_eq!(code, Some(1012));
        assert!(
            frames.iter().any(|frame| frame["t"] == "reconnect"),
            "told to connect again"
        );
        let mut count = 0;
        for ok in frames.iter().filter(|frame| frame["t"] == "ok") {
            let at = usize::try_from(ok["result"].number("seq")).unwrap() - 1;
            assert_eq!(
                events[at]["id"], ok["result"]["id"],
                "acknowledged before the end"
            );
            count += 1;
        }
        assert!(count > 0, "it sent nothing");
        for error in frames.iter().filter(|frame| frame["t"] == "error") {
            let code = error["problem"].text("code");
            assert!(matches!(code, "unavailable" | "outcome_unknown"), "{error}");
        }
        // Live, too, was dense to the end.
        let seqs: Vec<u64> = frames
            .iter()
            .filter(|frame| frame["t"] == "message")
            .map(|f| f.number("seq"))
            .collect();
        assert!(
            seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{seqs:?}"
        );
    }
}
