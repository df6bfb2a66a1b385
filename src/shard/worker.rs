//! The workers of a shard: one per stream, from the log to the shard's file, a few milliseconds behind on purpose; beside
//! them the checkpoint and the trim of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::ids::{Offset, ShardId};
use crate::shard::log::record::Tail;
use crate::shard::log::{ShardLog, Stream, Token};
use crate::shard::store::Store;

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct Config {
    /// How far behind a worker stays on purpose, so that it reads several entries at once.
    pub tick: Duration,
    /// Most records of one apply transaction …
    pub records_max: usize,
    /// … and most time spent gathering them.
    pub gather_max: Duration,
    /// Entries stay in the log at least this long (by record time) …
    pub trim_floor: Duration,
    /// … but not more than this many bytes of durable ones.
    pub trim_floor_bytes: u64,
}

/// What the workers work with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which shard.
    pub shard: ShardId,
    /// Where to read.
    pub log: Arc<dyn ShardLog>,
    /// Where to apply.
    pub store: Store,
    /// Under which trimming is allowed.
    pub token: Token,
    /// Committed tails by stream: never read past them.
    pub committed: [watch::Receiver<Tail>; 2],
    /// Settings.
    pub config: Config,
}

/// The running workers. Dropping it stops them without finishing.
#[derive(Debug)]
pub struct Workers {}

impl Workers {
    /// Starts them.
    #[must_use]
    pub fn spawn(setup: Setup) -> Self {
        let _ = setup;
        todo!()
    }

    /// Applied tails of a stream, as they grow.
    #[must_use]
    pub fn applied(&self, stream: Stream) -> watch::Receiver<Tail> {
        let _ = stream;
        todo!()
    }

    /// Durable offsets by stream, as they grow.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<[Offset; 2]> {
        todo!()
    }

    /// Trimmed offsets by stream, as they grow.
    #[must_use]
    pub fn trimmed(&self) -> watch::Receiver<[Offset; 2]> {
        todo!()
    }

    /// Someone waits for this stream: apply now, without the tick.
    pub fn hurry(&self, stream: Stream) {
        let _ = stream;
    }

    /// Applies everything committed, checkpoints, stops. At most until `deadline`.
    pub async fn finish(self, deadline: Instant) {
        let _ = deadline;
    }
}

/// Reads both streams from the store's applied tails to the given tails and applies them: what must be done before a
/// shard opens.
///
/// # Errors
/// One clear sentence: the log does not answer, was trimmed beyond what the file has, or does not link to it.
pub async fn catch_up(
    shard: ShardId,
    log: &dyn ShardLog,
    store: &Store,
    tails: [Tail; 2],
    config: &Config,
) -> Result<(), String> {
    let _ = (shard, log, store, tails, config);
    todo!()
}
