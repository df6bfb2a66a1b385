//! Sessions that lose their node, over real sockets: two nodes of the same owners, and a router
//! that has one go on with what the other had (ADR 7).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::handshake;
use super::tests::{Client, Fake, Node, config};
use super::{Homeless, Moved, Rehouses, Sockets, Unopened};
use crate::ids::{Epoch, NodeId};
use crate::link::front::client::NodeLink;
use crate::problem::Code;
use crate::shard::command::{Command, Push};

/// Takes sessions to one node, as often as it is asked to.
#[derive(Debug)]
struct To {
    sockets: Arc<Sockets>,
    link: Mutex<Option<NodeLink>>,
    asked: AtomicUsize,
    /// While all of it is taken, nobody is taken anywhere.
    gate: Semaphore,
}

const ALL: u32 = 100;

impl Rehouses for To {
    fn rehouse(
        &self,
        homeless: Homeless,
        _lost: NodeId,
        _deadline: tokio::time::Instant,
    ) -> BoxFuture<'_, Moved> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.acquire().await;
            let Some((who, attach)) = homeless.leaves() else {
                return Moved::Done;
            };
            let link = self.link.lock().expect("lock").clone();
            let Some(link) = link else {
                return Moved::Nowhere;
            };
            match self
                .sockets
                .attach(&link, handshake::goes_on(&who, attach), &homeless)
                .await
            {
                Ok(()) => Moved::Done,
                Err(Unopened::Refused(problem)) if problem.code == Code::Unauthorized => {
                    Moved::Refused
                }
                Err(_) => Moved::Nowhere,
            }
        })
    }
}

struct Pair {
    one: Node,
    other: Node,
    to: Arc<To>,
}

impl Pair {
    /// Two nodes; clients connect to the first, and the second goes on with what that loses.
    async fn start(events: u64) -> Self {
        let one = Node::start(config(), events).await;
        let (fake, sockets) = (Arc::clone(&one.fake), Arc::clone(&one.sockets));
        let other = Node::of(config(), "other", fake, Arc::clone(&sockets)).await;
        let link = Mutex::new(Some(other.link.clone()));
        let to = Arc::new(To {
            sockets: Arc::clone(&sockets),
            link,
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(ALL as usize),
        });
        let rehouses: Weak<To> = Arc::downgrade(&to);
        sockets.rehoused_by(rehouses);
        Self { one, other, to }
    }

    fn fake(&self) -> &Fake {
        &self.one.fake
    }

    /// Commits one message, and pushes it to both nodes.
    async fn say(&self, text: &str) {
        let event = self.fake().commit(text);
        for node in [&self.one, &self.other] {
            let event = Arc::clone(&event);
            // A node that has drained follows no more.
            node.pushes
                .send(Push::Event {
                    epoch: Epoch(1),
                    event,
                })
                .await
                .ok();
        }
    }

    /// The first node is gone, with all that is under way.
    async fn lose_one(&self) {
        self.one.front.shutdown().await;
    }
}

/// The seqs of the messages that come up to this one; nothing else comes.
async fn seqs(client: &mut Client, last: u64) -> Vec<u64> {
    let mut all = Vec::new();
    while all.last().is_none_or(|seq| *seq < last) {
        let frame = client.expect("message").await;
        all.push(frame["seq"].as_u64().expect("a number"));
    }
    all
}

/// Nothing came before the answer to this.
async fn is_quiet(client: &mut Client) {
    client.send(json!({"t": "ping", "ref": "quiet"})).await;
    let frame = client.next().await;
    assert_eq!(
        (&frame["t"], &frame["ref"]),
        (&json!("pong"), &json!("quiet")),
        "{frame}"
    );
}

#[tokio::test]
async fn a_socket_outlives_the_node_of_its_session_and_sees_each_message_once() {
    let pair = Pair::start(3).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    pair.say("before").await;
    assert_eq!(seqs(&mut bob, 4).await, [4]);
    pair.lose_one().await;
    // Committed while nobody has the session, and pushed to nobody.
    pair.fake().commit("meanwhile");
    pair.other
        .until("the other node has the session", |node| {
            node.hub.sessions() == 1
        })
        .await;
    pair.say("after").await;
    assert_eq!(
        seqs(&mut bob, 6).await,
        [5, 6],
        "no hello, no ready, no gap"
    );
    is_quiet(&mut bob).await;
}

#[tokio::test]
async fn a_node_that_drains_hands_its_sessions_on() {
    let pair = Pair::start(1).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "carol"] {
        clients.push(pair.one.connect("/v1/ws", user).await.when_ready().await);
    }
    let hub = Arc::clone(&pair.one.hub);
    let drained =
        tokio::spawn(async move { hub.drain(Duration::from_millis(100), "node drains").await });
    drained.await.expect("no panic");
    pair.other
        .until("the other node has all sessions", |node| {
            node.hub.sessions() == 3
        })
        .await;
    pair.say("after").await;
    for client in &mut clients {
        assert_eq!(seqs(client, 2).await, [2]);
        is_quiet(client).await;
    }
}

