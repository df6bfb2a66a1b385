//! Which entries are kept back although they are durable: the young ones, by record time, as long as they are few.
//! Used for the raw entries in the file and for the log's trim point alike.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Offset;

/// One entry, as far as keeping it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Offset of its last record.
    pub(crate) last: Offset,
    /// Its newest record time, unix milliseconds.
    pub(crate) ts: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

/// The entries kept of one stream, oldest first. 24 bytes each; bounded by what the floor and the bytes allow, and by
/// how much may be applied between two checkpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retained {
    marks: VecDeque<Mark>,
    bytes: u64,
    newest_ts: u64,
}

impl Retained {
    /// Adds an entry, newer than all before.
    pub(crate) fn push(&mut self, mark: Mark) {
        self.bytes += mark.bytes;
        self.newest_ts = self.newest_ts.max(mark.ts);
        self.marks.push_back(mark);
    }

    /// Bytes of the entries above an offset.
    pub(crate) fn bytes_above(&self, offset: Offset) -> u64 {
        self.marks.iter().rev().take_while(|mark| mark.last > offset).map(|mark| mark.bytes).sum()
    }

    /// Up to where entries may go, at most `steps` of them: durable, and older than `floor` before the newest record
    /// time, or more than `bytes_max` together. Nothing is forgotten before [`Retained::release`].
    pub(crate) fn releasable(&self, durable: Offset, floor: Duration, bytes_max: u64, steps: usize) -> Option<Offset> {
        let floor = u64::try_from(floor.as_millis()).unwrap_or(u64::MAX);
        let horizon = self.newest_ts.saturating_sub(floor);
        let mut kept = self.bytes;
        let mut upto = None;
        for mark in self.marks.iter().take(steps) {
            if mark.last > durable || (mark.ts >= horizon && kept <= bytes_max) {
                break;
            }
            kept -= mark.bytes;
            upto = Some(mark.last);
        }
        upto
    }

    /// Forgets the entries up to an offset.
    pub(crate) fn release(&mut self, upto: Offset) {
        while let Some(mark) = self.marks.front().filter(|mark| mark.last <= upto) {
            self.bytes -= mark.bytes;
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(marks: &[(u64, u64)]) -> Retained {
        let mut retained = Retained::default();
        for &(last, ts) in marks {
            retained.push(Mark { last: Offset(last), ts, bytes: 10 });
        }
        retained
    }

    const FLOOR: Duration = Duration::from_millis(100);

    #[test]
    fn only_what_is_durable_and_old_goes() {
        let retained = of(&[(1, 1000), (2, 1050), (3, 1120), (4, 1200)]);
        assert_eq!(retained.releasable(Offset(4), FLOOR, 1_000, 9), Some(Offset(2)));
        assert_eq!(retained.releasable(Offset(1), FLOOR, 1_000, 9), Some(Offset(1)));
        assert_eq!(retained.releasable(Offset(0), FLOOR, 1_000, 9), None);
    }

    #[test]
    fn too_many_bytes_go_though_young_but_never_before_they_are_durable() {
        let retained = of(&[(1, 1000), (2, 1000), (3, 1000)]);
        assert_eq!(retained.releasable(Offset(3), FLOOR, 15, 9), Some(Offset(2)));
        assert_eq!(retained.releasable(Offset(0), FLOOR, 0, 9), None);
        assert_eq!(retained.releasable(Offset(3), FLOOR, 0, 1), Some(Offset(1)));
    }

    #[test]
    fn what_is_released_no_longer_counts() {
        let mut retained = of(&[(1, 1000), (2, 1000), (3, 1000)]);
        retained.release(Offset(2));
        assert_eq!(retained.releasable(Offset(3), FLOOR, 10, 9), None);
        assert_eq!(retained.bytes_above(Offset(0)), 10);
    }
}
