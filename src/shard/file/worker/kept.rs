//! What the log has of a shard, as its workers and its trim count it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::Offset;
use crate::log::PerStream;
use crate::shard::file::store::retained::Retained;

/// What the log had of a shard when it was opened, by stream.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::shard) struct Stood {
    /// At least so much was trimmed already.
    pub(in crate::shard) gone: PerStream<Offset>,
    /// Bytes, less what was trimmed of them since.
    pub(in crate::shard) bytes: PerStream<u64>,
}

/// The entries of one stream that are not trimmed yet.
pub(super) type Kept = Arc<Mutex<Retained>>;

/// What is kept, for as long as nobody waits.
pub(super) fn lock(retained: &Kept) -> MutexGuard<'_, Retained> {
    // Whoever panicked held only counters.
    retained.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; offsets beyond 2^53 are not reached"
)]
pub(super) fn gauge(offset: Offset) -> f64 {
    offset.0 as f64
}
