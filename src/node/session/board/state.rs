//! Pure: where one session stands in one conversation. Inputs are the tail, pushed seqs, spans and
//! ends; the outcome says what to deliver and which gap to tell. A cursor moves only by one, or
//! over an explicit gap (I9).
//!
//! A cursor is `Waiting` until the tail is known; `Live` when all that is known is delivered, so
//! the next push continues it; else `Behind`: pushes pass it by, and spans are fetched at the pace
//! of the socket until it has caught up.

use crate::ids::Seq;
use crate::protocol::{GapReason, RESUME_EVENTS_MAX};

/// A span that is not delivered on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) struct Gap {
    /// First seq not delivered.
    pub(in crate::node::session) from: Seq,
    /// Last one, inclusive.
    pub(in crate::node::session) to: Seq,
    /// Why it is not given.
    pub(in crate::node::session) reason: GapReason,
}

/// What a push means for a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Pushed {
    /// The next one: deliver it.
    Deliver,
    /// Delivered before, or for later: nothing to do.
    Passed,
    /// Something before it is missing: fetch from the cursor on.
    FellBehind,
}

/// When only the newest of what a cursor missed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Cut {
    /// All of it is fetched.
    Never,
    /// At the next answer: the cursor was set from a position that was not yet measured against the
    /// tail.
    Once,
    /// At each answer: the socket is slower than what is sent to it.
    Always,
}

/// Where a session stands in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Cursor {
    /// The tail is not known yet; starts at `position`, or at the tail.
    Waiting {
        /// Last seq seen, if the client or a `joined` event named one.
        position: Option<Seq>,
        /// When only the newest of what was missed are kept.
        cut: Cut,
    },
    /// Everything up to `seq` is delivered and the next push continues it.
    Live {
        /// Last seq delivered.
        seq: Seq,
    },
    /// Everything up to `seq` is delivered, later events have to be fetched.
    Behind {
        /// Last seq delivered.
        seq: Seq,
        /// When only the newest events are kept.
        cut: Cut,
    },
}

/// What became of a `resume` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Resumed {
    /// The cursors are set.
    Placed,
    /// They are set later: there is more to come, or the user's index is not read yet.
    Later,
    /// There are too many positions: all of them are forgotten.
    TooMany,
}

impl Cursor {
    /// A cursor that starts after `position`, or at the tail without one; `cut` tells whether only
    /// the newest of what was missed are kept. One that is not at the tail is measured when its
    /// first span comes: only the owner can tell whether a seq past the tail that we know exists,
    /// and the gaps of many conversations come at the pace of the socket.
    pub(in crate::node::session) fn begin(
        position: Option<Seq>,
        tail: Option<Seq>,
        cut: Cut,
    ) -> Self {
        match (position, tail) {
            (position, None) => Self::Waiting { position, cut },
            (None, Some(tail)) => Self::Live { seq: tail },
            (Some(seq), Some(tail)) if seq == tail => Self::Live { seq },
            (Some(seq), Some(_)) => Self::Behind { seq, cut },
        }
    }

    /// Last seq delivered, or passed by a gap; none while waiting.
    pub(in crate::node::session) fn seq(&self) -> Option<Seq> {
        match self {
            Self::Waiting { .. } => None,
            Self::Live { seq } | Self::Behind { seq, .. } => Some(*seq),
        }
    }

    /// A committed event was pushed.
    pub(in crate::node::session) fn pushed(&mut self, pushed: Seq) -> Pushed {
        match self {
            Self::Live { seq } if pushed == seq.next() => {
                *seq = pushed;
                Pushed::Deliver
            }
            Self::Live { seq } if pushed > *seq => {
                *self = Self::Behind {
                    seq: *seq,
                    cut: Cut::Never,
                };
                Pushed::FellBehind
            }
            _ => Pushed::Passed,
        }
    }

    /// The owner answered a subscription: its tail is `tail`; `known` is that or what was pushed
    /// since. With `lost` the tail went back behind what had been known when it was asked: a suffix
    /// of the history was replaced.
    pub(in crate::node::session) fn subscribed(
        &mut self,
        tail: Seq,
        known: Seq,
        lost: bool,
    ) -> Option<Gap> {
        match *self {
            Self::Waiting { position, cut } => {
                *self = Self::begin(position, Some(known), cut);
                None
            }
            Self::Live { seq } if lost && seq > tail => {
                *self = Self::Behind {
                    seq,
                    cut: Cut::Never,
                };
                self.measure(tail)
            }
            Self::Live { seq } if seq < tail => {
                *self = Self::Behind {
                    seq,
                    cut: Cut::Never,
                };
                None
            }
            Self::Live { .. } | Self::Behind { .. } => None,
        }
    }

