//! From entries of the log to changes of rows. Pure and deterministic: what comes out depends only on the entries and on
//! what the file held before, never on a clock, on the other stream, or on how the entries were cut into batches: the
//! same log gives the same file. Changes are folded, so that each row is written once per batch.
//!
//! A record that cannot be applied never stops the rest: it comes out as [`Quarantined`].

use bytes::Bytes;

use crate::ids::{Epoch, Offset};
use crate::shard::log::record::{Entry, Record};

pub(crate) mod messages;

pub(crate) mod receipts;

/// How long an idempotency key of a client is kept, in milliseconds of record time.
pub(crate) const KEY_MS: u64 = 24 * 60 * 60 * 1000;

/// What both streams keep count of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clockwork {
    /// Newest time of a record so far, unix milliseconds; never falls.
    pub(crate) newest_ts: u64,
    /// Highest epoch seen.
    pub(crate) max_epoch: Epoch,
}

impl Clockwork {
    fn see(&mut self, entry: &Entry, record: &Record) {
        self.newest_ts = self.newest_ts.max(time_of(record).unwrap_or_default());
        let started = if let Record::EpochStart { epoch, .. } = record { *epoch } else { Epoch(0) };
        self.max_epoch = self.max_epoch.max(entry.epoch).max(started);
    }
}

/// A record put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Where it stands.
    pub(crate) offset: Offset,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Why it could not be applied.
    pub(crate) reason: String,
}

impl Quarantined {
    fn new(offset: Offset, record: &Record, reason: impl Into<String>) -> Self {
        Self { offset, bytes: record.encode(), reason: reason.into() }
    }
}

/// When a record was decided, unix milliseconds; `None` for those that do not say.
#[must_use]
pub(crate) fn time_of(record: &Record) -> Option<u64> {
    match record {
        Record::Event(event) => Some(event.created),
        Record::Index(change) => Some(change.at),
        Record::Advances { ts, .. } | Record::Reaction { ts, .. } | Record::EpochStart { ts, .. } => Some(*ts),
        Record::OutboxProgress { .. } | Record::Unreadable { .. } => None,
    }
}

/// The newest time in an entry, unix milliseconds; 0 when no record says one.
#[must_use]
pub(crate) fn time_of_entry(entry: &Entry) -> u64 {
    entry.records.iter().filter_map(time_of).max().unwrap_or_default()
}

/// Before which time keys are forgotten: whole minutes, so that a batch seldom has to look for them.
#[must_use]
pub(crate) fn key_horizon(newest_ts: u64) -> u64 {
    (newest_ts - newest_ts % 60_000).saturating_sub(KEY_MS)
}
