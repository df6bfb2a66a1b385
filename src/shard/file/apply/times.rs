//! When what stands in the log was decided.

use crate::log::record::{Entry, Record};

/// When a record was decided, unix milliseconds; `None` for those that do not say.
#[must_use]
pub(crate) fn time_of(record: &Record) -> Option<u64> {
    match record {
        Record::Event(event) => Some(event.created),
        Record::Index(change) => Some(change.at),
        Record::KeyUsed(used) => Some(used.at),
        Record::Banned(ban) | Record::Unbanned(ban) => Some(ban.at),
        Record::Pruned(pruning) => Some(pruning.at),
        Record::Erased(erasure) => Some(erasure.at),
        Record::Viewed(change) => Some(change.at),
        Record::OwnMark(mark) => Some(mark.at),
        Record::Advances { ts, .. }
        | Record::Reaction { ts, .. }
        | Record::EpochStart { ts, .. } => Some(*ts),
        Record::OutboxProgress { .. } | Record::Unreadable { .. } => None,
    }
}

/// The newest time in an entry, unix milliseconds; 0 when no record says one.
#[must_use]
pub(crate) fn time_of_entry(entry: &Entry) -> u64 {
    entry
        .records
        .iter()
        .filter_map(time_of)
        .max()
        .unwrap_or_default()
}