    /// The event that was delivered last found no room: it is fetched when there is.
    pub(in crate::node::session) fn take_back(&mut self) {
        if let Self::Live { seq } = *self {
            *self = Self::Behind {
                seq: Seq(seq.0.saturating_sub(1)),
                cut: Cut::Always,
            };
        }
    }

    /// The next events must be fetched, whatever was pushed: used when the participant is gone.
    pub(super) fn fall_behind(&mut self) {
        match *self {
            Self::Waiting {
                position: Some(seq),
                cut,
            } => *self = Self::Behind { seq, cut },
            Self::Live { seq } => {
                *self = Self::Behind {
                    seq,
                    cut: Cut::Never,
                }
            }
            Self::Waiting { position: None, .. } | Self::Behind { .. } => {}
        }
    }

    /// Measures a cursor that is behind against the `end` of the answer to a fetch from exactly
    /// this cursor: beyond the end it falls back to it, and of a resume, or for a slow socket, only
    /// the newest events are kept.
    pub(super) fn measure(&mut self, end: Seq) -> Option<Gap> {
        let Self::Behind { seq, cut } = self else {
            return None;
        };
        let cuts = *cut != Cut::Never;
        if *cut == Cut::Once {
            *cut = Cut::Never;
        }

        if *seq > end {
            let gap = Gap {
                from: end.next(),
                to: *seq,
                reason: GapReason::Replaced,
            };
            *seq = end;
            return Some(gap);
        }

        if cuts && end.0 - seq.0 > RESUME_EVENTS_MAX {
            let to = Seq(end.0 - RESUME_EVENTS_MAX);
            let gap = Gap {
                from: seq.next(),
                to,
                reason: GapReason::TooFar,
            };
            *seq = to;
            return Some(gap);
        }

        None
    }

    /// Nothing is left before the last event of a closed conversation: the cursor passes over it.
    pub(super) fn pass_to(&mut self, last: Seq) -> Option<Gap> {
        let Self::Behind { seq, .. } = self else {
            return None;
        };
        let (from, to) = (seq.next(), Seq(last.0.saturating_sub(1)));
        let reason = GapReason::Closed;
        (from <= to).then(|| {
            *seq = to;
            Gap { from, to, reason }
        })
    }

    /// Everything up to `pruned` is gone for good: a cursor that is behind passes over it.
    pub(super) fn pass_pruned(&mut self, pruned: Seq) -> Option<Gap> {
        let Self::Behind { seq, .. } = self else {
            return None;
        };
        let (from, to, reason) = (seq.next(), pruned, GapReason::Pruned);
        (from <= to).then(|| {
            *seq = to;
            Gap { from, to, reason }
        })
    }

    /// An event of a fetched span: true when it is the next one, to be delivered.
    pub(in crate::node::session) fn fetched(&mut self, next: Seq) -> bool {
        match self {
            Self::Behind { seq, .. } if next == seq.next() => {
                *seq = next;
                true
            }
            _ => false,
        }
    }

