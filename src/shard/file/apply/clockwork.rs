//! The time of a shard, by which keys are forgotten, and the highest epoch.

use crate::ids::Epoch;
use crate::log::record::{Entry, Record};
use crate::shard::file::apply::times::time_of;

/// The most that the time of a shard moves at once.
const STEP_MS: u64 = 60 * 60 * 1000;

/// How long an idempotency key of a client is kept, in milliseconds of the time of its shard: a
/// day, and a step more, because that time stands still between two marks.
pub(crate) const KEY_MS: u64 = 24 * 60 * 60 * 1000 + STEP_MS;

/// What both streams keep count of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clockwork {
    /// The time of the shard, by which keys are forgotten. It is told by the epoch-start records
    /// alone: an owner appends one when it opens and then one each minute in which it writes
    /// (marks), and only what passed between two of one epoch counts, which is what one process
    /// measured on one clock that nobody sets. So it runs only as fast as true time, however wrong
    /// the time of day of any node is, and stands still while nobody owns the shard. It began as
    /// the time of the first record.
    pub(crate) time: u64,
    /// Time of the last epoch-start record, on the clock of its node.
    pub(crate) mark_ts: u64,
    /// Highest epoch seen.
    pub(crate) max_epoch: Epoch,
}

impl Clockwork {
    pub(super) fn see(&mut self, entry: &Entry, record: &Record) {
        if self.time == 0 {
            self.time = time_of(record).unwrap_or_default();
        }
        let mut started = Epoch(0);
        if let Record::EpochStart { epoch, ts, .. } = record {
            if *epoch == self.max_epoch && self.mark_ts > 0 {
                self.time += ts.saturating_sub(self.mark_ts).min(STEP_MS);
            }
            (started, self.mark_ts) = (*epoch, *ts);
        }
        self.max_epoch = self.max_epoch.max(entry.epoch).max(started);
    }
}

/// Before which time keys are forgotten: whole minutes, so that a batch seldom has to look for
/// them.
#[must_use]
pub(crate) fn key_horizon(time: u64) -> u64 {
    (time - time % 60_000).saturating_sub(KEY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Offset};
    use crate::log::record::Tail;

    const START: u64 = 1_700_000_000_000;
    const MINUTE: u64 = 60_000;
    const DAY: u64 = 24 * 60 * MINUTE;

    fn seen(marks: &[(u64, u64)]) -> Clockwork {
        let mut clockwork = Clockwork::default();
        for &(epoch, ts) in marks {
            let record = Record::EpochStart {
                epoch: Epoch(epoch),
                node: NodeId::from("n"),
                ts,
            };
            let entry = Entry {
                epoch: Epoch(epoch),
                first: Offset(1),
                records: vec![record.clone()],
                tail: Tail::EMPTY,
            };
            clockwork.see(&entry, &record);
        }

        clockwork
    }

    #[test]
    fn the_time_of_a_shard_is_what_passed_within_its_epochs_whatever_their_clocks_said() {
        let minutes = |wrong: [u64; 3]| {
            let [first, second, third] = wrong.map(|wrong| START + wrong);
            let marks = [
                (1, first),
                (1, first + MINUTE),
                (2, second),
                (2, second + 2 * MINUTE),
                (4, third),
            ];
            seen(&marks).time - first
        };
        for wrong in [MINUTE, DAY, 365 * DAY] {
            for clocks in [
                [0, 0, 0],
                [0, wrong, 0],
                [wrong, 0, wrong],
                [wrong, 0, 0],
                [0, 0, wrong],
            ] {
                assert_eq!(minutes(clocks), 3 * MINUTE, "{clocks:?}");
            }
        }
    }

    #[test]
    fn no_single_mark_moves_the_time_of_a_shard_by_more_than_a_step_or_back() {
        assert_eq!(
            seen(&[(1, START), (1, START + 400 * DAY)]).time,
            START + STEP_MS
        );
        assert_eq!(
            seen(&[(1, START), (1, START - DAY), (1, START - DAY + MINUTE)]).time,
            START + MINUTE
        );
    }
}
