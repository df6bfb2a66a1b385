//! A node is paused while sends to its conversations are pipelined from sessions at other nodes:
//! links to it end, what was under way is sent again, and what one socket sends to one conversation
//! stays in order all the same.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::faults::places::{largest, names_at, rows, whole};
use crate::load::breakable::breakable;
use crate::support::Fields as _;
use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::socket::Socket;

const CONVERSATIONS: usize = 12;
/// Sends of one socket to one conversation that are under way at once, before the pause and within
/// it.
const BURST: usize = 8;
/// Longer than three missed heartbeats of a link, so that it ends, and about as long as the
/// takeover watch: shards may be taken over or not.
const PAUSE: Duration = Duration::from_millis(2_500);
/// A second one hits what a first one leaves behind.
const PAUSES: usize = 2;

/// One send, and what was answered.
struct Sent {
    conversation: String,
    text: String,
    reference: String,
    /// While the owner was paused.
    paused: bool,
    /// The seq, or the code of the refusal.
    answer: Option<Result<u64, String>>,
}

/// A socket and what it sent, in order.
struct Device {
    socket: Socket,
    user: String,
    sent: Vec<Sent>,
}

impl Device {
    async fn connect(server: &Server, user: &str) -> Self {
        Self {
            socket: Socket::ready(server, user).await,
            user: user.to_owned(),
            sent: Vec::new(),
        }
    }

    /// Sends a burst to each of the conversations without waiting for any answer, by turns.
    async fn pipeline(&mut self, conversations: &[String], paused: bool) {
        for _ in 0..BURST {
            for conversation in conversations {
                let text = format!("{}-{}", self.user, self.sent.len());
                let frame = json!({"t": "send", "conversation": conversation, "text": text, "client_id": text});
                let reference = self.socket.post(frame).await;
                let conversation = conversation.clone();
                self.sent.push(Sent {
                    conversation,
                    text,
                    reference,
                    paused,
                    answer: None,
                });
            }
        }
    }

    /// Reads until each send is answered.
    async fn settle(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.answer.is_none()) {
            let answer = self
                .socket
                .find("an answer", |frame| frame["ref"] == sent.reference.as_str())
                .await;
            sent.answer = Some(match answer.text("t") {
                "ok" => Ok(answer["result"].number("seq")),
                _ => Err(answer["problem"].text("code").to_owned()),
            });
        }
    }

    /// What it sent to this conversation is in the history in the order of sending, what was
    /// acknowledged once and where it was said to be, what was refused not at all.
    fn check(&self, conversation: &str, events: &[Value]) {
        let own: Vec<&Sent> = self
            .sent
            .iter()
            .filter(|sent| sent.conversation == conversation)
            .collect();
        let place = |event: &Value| {
            own.iter()
                .position(|sent| event["text"] == sent.text.as_str())
        };
        let found: Vec<(usize, u64)> = events
            .iter()
            .filter_map(|event| Some((place(event)?, event.number("seq"))))
            .collect();
        let ordered = found.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(
            ordered,
            "{} in {conversation}: places of what was sent, and seqs: {found:?}",
            self.user
        );

        for (place, sent) in own.iter().enumerate() {
            let seq = found
                .iter()
                .find(|(found, _)| *found == place)
                .map(|(_, seq)| *seq);
            match sent.answer.as_ref().unwrap() {
                Ok(told) => assert_eq!(seq, Some(*told), "{} was acknowledged", sent.text),
                Err(code) if code == "unavailable" => {
                    assert_eq!(seq, None, "{} was surely not written", sent.text)
                }
                Err(code) => assert!(
                    matches!(code.as_str(), "outcome_unknown" | "not_replicated"),
                    "{code}"
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn what_a_socket_pipelines_to_a_node_that_is_paused_stays_in_order_and_is_there_once() {
    let deployment = breakable().await;
    let (server, cluster) = (deployment.server(), deployment.cluster());
    whole(cluster).await;
    let rows = rows(server).await;
    let victim = largest(&rows);
    let others = ["node-1", "node-2", "node-3"]
        .into_iter()
        .filter(|node| *node != victim);
    let others: Vec<&str> = others
        .filter(|node| rows.iter().any(|row| row[0] == *node))
        .collect();
    assert!(!others.is_empty(), "{victim} owns everything");
    // Two sessions, none of them at the node that is paused.
    let users: Vec<String> = (0..2)
        .flat_map(|i| names_at(&rows, "ordered", others[i % others.len()], 1))
        .collect();
    let conversations = names_at(&rows, "order", &victim, CONVERSATIONS);
    let reader: Client = server.client(&users[0]);
    for name in &conversations {
        reader
            .post(
                "/v1/conversations",
                &json!({"name": name, "participants": users}),
            )
            .await
            .expect(201);
    }
    let mut devices = join_all(users.iter().map(|user| Device::connect(server, user))).await;

    for _ in 0..PAUSES {
        let before = join_all(
            devices
                .iter_mut()
                .map(|device| device.pipeline(&conversations, false)),
        );
        let pause = ["pause", victim.as_str()];
        tokio::join!(before, cluster.command(&pause));
        join_all(
            devices
                .iter_mut()
                .map(|device| device.pipeline(&conversations, true)),
        )
        .await;
        tokio::time::sleep(PAUSE).await;
        cluster.command(&["resume", &victim]).await;
        join_all(devices.iter_mut().map(Device::settle)).await;
        for name in &conversations {
            let events = reader.all_events(name).await;
            devices
                .iter()
                .for_each(|device| device.check(name, &events));
        }
    }

    let all: Vec<&Sent> = devices.iter().flat_map(|device| &device.sent).collect();
    let written = |paused: bool| {
        all.iter()
            .filter(|sent| sent.paused == paused && matches!(sent.answer, Some(Ok(_))))
            .count()
    };
    eprintln!(
        "{} sent; acknowledged: {} before a pause, {} of it",
        all.len(),
        written(false),
        written(true)
    );
    assert!(
        written(true) > 0,
        "nothing that was sent while its owner was paused was written: it shows nothing"
    );
    whole(cluster).await;
}
