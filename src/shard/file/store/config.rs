//! Settings of a shard's file, and where it stands.

use std::time::Duration;

use crate::ids::Epoch;
use crate::log::PerStream;
use crate::log::record::Tail;

/// Settings of a shard's file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Readers at the same time, each a thread; opened on demand.
    pub readers_max: u32,
    /// A reader is closed after this long without use, and so is the writer once all is
    /// checkpointed. The next use opens it again.
    pub rest_after: Duration,
    /// A checkpoint after this many pages of WAL …
    pub checkpoint_pages: u32,
    /// … or after this long, whichever is first.
    pub checkpoint_every: Duration,
    /// Raw entries are kept at least this long after they came …
    pub raw_floor: Duration,
    /// … but, above the durable offset, never more than this many bytes of them.
    pub raw_bytes_max: u64,
}

/// Where the file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Applied and committed.
    pub applied: PerStream<Tail>,
    /// Checkpointed: survives power loss.
    pub durable: PerStream<Tail>,
    /// Highest epoch of any record applied.
    pub max_epoch: Epoch,
}
