//! What the workers of a shard work with, and how an owner trims.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::ids::ShardId;
use crate::log::record::Tail;
use crate::log::{PerStream, ShardLog, Token};
use crate::shard::file::store::Store;
use crate::shard::insync::InSync;

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct Config {
    /// How far behind a worker stays on purpose, so that it reads several entries at once.
    pub tick: Duration,
    /// Most records of one apply transaction …
    pub records_max: usize,
    /// … and most time spent gathering them.
    pub gather_max: Duration,
    /// Entries stay in the log at least this long after they were applied here …
    pub trim_floor: Duration,
    /// … but not more than this many bytes of durable ones.
    pub trim_floor_bytes: u64,
}

/// What the workers work with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Which shard.
    pub shard: ShardId,
    /// Where to read.
    pub log: Arc<dyn ShardLog>,
    /// Where to apply.
    pub store: Store,
    /// How the owner trims the log; `None` on a standby, which trims nothing.
    pub(in crate::shard) trimming: Option<Trimming>,
    /// Committed tails by stream: never read past them.
    pub committed: PerStream<watch::Receiver<Tail>>,
    /// Settings.
    pub config: Config,
}

/// How an owner trims.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Trimming {
    /// Under which token.
    pub(in crate::shard) token: Token,
    /// Not beyond what is durable at those in sync.
    pub(in crate::shard) standbys: Arc<watch::Sender<InSync>>,
    /// Whether they are is a matter of time.
    pub(in crate::shard) clock: Clock,
    /// Bytes of untrimmed log beyond which writes are refused: what is held back for others is a
    /// share of it.
    pub(in crate::shard) bytes_max: u64,
}
