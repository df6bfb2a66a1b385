//! What the replicas of a shard tell each other, and the way from one to the others: a trait,
//! because the shard knows no links.

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, NodeId, ShardId, UserId};
use crate::log::record::Tail;
use crate::log::{PerStream, RawEntry, Stream};

/// Whether a replica keeps up with the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Following {
    /// It applies what the log has.
    Live,
    /// The log was trimmed beyond its file: it needs a snapshot.
    Behind,
    /// Its file has another history than the log. One sentence.
    Diverged(String),
    /// Its file is damaged. One sentence.
    Damaged(String),
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Of which shard.
    pub shard: ShardId,
    /// On which node.
    pub node: NodeId,
    /// Applied and committed to its file.
    pub applied: PerStream<Tail>,
    /// Checkpointed: survives a loss of power.
    pub durable: PerStream<Tail>,
    /// Highest epoch of any record applied.
    pub max_epoch: Epoch,
    /// Whether it keeps up.
    pub following: Following,
}

/// The logical content of a replica's file at one moment; equal at equal tails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaDigest {
    /// Applied then.
    pub applied: PerStream<Tail>,
    /// SHA-256, see [`crate::shard::file::store::Store::replica_digest`].
    pub sha256: [u8; 32],
}

/// The way from a shard to its other replicas. Every call ends by its deadline; who does not answer
/// is left out.
#[async_trait]
pub(crate) trait Replicas: fmt::Debug + Send + Sync + 'static {
    /// The other nodes of the shard's row, as it is known now.
    fn others(&self, shard: ShardId) -> Vec<NodeId>;

    /// How the others stand, those that answer.
    async fn standing(&self, shard: ShardId, deadline: Instant) -> Vec<ReplicaStatus>;

    /// Raw entries of another replica that follow `after` in its file, in order, at least one
    /// unless it has none, or has another history there.
    #[expect(
        clippy::too_many_arguments,
        reason = "whose, of what, from where, until when"
    )]
    async fn entries_after(
        &self,
        shard: ShardId,
        node: &NodeId,
        stream: Stream,
        after: Tail,
        deadline: Instant,
    ) -> Vec<RawEntry>;

    /// True when each of `standbys` (at least one) says that its file holds the stream up to
    /// exactly this tail.
    #[expect(
        clippy::too_many_arguments,
        reason = "whose, of what, up to where, until when"
    )]
    async fn hold(
        &self,
        shard: ShardId,
        standbys: &[NodeId],
        stream: Stream,
        tail: Tail,
        deadline: Instant,
    ) -> bool;

    /// Tells the others when users of the shard were seen last, in unix milliseconds. Who does not
    /// take it in knows less.
    async fn seen(&self, _shard: ShardId, _rows: Vec<(UserId, u64)>, _deadline: Instant) {}
}

/// No other replicas.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alone;

#[cfg(test)]
#[async_trait]
impl Replicas for Alone {
    fn others(&self, _: ShardId) -> Vec<NodeId> {
        Vec::new()
    }

    async fn standing(&self, _: ShardId, _: Instant) -> Vec<ReplicaStatus> {
        Vec::new()
    }

    async fn entries_after(
        &self,
        _: ShardId,
        _: &NodeId,
        _: Stream,
        _: Tail,
        _: Instant,
    ) -> Vec<RawEntry> {
        Vec::new()
    }

    async fn hold(&self, _: ShardId, _: &[NodeId], _: Stream, _: Tail, _: Instant) -> bool {
        false
    }
}
