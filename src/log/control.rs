//! The control record of a shard, which fences its streams: who holds the shard, under which token,
//! and how it is claimed.

use std::fmt;

use crate::ids::{ClusterId, Epoch, NodeId, ShardId};
use crate::log::record::Tail;
use crate::log::stream::PerStream;

/// What its holder owns a shard by. Two tokens of one epoch are told apart by the nonce.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// Number of the ownership.
    pub epoch: Epoch,
    /// Random, so that after a rollback of the log two owners never hold the same token.
    pub nonce: u64,
}

impl Token {
    /// A token of that epoch with a fresh nonce.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            nonce: rand::random(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.epoch, self.nonce)
    }
}

/// What makes a cluster this cluster; fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// Number of shards S, a power of two up to 65,536.
    pub shards: u32,
}

/// A shard's control record (`ctl`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The cluster of the log, with how many shards.
    pub identity: Identity,
    /// The current token.
    pub token: Token,
    /// Who holds it.
    pub owner: NodeId,
    /// Grows with each append and renewal; a watcher that sees it stand still may suspect the
    /// owner.
    pub beat: u64,
    /// The tail of each stream.
    pub tails: PerStream<Tail>,
}

/// A control record as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The record, or `None` when the shard was never claimed.
    pub control: Option<Control>,
    /// Of the server process that answered. When it differs from the last one's, what was seen
    /// before proves nothing about what came after: a beat may have been lost between them.
    pub lineage: u64,
}

/// A wish to own a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which shard.
    pub shard: ShardId,
    /// The control record must hold exactly this token and beat, or not exist.
    pub expected: Option<(Token, u64)>,
    /// The new token; its epoch must be higher than that of the current one.
    pub token: Token,
    /// Who is to own it: whoever claims, or the one to whom an owner gives its shard.
    pub owner: NodeId,
    /// Written at the first claim; compared at each later one.
    pub identity: Identity,
    /// Tails that a first claim begins with: [`Tail::EMPTY`] for a new shard, else where the
    /// entries that will be re-appended begin. A later claim keeps the tails that are there.
    pub begin_at: PerStream<Tail>,
    /// Where the streams must end, for an owner that gives its shard away; `None` when that does
    /// not matter.
    pub ends_at: Option<PerStream<Tail>>,
}

/// Answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The token is set, at commit level. The control record after it.
    Claimed(Control),
    /// Nothing was changed: the control record is not as expected (also when the epoch would not
    /// rise, or the identity differs). What is there, if anything.
    Refused(Option<Control>),
}
