//! What of a stream is kept in case the log loses it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::log::Batch;
use crate::log::record::Tail;

/// How long committed entries are kept in memory, and how many bytes of a stream, in case the log
/// loses them: Redis replicates and syncs within about a second. What is older stays in the raw
/// entries of the file, of which an operator can make use.
pub(super) const RETAINED_FOR: Duration = Duration::from_secs(10);
pub(super) const RETAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The newest committed entries of a stream, as they were appended.
#[derive(Debug, Default)]
pub(super) struct Retained {
    pub(super) batches: VecDeque<(Instant, Batch)>,
    pub(super) bytes: usize,
}

impl Retained {
    pub(super) fn push(&mut self, batch: Batch) {
        let now = Instant::now();
        self.bytes += batch.bytes.len();
        self.batches.push_back((now, batch));
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((since, oldest)) = self.batches.front() {
            if now.duration_since(*since) < RETAINED_FOR && self.bytes <= RETAINED_BYTES_MAX {
                return;
            }
            self.bytes -= oldest.bytes.len();
            self.batches.pop_front();
        }
    }

    /// Everything that followed a tail of ours, if it is kept.
    pub(super) fn after(&self, tail: &Tail) -> Option<Vec<Batch>> {
        let from = self
            .batches
            .iter()
            .position(|(_, batch)| batch.expected == *tail)?;
        Some(
            self.batches
                .iter()
                .skip(from)
                .map(|(_, batch)| batch.clone())
                .collect(),
        )
    }
}
