//! Links: how processes of a cluster talk to each other (ADR 7). The one that asks dials; requests
//! go one way, answers and pushes come back. Here is what every link is made of: how both ends
//! prove themselves ([`proof`]), how frames are written and read, how silence is found, and the
//! contract between routers and nodes ([`front`]). That between nodes is in `node::link`.
//!
//! **Invariants.** Nothing of a frame is parsed before both ends have proven the cluster key. Every
//! queue, wait and frame has a bound, named in [`Config`] or beside its constant.

use std::time::Duration;

use crate::ids::{ClusterId, NodeId};
use crate::link::proof::ClusterKey;

pub mod codec;
pub(crate) mod dial;
pub mod front;
pub mod handshake;
pub mod proof;
pub mod socket;

/// Newest version of the contracts between processes that this build speaks.
pub const PEER_VERSION: u16 = 7;

/// Oldest version that this build still understands.
pub const PEER_VERSION_MIN: u16 = 1;

/// The version that brought routers as peers: they speak no older one, and from it on the proofs
/// cover the role.
pub const ROUTERS_SINCE: u16 = 4;

/// What the one that dials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A node: it speaks the peer contract.
    Node,
    /// A router: it speaks the front contract.
    Router,
}

impl Role {
    /// The oldest version that it speaks.
    #[must_use]
    pub fn oldest(self) -> u16 {
        match self {
            Self::Node => PEER_VERSION_MIN,
            Self::Router => ROUTERS_SINCE,
        }
    }

    /// As it is said and proven.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Router => "router",
        }
    }

    /// The role with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Node, Self::Router]
            .into_iter()
            .find(|role| role.word() == word)
    }
}

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
    /// Bytes of requests, or of answers, that wait for one socket; more requests are refused with
    /// `unavailable`, more answers wait.
    pub queued_bytes_max: usize,
    /// Pushes that wait for one link; more are dropped, and the subscriber is told to subscribe
    /// again.
    pub pushes_max: usize,
    /// Connections that have not proven themselves yet; more wait in the kernel's queue.
    pub unproven_max: usize,
    /// Newest version of the peer contract that is spoken.
    pub newest: u16,
}

impl Config {
    /// Settings of the links between routers and nodes, which wait longer before they give up a
    /// silent end: its sockets end with it.
    #[must_use]
    pub fn front() -> Self {
        Self {
            heartbeats_missed_max: 6,
            backoff_max: Duration::from_secs(1),
            ..Self::default()
        }
    }
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

/// Who we are, towards nodes.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// This node, or this router: they share one space of names.
    pub id: NodeId,
    /// Which of both it is.
    pub role: Role,
    /// Of this cluster.
    pub cluster: ClusterId,
    /// The secret of the cluster.
    pub key: ClusterKey,
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
    /// It was handed to the socket, and then the link broke or time was up: it may have been
    /// served.
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
    /// A node refused a router as only one does that knows of none.
    #[error(
        "the node does not take routers: it is of an older version, and nodes are upgraded \
         together with routers"
    )]
    TooOld,
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
    /// This process ends.
    #[error("this process ends")]
    Stopped,
}
