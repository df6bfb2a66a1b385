//! What a shard tells of itself, and a page of a user's index.

use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::log::PerStream;
use crate::shard::command::IndexItem;

/// A page of a user's index, changes in the order of their versions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct IndexPage {
    /// Rows (also those of conversations left) changed after the version asked for, ascending by
    /// version.
    pub items: Vec<IndexItem>,
    /// More rows follow after the last version given.
    pub more: bool,
}

/// What `/cluster` and the metrics tell of an owned shard.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardStatus {
    /// Which shard.
    pub shard: ShardId,
    /// Who owns it.
    pub owner: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Committed offsets by stream.
    pub committed: PerStream<Offset>,
    /// Applied offsets by stream.
    pub applied: PerStream<Offset>,
    /// Durable offsets by stream.
    pub durable: PerStream<Offset>,
    /// Records committed but not yet applied.
    pub lag: u64,
    /// The other replicas, and whether each is in sync.
    pub standbys: Vec<(NodeId, bool)>,
}
