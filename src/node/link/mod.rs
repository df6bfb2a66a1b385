//! Links: how nodes talk to each other. The node that asks opens one WebSocket with binary frames to the node that owns;
//! requests go one way, answers and pushes the other. So there is at most one link per ordered pair of nodes.
//!
//! **Invariants.** Nothing of a frame is parsed before both ends have proven the cluster key ([`proof`]). Requests are
//! served in the order in which they were made; answers come in any order, and an answer may overtake a push or the other
//! way round. A request that was never handed to the socket was surely not served; of one that was, nothing is known until
//! its answer. Every queue, wait and frame has a bound, named in [`Config`] or beside its constant.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::ids::{ClusterId, NodeId, ShardId};
use crate::node::link::frame::{Body, Outcome, PEER_VERSION};
use crate::node::link::proof::ClusterKey;
use crate::shard::command::ShardError;
use crate::shard::subscriptions::{Subscriber, SubscriberId};

pub mod client;
pub mod frame;
mod handshake;
pub mod proof;
mod queue;
pub mod replica;
pub mod server;
mod socket;

/// Settings of links.
#[derive(Debug, Clone)]
pub struct Config {
    /// Both ends say that they live this often …
    pub heartbeat: Duration,
    /// … and an end that said nothing for this many times is dead.
    pub heartbeats_missed_max: u32,
    /// Longest wait for a TCP connection.
    pub connect_timeout: Duration,
    /// Longest wait for upgrade and proofs, at both ends.
    pub handshake_timeout: Duration,
    /// A peer that takes nothing for this long is dropped.
    pub write_timeout: Duration,
    /// First wait after a failed attempt; doubles up to `backoff_max`, and is jittered.
    pub backoff_min: Duration,
    /// Longest wait between attempts.
    pub backoff_max: Duration,
    /// Requests of one link without an answer; more are refused with `unavailable`.
    pub in_flight_max: usize,
    /// Bytes of requests, or of answers, that wait for one socket; more requests are refused with `unavailable`, more
    /// answers wait.
    pub queued_bytes_max: usize,
    /// Pushes that wait for one link; more are dropped, and the subscriber is told to subscribe again.
    pub pushes_max: usize,
    /// Connections that have not proven themselves yet; more wait in the kernel's queue.
    pub unproven_max: usize,
    /// Newest version of the peer contract that is spoken.
    pub newest: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            heartbeats_missed_max: 3,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            in_flight_max: 4_096,
            queued_bytes_max: 64 << 20,
            pushes_max: 8_192,
            unproven_max: 64,
            newest: PEER_VERSION,
        }
    }
}

/// Who we are, towards other nodes.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// This node.
    pub node: NodeId,
    /// Of this cluster.
    pub cluster: ClusterId,
    /// The secret of the cluster.
    pub key: ClusterKey,
}

/// Who asks: a node that has proven itself.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The node.
    pub node: NodeId,
    /// Its end of pushes.
    pub subscriber: Subscriber,
}

/// What becomes of a request that is being served.
pub type Serving = Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + 'static>>;

/// What serves requests: this node's own shards, for this node and for its peers alike.
pub trait Serve: fmt::Debug + Send + Sync + 'static {
    /// True when this node owns the shard now.
    fn owns(&self, shard: ShardId) -> bool;

    /// Serves a request of `asker`, until `deadline` at most. A command, and the end of an interest, is
    /// *enqueued* before this returns; the first poll of the future enqueues everything else.
    ///
    /// Dropping the future undoes nothing.
    fn serve(&self, body: Body, deadline: Instant, asker: &Asker) -> Serving;

    /// The subscriber's link is gone: ends all its interests.
    fn forget(&self, subscriber: SubscriberId);
}

/// Why a request over a link has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was never handed to the socket, so it was surely not served.
    #[error("not sent: {0}")]
    NotSent(&'static str),
    /// Too much waits for the link, so it was refused at once; surely not served.
    #[error("too much waits for the link to the owner")]
    Full,
    /// It was handed to the socket, and then the link broke or time was up: it may have been served.
    #[error("no answer came")]
    Lost,
    /// It does not fit a frame; it will not later either.
    #[error("the request does not fit a frame")]
    TooLarge,
}

/// Why a link could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The table does not tell how the node is reached.
    #[error("the table names no address")]
    NoAddress,
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The upgrade.
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    /// The upgrade request cannot be written.
    #[error("http: {0}")]
    Request(#[from] http::Error),
    /// The peer refused the upgrade.
    #[error("upgrade refused with status {0}")]
    Refused(u16),
    /// The peer broke the protocol.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The peer did not prove the cluster key, or is another node than expected.
    #[error("the peer did not prove the cluster key for this node, cluster and version")]
    NotProven,
    /// A step took too long.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// The peer said nothing for several heartbeats.
    #[error("heartbeats missed")]
    Dead,
    /// The peer ended the link.
    #[error("closed by the peer")]
    Closed,
    /// The peer said goodbye: its process stops.
    #[error("the peer stops")]
    Left,
    /// This node ends.
    #[error("this node ends")]
    Stopped,
}
