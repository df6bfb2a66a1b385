//! Which entries are kept back although they are durable: the young ones, as long as they are few. Used for the raw
//! entries in the file and for the log's trim point alike.
//!
//! How old one is goes by how long this process has had it, on a clock that nobody sets: not by the times in records, of
//! which a single wrong one would end the floor of all others. Nothing that replicas compare hangs on it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::Offset;

/// One entry, as far as keeping it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Offset of its last record.
    pub(crate) last: Offset,
    /// Since when this process has it.
    pub(crate) since: Instant,
    /// Its size.
    pub(crate) bytes: u64,
}

/// The entries kept of one stream, oldest first. 24 bytes each; bounded by what the floor and the bytes allow, and by
/// how much may be applied between two checkpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retained {
    marks: VecDeque<Mark>,
    bytes: u64,
}

impl Retained {
    /// Adds an entry, newer than all before.
    pub(crate) fn push(&mut self, mark: Mark) {
        self.bytes += mark.bytes;
        self.marks.push_back(mark);
    }

    /// Bytes of the entries above an offset.
    pub(crate) fn bytes_above(&self, offset: Offset) -> u64 {
        self.marks.iter().rev().take_while(|mark| mark.last > offset).map(|mark| mark.bytes).sum()
    }

    /// Up to where entries may go, at most `steps` of them: durable, and here for longer than the floor, or more than
    /// `bytes_max` together. Nothing is forgotten before [`Retained::release`].
    pub(crate) fn releasable(
        &self,
        durable: Offset,
        (now, floor): (Instant, Duration),
        bytes_max: u64,
        steps: usize,
    ) -> Option<Offset> {
        let mut kept = self.bytes;
        let mut upto = None;
        for mark in self.marks.iter().take(steps) {
            let is_young = now.duration_since(mark.since) <= floor && !floor.is_zero();
            if mark.last > durable || (is_young && kept <= bytes_max) {
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

    /// Offsets, with how long ago each came.
    fn of(now: Instant, marks: &[(u64, u64)]) -> Retained {
        let mut retained = Retained::default();
        for &(last, ago) in marks {
            let since = now.checked_sub(Duration::from_millis(ago)).expect("the machine runs for a while");
            retained.push(Mark { last: Offset(last), since, bytes: 10 });
        }
        retained
    }

    const FLOOR: Duration = Duration::from_millis(100);

    #[test]
    fn only_what_is_durable_and_old_goes() {
        let now = Instant::now();
        let retained = of(now, &[(1, 200), (2, 150), (3, 80), (4, 0)]);
        assert_eq!(retained.releasable(Offset(4), (now, FLOOR), 1_000, 9), Some(Offset(2)));
        assert_eq!(retained.releasable(Offset(1), (now, FLOOR), 1_000, 9), Some(Offset(1)));
        assert_eq!(retained.releasable(Offset(0), (now, FLOOR), 1_000, 9), None);
        assert_eq!(retained.releasable(Offset(9), (now, Duration::ZERO), 1_000, 9), Some(Offset(4)));
    }

    #[test]
    fn too_many_bytes_go_though_young_but_never_before_they_are_durable() {
        let now = Instant::now();
        let retained = of(now, &[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(retained.releasable(Offset(3), (now, FLOOR), 15, 9), Some(Offset(2)));
        assert_eq!(retained.releasable(Offset(0), (now, FLOOR), 0, 9), None);
        assert_eq!(retained.releasable(Offset(3), (now, FLOOR), 0, 1), Some(Offset(1)));
    }

    #[test]
    fn what_is_released_no_longer_counts() {
        let now = Instant::now();
        let mut retained = of(now, &[(1, 0), (2, 0), (3, 0)]);
        retained.release(Offset(2));
        assert_eq!(retained.releasable(Offset(3), (now, FLOOR), 10, 9), None);
        assert_eq!(retained.bytes_above(Offset(0)), 10);
    }
}
