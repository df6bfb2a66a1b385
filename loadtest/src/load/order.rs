//! Order of one conversation in one session: every seq once, each the one after the last. Pure.

/// What a seq was to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The one after the last.
    Next,
    /// A later one: so many between were not there yet.
    After(u64),
    /// One that was missing: it comes out of order.
    Late,
    /// One that was there before.
    Double,
    /// From before the line began.
    Before,
}

/// What was seen of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    begin: u64,
    last: u64,
    /// Inclusive spans that are missing, ascending.
    holes: Vec<(u64, u64)>,
}

impl Line {
    /// Begins behind this seq: what was before the session is not its business.
    pub(crate) fn behind(seq: u64) -> Self {
        Self {
            begin: seq,
            last: seq,
            holes: Vec::new(),
        }
    }

    /// The highest seq seen; a session that ends goes on behind it.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Takes the next seq.
    pub(crate) fn see(&mut self, seq: u64) -> Seen {
        if seq <= self.begin {
            return Seen::Before;
        }

        if seq > self.last {
            let missed = seq - self.last - 1;
            if missed > 0 {
                self.holes.push((self.last + 1, seq - 1));
            }
            self.last = seq;
            return if missed == 0 {
                Seen::Next
            } else {
                Seen::After(missed)
            };
        }

        if self.fill(seq, seq) {
            Seen::Late
        } else {
            Seen::Double
        }
    }

    /// A span that the server says it will not send here.
    pub(crate) fn skip(&mut self, from: u64, to: u64) {
        self.fill(from, to);
        if to > self.last {
            if from > self.last + 1 {
                self.holes.push((self.last + 1, from - 1));
            }
            self.last = to;
        }
    }

    /// What was seen from here on no longer holds; true when that takes something back.
    pub(crate) fn restart(&mut self, from: u64) -> bool {
        let takes_back = from <= self.last;
        self.last = from.saturating_sub(1);
        self.begin = self.begin.min(self.last);
        self.holes.retain_mut(|hole| {
            hole.1 = hole.1.min(self.last);
            hole.0 <= hole.1
        });
        takes_back
    }

    /// How many are not there, of all up to this one.
    pub(crate) fn missing(&self, up_to: u64) -> u64 {
        let within = |&(from, to): &(u64, u64)| (to.min(up_to) + 1).saturating_sub(from);
        self.holes.iter().map(within).sum::<u64>() + up_to.saturating_sub(self.last)
    }

    /// Takes a span out of the holes; true when any of it was in one.
    fn fill(&mut self, from: u64, to: u64) -> bool {
        let mut kept = Vec::with_capacity(self.holes.len() + 1);
        let mut found = false;

        for &(first, last) in &self.holes {
            if to < first || last < from {
                kept.push((first, last));
                continue;
            }
            found = true;
            if first < from {
                kept.push((first, from - 1));
            }
            if to < last {
                kept.push((to + 1, last));
            }
        }

        if found {
            self.holes = kept;
        }

        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dense_line_has_nothing_to_tell() {
        let mut line = Line::behind(1);
        assert!((2..100).all(|seq| line.see(seq) == Seen::Next));
        assert_eq!((line.missing(99), line.last()), (0, 99));
    }

    #[test]
    fn loss_double_and_late_are_told_apart() {
        let mut line = Line::behind(1);
        let seen: Vec<Seen> = [1, 2, 5, 3, 5, 3, 9]
            .into_iter()
            .map(|seq| line.see(seq))
            .collect();
        let expected = [
            Seen::Before,
            Seen::Next,
            Seen::After(2),
            Seen::Late,
            Seen::Double,
            Seen::Double,
            Seen::After(3),
        ];

        assert_eq!(seen, expected);
        assert_eq!(line.missing(9), 4, "4, 6, 7, 8");
        assert_eq!(line.missing(12), 7, "and the three behind the last");
    }

    #[test]
    fn a_gap_that_the_server_tells_is_not_missing() {
        let mut line = Line::behind(0);
        line.see(1);
        line.skip(2, 50);
        assert_eq!(line.see(51), Seen::Next);
        assert_eq!(line.missing(51), 0);
        line.skip(54, 60);
        assert_eq!(line.missing(60), 2, "52 and 53 were not told");
    }

    #[test]
    fn a_replaced_span_is_seen_anew() {
        let mut line = Line::behind(0);
        for seq in [1, 2, 5, 6] {
            line.see(seq);
        }
        assert!(line.restart(4));
        assert_eq!(line.see(4), Seen::Next);
        assert_eq!(line.missing(4), 1);
        assert!(!line.restart(5), "behind the last: nothing is taken back");
    }

    proptest! {
        /// Against a set of all that was seen, which knows no holes and cannot be wrong.
        #[test]
        fn a_line_judges_as_a_set_does(begin in 0_u64..5, seqs in prop::collection::vec(1_u64..60, 0..200), end in 0_u64..80) {
            let mut line = Line::behind(begin);
            let mut set = BTreeSet::new();

            for seq in seqs {
                let last = set.last().copied().unwrap_or(begin);
                let expected = if seq <= begin {
                    Seen::Before
                } else if !set.insert(seq) {
                    Seen::Double
                } else if seq < last {
                    Seen::Late
                } else if seq == last + 1 {
                    Seen::Next
                } else {
                    Seen::After(seq - last - 1)
                };
                prop_assert_eq!(line.see(seq), expected);
            }

            let missing = (begin + 1..=end).filter(|seq| !set.contains(seq)).count() as u64;
            prop_assert_eq!(line.missing(end), missing);
        }

        #[test]
        fn told_gaps_and_seen_ones_together_leave_what_neither_covers(
            steps in prop::collection::vec((any::<bool>(), 1_u64..60, 0_u64..10), 0..60)
        ) {
            let mut line = Line::behind(0);
            let mut set = BTreeSet::new();
            for (told, from, more) in steps {
                if told {
                    line.skip(from, from + more);
                    set.extend(from..=from + more);
                } else {
                    line.see(from);
                    set.insert(from);
                }
            }
            let last = set.last().copied().unwrap_or(0);
            prop_assert_eq!(line.last(), last);
            prop_assert_eq!(line.missing(last), last - set.len() as u64);
        }
    }
}
