//! Sessions that lose their node, over real sockets: two nodes of the same owners, and a router
//! that has one go on with what the other had (ADR 7).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::Semaphore;

use super::handshake;
use super::tests::{Client, Fake, Node, config};
use super::{Homeless, Moved, Rehouses, Sockets, Unopened};
use crate::ids::{Epoch, NodeId};
use crate::link::front::client::NodeLink;
use crate::problem::Code;
use crate::shard::command::Push;

/// Takes sessions to one node, as often as it is asked to.
#[derive(Debug)]
pub(super) struct To {
    sockets: Arc<Sockets>,
    link: Mutex<Option<NodeLink>>,
    pub(super) asked: AtomicUsize,
    /// While all of it is taken, nobody is taken anywhere.
    pub(super) gate: Semaphore,
}

pub(super) const ALL: u32 = 100;

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

pub(super) struct Pair {
    pub(super) one: Node,
    pub(super) other: Node,
    pub(super) to: Arc<To>,
}

impl Pair {
    /// Two nodes; clients connect to the first, and the second goes on with what that loses.
    pub(super) async fn start(events: u64) -> Self {
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

    pub(super) fn fake(&self) -> &Fake {
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
    pub(super) async fn lose_one(&self) {
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
pub(super) async fn is_quiet(client: &mut Client) {
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