#[tokio::test]
async fn what_was_under_way_is_answered_once_and_written_under_one_key() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    for (reference, text) in [
        (1, "hold"),
        (2, "hold too"),
        (3, "plain"),
        (4, "hold, refuse"),
    ] {
        bob.send(json!({"t": "send", "ref": reference, "conversation": "c", "text": text}))
            .await;
    }
    assert_eq!(bob.expect("ok").await["ref"], 3);
    pair.lose_one().await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(bob.next().await);
    }
    let of = |reference: u64| {
        answers
            .iter()
            .find(|answer| answer["ref"] == reference)
            .expect("an answer")
    };
    assert_eq!((&of(1)["t"], &of(2)["t"]), (&json!("ok"), &json!("ok")));
    assert_eq!(
        of(4)["problem"]["code"],
        "outcome_unknown",
        "the first attempt may have been carried out"
    );
    is_quiet(&mut bob).await;

    let commands = pair.fake().commands.lock().expect("lock");
    let keys = |text: &str| -> Vec<_> {
        let sends = commands.iter().filter_map(|command| {
            if let Command::Send(send) = command {
                Some(send)
            } else {
                None
            }
        });
        sends
            .filter(|send| &*send.text == text)
            .map(|send| send.key.clone().expect("a key").key)
            .collect()
    };
    for text in ["hold", "hold too", "hold, refuse"] {
        let keys = keys(text);
        assert_eq!(
            (keys.len(), keys.iter().collect::<BTreeSet<_>>().len()),
            (2, 1),
            "{text}: {keys:?}"
        );
    }
    assert_eq!(keys("plain").len(), 1, "it was answered");
}

#[tokio::test]
async fn what_a_client_says_while_its_session_is_nowhere_is_carried_out_at_the_next_node() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    let closed = pair.to.gate.acquire_many(ALL).await.expect("open");
    pair.lose_one().await;
    pair.one
        .until("it is nowhere", |_| {
            pair.to.asked.load(Ordering::SeqCst) == 1
        })
        .await;
    for reference in 1..=3 {
        bob.send(json!({"t": "send", "ref": reference, "conversation": "c", "text": "x"}))
            .await;
    }
    drop(closed);
    for reference in 1..=3 {
        assert_eq!(bob.expect("ok").await["ref"], reference);
    }
    assert_eq!(pair.fake().commands.lock().expect("lock").len(), 3);
    is_quiet(&mut bob).await;
}

#[tokio::test]
async fn a_resume_that_was_told_to_a_lost_node_holds_at_the_next_one() {
    let pair = Pair::start(5).await;
    let mut bob = pair.one.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    bob.send(json!({"t": "resume", "ref": 1, "positions": {"c": 2}, "more": true}))
        .await;
    assert_eq!(bob.expect("ok").await["ref"], 1);
    pair.lose_one().await;
    bob.send(json!({"t": "resume", "ref": 2, "positions": {}}))
        .await;
    let mut told: Vec<Value> = Vec::new();
    while told.last().is_none_or(|frame| frame["t"] != "ready") {
        told.push(bob.next().await);
    }
    let seqs: Vec<_> = told
        .iter()
        .filter(|frame| frame["t"] == "message")
        .map(|frame| frame["seq"].clone())
        .collect();
    assert_eq!(seqs, [json!(3), json!(4), json!(5)], "{told:?}");
    let count = |t: &str| told.iter().filter(|frame| frame["t"] == t).count();
    assert_eq!(
        (count("ok"), count("live"), count("hello"), count("gap")),
        (1, 1, 0, 0),
        "{told:?}"
    );
    is_quiet(&mut bob).await;
}

#[tokio::test]
async fn the_newest_token_goes_with_the_session() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    bob.send(json!({"t": "auth", "ref": 1, "token": "bob.3000"}))
        .await;
    assert_eq!(bob.expect("ok").await["ref"], 1);
    pair.lose_one().await;
    pair.other
        .until("the other node has the session", |node| {
            node.hub.sessions() == 1
        })
        .await;
    // Past the end of the first token, and its leeway.
    pair.other.clock.set(2_100_000);
    is_quiet(&mut bob).await;
    pair.other.clock.set(3_100_000);
    assert_eq!(bob.closed().await, 4401);
}

#[tokio::test]
async fn a_client_whose_session_nobody_takes_is_told_to_come_back() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    *pair.to.link.lock().expect("lock") = None;
    pair.lose_one().await;
    bob.expect("reconnect").await;
    assert_eq!(bob.closed().await, 1012);
    assert_eq!(pair.to.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_goes_on_again_and_again_and_its_client_sees_nothing_of_it() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    for round in 0..5_u64 {
        let (from, to) = if round % 2 == 0 {
            (&pair.one, &pair.other)
        } else {
            (&pair.other, &pair.one)
        };
        *pair.to.link.lock().expect("lock") = Some(to.link.clone());
        from.hub.send_away(Duration::ZERO, "it is cut off");
        to.until("the next node has the session", |node| {
            node.hub.sessions() == 1
        })
        .await;
        from.hub.welcome();
        pair.say("round").await;
        assert_eq!(seqs(&mut bob, round + 2).await, [round + 2]);
    }
    is_quiet(&mut bob).await;
}
