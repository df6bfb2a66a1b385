//! Which entries are kept back although they are durable: the young ones, as long as they are few.
//! Used for the raw entries in the file and for the log's trim point alike.
//!
//! How old one is goes by how long this process has had it, on a clock that nobody sets: not by the
//! times in records, of which a single wrong one would end the floor of all others. Nothing that
//! replicas compare hangs on it.

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

/// The entries kept of one stream, oldest first. 24 bytes each; bounded by what the floor and the
/// bytes allow, and by how much may be applied between two checkpoints.
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
        self.marks
            .iter()
            .rev()
            .take_while(|mark| mark.last > offset)
            .map(|mark| mark.bytes)
            .sum()
    }

    /// Up to where entries may go, at most `steps` of them: durable, and here for longer than the
    /// floor, or more than `bytes_max` together. Nothing is forgotten before [`Retained::release`].
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

    /// Bytes of the entries up to an offset.
    pub(crate) fn bytes_upto(&self, offset: Offset) -> u64 {
        self.marks
            .iter()
            .take_while(|mark| mark.last <= offset)
            .map(|mark| mark.bytes)
            .sum()
    }

    /// Whether any are left up to an offset.
    pub(crate) fn has_upto(&self, offset: Offset) -> bool {
        self.marks
            .front()
            .is_some_and(|oldest| oldest.last <= offset)
    }

    /// The lowest offset behind which there are at most so many bytes; zero when there are no more
    /// in all.
    pub(crate) fn bound(&self, bytes_max: u64) -> Offset {
        let (mut left, mut bound) = (self.bytes, Offset(0));
        for mark in &self.marks {
            if left <= bytes_max {
                break;
            }
            (left, bound) = (left - mark.bytes, mark.last);
        }
        bound
    }

    /// The log that these are kept of begins with the entry that ends at `first`: what is older has
    /// gone from it. What it has that is not kept here, up to `applied`, is reckoned at the mean
    /// size of what is, or of that first entry.
    pub(crate) fn begins(
        &mut self,
        (first, first_bytes): (Offset, u64),
        applied: Offset,
        since: Instant,
    ) {
        self.release(Offset(first.0.saturating_sub(1)));
        let ends = self
            .marks
            .front()
            .zip(self.marks.back())
            .map(|(oldest, newest)| (oldest.last, newest.last));
        let unknown = ends
            .map_or(applied, |(oldest, _)| oldest)
            .0
            .saturating_sub(first.0);
        if applied < first {
            return;
        }

        let known = ends.map_or(0, |(oldest, newest)| newest.0 - oldest.0);
        let by_first = unknown.saturating_mul(first_bytes);
        let bytes = unknown
            .saturating_mul(self.bytes)
            .checked_div(known)
            .unwrap_or(by_first);
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        match self.marks.front_mut() {
            // Its end is the end of an entry; where those before it end, nobody here knows.
            Some(front) => front.bytes += bytes,
            None => self.marks.push_front(Mark {
                last: applied,
                since,
                bytes,
            }),
        }
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
            let since = now
                .checked_sub(Duration::from_millis(ago))
                .expect("the machine runs for a while");
            retained.push(Mark {
                last: Offset(last),
                since,
                bytes: 10,
            });
        }
        retained
    }

    const FLOOR: Duration = Duration::from_millis(100);

    #[test]
    fn only_what_is_durable_and_old_goes() {
        let now = Instant::now();
        let retained = of(now, &[(1, 200), (2, 150), (3, 80), (4, 0)]);

        assert_eq!(
            retained.releasable(Offset(4), (now, FLOOR), 1_000, 9),
            Some(Offset(2))
        );
        assert!(retained.has_upto(Offset(1)) && !retained.has_upto(Offset(0)));
        assert_eq!(
            retained.releasable(Offset(1), (now, FLOOR), 1_000, 9),
            Some(Offset(1))
        );
        assert_eq!(retained.releasable(Offset(0), (now, FLOOR), 1_000, 9), None);
        assert_eq!(
            retained.releasable(Offset(9), (now, Duration::ZERO), 1_000, 9),
            Some(Offset(4))
        );
    }

    #[test]
    fn too_many_bytes_go_though_young_but_never_before_they_are_durable() {
        let now = Instant::now();
        let retained = of(now, &[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(
            retained.releasable(Offset(3), (now, FLOOR), 15, 9),
            Some(Offset(2))
        );
        assert_eq!(retained.releasable(Offset(0), (now, FLOOR), 0, 9), None);
        assert_eq!(
            retained.releasable(Offset(3), (now, FLOOR), 0, 1),
            Some(Offset(1))
        );
    }

    #[test]
    fn the_bound_is_the_lowest_offset_behind_which_no_more_than_so_many_bytes_are() {
        let retained = of(Instant::now(), &[(1, 0), (2, 0), (5, 0)]);
        let bounds = [0, 9, 10, 25, 29, 30, 100].map(|bytes| retained.bound(bytes).0);
        assert_eq!(bounds, [5, 5, 2, 1, 1, 0, 0]);
        assert_eq!(
            [0, 1, 4, 5].map(|upto| retained.bytes_upto(Offset(upto))),
            [0, 10, 20, 30]
        );
    }

    #[test]
    fn what_the_log_has_beyond_what_is_kept_is_reckoned_and_what_it_no_longer_has_is_not() {
        let now = Instant::now();
        let mut retained = of(now, &[(10, 0), (11, 0), (12, 0), (14, 0)]);
        retained.begins((Offset(11), 10), Offset(14), now);

        assert_eq!(
            (retained.bytes_above(Offset(0)), retained.bound(20)),
            (30, Offset(11))
        );

        retained.begins((Offset(5), 10), Offset(14), now);
        assert_eq!(
            retained.bytes_above(Offset(0)),
            30 + 6 * 30 / 3,
            "six more at ten bytes each"
        );

        let releasable = retained.releasable(Offset(14), (now, FLOOR), 30, 9);
        assert_eq!(
            releasable,
            Some(Offset(11)),
            "they go with the oldest that is known"
        );

        let mut none = Retained::default();
        none.begins((Offset(5), 10), Offset(9), now);
        assert_eq!(none.bytes_above(Offset(0)), 40);
        assert_eq!(
            none.releasable(Offset(9), (now, FLOOR), 100, 9),
            None,
            "few bytes"
        );
        assert_eq!(
            none.releasable(Offset(9), (now + FLOOR * 2, FLOOR), 100, 9),
            Some(Offset(9)),
            "old"
        );

        let mut empty = Retained::default();
        empty.begins((Offset(5), 10), Offset(4), now);
        assert_eq!(empty.bytes_above(Offset(0)), 0);
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