    /// After a span: live when everything `known` is delivered.
    pub(super) fn catch_up(&mut self, known: Seq) -> bool {
        match *self {
            Self::Behind { seq, .. } if seq >= known => {
                *self = Self::Live { seq };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_seq_is_delivered_from_pushes() {
        let mut cursor = Cursor::begin(None, Some(Seq(5)), Cut::Once);
        assert_eq!(cursor, Cursor::Live { seq: Seq(5) });
        assert_eq!(cursor.pushed(Seq(5)), Pushed::Passed);
        assert_eq!(cursor.pushed(Seq(6)), Pushed::Deliver);
        assert_eq!(cursor.pushed(Seq(8)), Pushed::FellBehind);
        assert_eq!(
            cursor.pushed(Seq(7)),
            Pushed::Passed,
            "behind, only spans count"
        );
        assert!(cursor.fetched(Seq(7)));
        assert!(!cursor.catch_up(Seq(8)));
        assert!(cursor.fetched(Seq(8)));
        assert!(cursor.catch_up(Seq(8)));
    }

    #[test]
    fn a_resume_too_far_back_keeps_the_newest_thousand() {
        let mut cursor = Cursor::begin(Some(Seq(5)), Some(Seq(1_006)), Cut::Once);
        let too_far = Some(Gap {
            from: Seq(6),
            to: Seq(6),
            reason: GapReason::TooFar,
        });

        assert_eq!(
            (cursor.measure(Seq(1_006)), cursor.seq()),
            (too_far, Some(Seq(6)))
        );
        assert_eq!(
            cursor.measure(Seq(3_000)),
            None,
            "once: what comes meanwhile is fetched too"
        );

        let mut near = Cursor::begin(Some(Seq(5)), Some(Seq(1_005)), Cut::Once);
        assert_eq!((near.measure(Seq(1_005)), near.seq()), (None, Some(Seq(5))));
    }

    #[test]
    fn what_is_gone_is_a_gap_of_its_own_before_one_that_is_too_far() {
        let mut cursor = Cursor::begin(Some(Seq(5)), Some(Seq(3_000)), Cut::Once);
        let gap = |from, to, reason| {
            let (from, to) = (Seq(from), Seq(to));
            Some(Gap { from, to, reason })
        };
        assert_eq!(cursor.pass_pruned(Seq(100)), gap(6, 100, GapReason::Pruned));
        assert_eq!(
            cursor.measure(Seq(3_000)),
            gap(101, 2_000, GapReason::TooFar)
        );
        assert_eq!(cursor.pass_pruned(Seq(100)), None, "seen already");
        assert!(cursor.fetched(Seq(2_001)));

        let mut whole = Cursor::begin(Some(Seq(5)), Some(Seq(9)), Cut::Once);
        assert_eq!(whole.pass_pruned(Seq(9)), gap(6, 9, GapReason::Pruned));
        assert!(whole.catch_up(Seq(9)), "nothing is left, and it is live");
        assert_eq!(whole.pushed(Seq(10)), Pushed::Deliver);
    }

    #[test]
    fn what_a_session_missed_between_two_nodes_is_never_cut() {
        let mut cursor = Cursor::begin(Some(Seq(5)), None, Cut::Never);
        assert_eq!(cursor.subscribed(Seq(9_000), Seq(9_000), false), None);
        assert_eq!(
            (cursor.measure(Seq(9_000)), cursor.seq()),
            (None, Some(Seq(5)))
        );
    }

    #[test]
    fn a_socket_that_is_too_slow_gets_a_gap_whenever_it_is_more_than_a_thousand_behind() {
        let mut cursor = Cursor::Live { seq: Seq(5) };
        assert_eq!(cursor.pushed(Seq(6)), Pushed::Deliver);

        cursor.take_back();
        assert_eq!(
            cursor,
            Cursor::Behind {
                seq: Seq(5),
                cut: Cut::Always
            }
        );
        assert_eq!(cursor.measure(Seq(1_005)), None);

        for (from, to) in [(6, 1_000), (1_001, 2_000)] {
            let gap = Gap {
                from: Seq(from),
                to: Seq(to),
                reason: GapReason::TooFar,
            };
            assert_eq!(cursor.measure(Seq(to + 1_000)), Some(gap));
        }
    }

    #[test]
    fn a_position_past_the_tail_is_judged_by_the_owner_and_falls_back() {
        let mut cursor = Cursor::begin(Some(Seq(9)), Some(Seq(4)), Cut::Once);
        assert_eq!(
            cursor.measure(Seq(6)),
            Some(Gap {
                from: Seq(7),
                to: Seq(9),
                reason: GapReason::Replaced
            })
        );
        assert!(cursor.catch_up(Seq(6)));
        assert_eq!(cursor.pushed(Seq(7)), Pushed::Deliver);
    }

    #[test]
    fn a_cursor_waits_for_the_tail() {
        let mut cursor = Cursor::begin(Some(Seq(3)), None, Cut::Once);
        assert_eq!(cursor.pushed(Seq(4)), Pushed::Passed);
        assert_eq!(cursor.subscribed(Seq(3), Seq(4), false), None);
        assert_eq!(
            cursor,
            Cursor::Behind {
                seq: Seq(3),
                cut: Cut::Once
            }
        );
    }

    #[test]
    fn a_lost_suffix_is_told_as_replaced() {
        let mut cursor = Cursor::Live { seq: Seq(8) };
        let gap = cursor.subscribed(Seq(6), Seq(6), true);
        assert_eq!(
            gap,
            Some(Gap {
                from: Seq(7),
                to: Seq(8),
                reason: GapReason::Replaced
            })
        );
        assert_eq!(cursor.seq(), Some(Seq(6)));
    }
}
