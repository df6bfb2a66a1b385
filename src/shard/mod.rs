//! One single-writer unit of order. [`ShardHandle`] is the only way in; behind it one loop decides every command against
//! the head, appends to the log, answers after the commit, and pushes to subscribed nodes. Workers apply the log to the
//! shard's SQLite file a few milliseconds behind. The shard knows no HTTP, no session, no token of a client.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::log::{self, PerStream, lane};
use crate::shard::command::IndexItem;
use crate::shard::file::{store, worker};

pub use handle::ShardHandle;
pub use replica::open::{Disposition, OpenError};
pub use replica::orphans::orphans;
pub use replica::standby::{Standby, Taking};
pub use write::owner::HeadMemory;

pub mod replicas;

pub mod command;

mod handle;

pub mod write;

pub mod read;

pub mod file;

pub mod replica;

mod execute;

mod insync;

pub mod outbox;

/// A page of a user's index, changes in the order of their versions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexPage {
    /// Rows (also those of conversations left) changed after the version asked for, ascending by version.
    pub items: Vec<IndexItem>,
    /// More rows follow after the last version given.
    pub more: bool,
}

/// What `/cluster` and the metrics tell of an owned shard.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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

/// What a shard is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Which shard.
    pub shard: ShardId,
    /// Of which cluster.
    pub identity: log::Identity,
    /// By which node.
    pub node: NodeId,
    /// Its SQLite file.
    pub path: std::path::PathBuf,
    /// The log.
    pub log: Arc<dyn log::ShardLog>,
    /// The node's append lane to that log.
    pub lane: lane::Lane,
    /// The other replicas.
    pub replicas: Arc<dyn replicas::Replicas>,
    /// It was claimed before, by whomever: it has a history, and never begins anew.
    pub claimed: bool,
    /// The time of day.
    pub clock: Clock,
    /// Settings.
    pub config: Config,
}

/// Settings of every shard of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of the file.
    pub store: store::Config,
    /// Of the workers.
    pub worker: worker::Config,
    /// Commands waiting for a shard; more are refused with `unavailable`.
    pub queue_max: usize,
    /// Heads kept per shard beyond those with unapplied records.
    pub heads_max: usize,
    /// Bytes of heads, estimated, of all shards of the process together.
    pub heads_bytes_max: u64,
    /// What they take: one for all shards of the process.
    pub head_memory: Arc<HeadMemory>,
    /// Bytes of untrimmed stream per shard beyond which sends are refused with `unavailable`.
    pub stream_bytes_max: u64,
    /// How long a read waits for the worker before it answers `lagging`.
    pub barrier_max: Duration,
    /// How long another node must have seen this shard's control record unchanged before it takes the shard (T): reads
    /// are strict for nine tenths of it after the last proof of ownership. `None`: nobody else can take it.
    pub takeover_watch: Option<Duration>,
    /// How often the ownership is proven.
    pub renew_every: Duration,
    /// When the log has lost a shard that the file has: make it anew from the file, instead of refusing to open it.
    pub adopt_local: bool,
}

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod simulation;
