//! Pure: where one session stands in one conversation. Inputs are the tail, pushed seqs, spans and ends; the outcome says
//! what to deliver and which gap to tell. A cursor moves only by one, or over an explicit gap (I9).
//!
//! A cursor is `Waiting` until the tail is known; `Live` when all that is known is delivered, so the next push continues
//! it; else `Behind`: pushes pass it by, and spans are fetched at the pace of the socket until it has caught up.

use crate::ids::Seq;
use crate::planted::{self, Protection};
use crate::protocol::{GapReason, RESUME_EVENTS_MAX};

/// A span that is not delivered on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// First seq not delivered.
    pub(super) from: Seq,
    /// Last one, inclusive.
    pub(super) to: Seq,
    /// Why.
    pub(super) reason: GapReason,
}

/// What a push means for a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The next one: deliver it.
    Deliver,
    /// Delivered before, or for later: nothing to do.
    Passed,
    /// Something before it is missing: fetch from the cursor on.
    FellBehind,
}

/// Where a session stands in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The tail is not known yet; starts at `position`, or at the tail.
    Waiting {
        /// Last seq seen, if the client or a `joined` event named one.
        position: Option<Seq>,
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
        /// Set from a position that was not yet measured against the tail.
        fresh: bool,
    },
}

impl Cursor {
    /// A cursor that starts after `position`, or at the tail without one.
    pub(super) fn begin(position: Option<Seq>, tail: Option<Seq>) -> (Self, Option<Gap>) {
        match (position, tail) {
            (position, None) => (Self::Waiting { position }, None),
            (None, Some(tail)) => (Self::Live { seq: tail }, None),
            (Some(seq), Some(tail)) if seq == tail => (Self::Live { seq }, None),
            // Past the tail that we know: only the owner can tell whether that seq exists.
            (Some(seq), Some(tail)) if seq > tail => (Self::Behind { seq, fresh: true }, None),
            (Some(seq), Some(tail)) => {
                let mut cursor = Self::Behind { seq, fresh: true };
                let gap = cursor.measure(tail);
                (cursor, gap)
            }
        }
    }

    /// Last seq delivered, or passed by a gap; none while waiting.
    pub(super) fn seq(&self) -> Option<Seq> {
        match self {
            Self::Waiting { .. } => None,
            Self::Live { seq } | Self::Behind { seq, .. } => Some(*seq),
        }
    }

    /// A committed event was pushed.
    pub(super) fn pushed(&mut self, pushed: Seq) -> Pushed {
        match self {
            Self::Live { seq } if pushed == seq.next() => {
                *seq = pushed;
                Pushed::Deliver
            }
            Self::Live { seq } if pushed > *seq => {
                *self = Self::Behind { seq: *seq, fresh: false };
                Pushed::FellBehind
            }
            _ => Pushed::Passed,
        }
    }

    /// The owner answered a subscription: its tail is `tail`; `known` is that or what was pushed since. With `lost` the
    /// tail went back behind what had been known when it was asked: a suffix of the history was replaced.
    pub(super) fn subscribed(&mut self, tail: Seq, known: Seq, lost: bool) -> Option<Gap> {
        match *self {
            Self::Waiting { position } => {
                let (cursor, gap) = Self::begin(position, Some(known));
                *self = cursor;
                gap
            }
            Self::Live { seq } if lost && seq > tail => {
                *self = Self::Behind { seq, fresh: false };
                self.measure(tail)
            }
            Self::Live { seq } if seq < tail => {
                *self = if planted::is_dropped(Protection::ResubscribeCursor) {
                    Self::Live { seq: tail }
                } else {
                    Self::Behind { seq, fresh: false }
                };
                None
            }
            Self::Live { .. } | Self::Behind { .. } => None,
        }
    }

    /// The next events must be fetched, whatever was pushed: used when the participant is gone.
    pub(super) fn fall_behind(&mut self) {
        match *self {
            Self::Waiting { position: Some(seq) } => *self = Self::Behind { seq, fresh: true },
            Self::Live { seq } => *self = Self::Behind { seq, fresh: false },
            Self::Waiting { position: None } | Self::Behind { .. } => {}
        }
    }

    /// Measures a cursor that is behind against the `end` of the answer to a fetch from exactly this cursor: beyond the
    /// end it falls back to it, and of a resume only the newest events are kept.
    pub(super) fn measure(&mut self, end: Seq) -> Option<Gap> {
        let Self::Behind { seq, fresh } = self else { return None };
        let was_fresh = std::mem::replace(fresh, false);
        if *seq > end {
            let gap = Gap { from: end.next(), to: *seq, reason: GapReason::Replaced };
            *seq = end;
            return Some(gap);
        }
        if was_fresh && end.0 - seq.0 > RESUME_EVENTS_MAX {
            let to = Seq(end.0 - RESUME_EVENTS_MAX);
            let gap = Gap { from: seq.next(), to, reason: GapReason::TooFar };
            *seq = to;
            return Some(gap);
        }
        None
    }

    /// An event of a fetched span: true when it is the next one, to be delivered.
    pub(super) fn fetched(&mut self, next: Seq) -> bool {
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
        let (mut cursor, gap) = Cursor::begin(None, Some(Seq(5)));
        assert_eq!((cursor, gap), (Cursor::Live { seq: Seq(5) }, None));
        assert_eq!(cursor.pushed(Seq(5)), Pushed::Passed);
        assert_eq!(cursor.pushed(Seq(6)), Pushed::Deliver);
        assert_eq!(cursor.pushed(Seq(8)), Pushed::FellBehind);
        assert_eq!(cursor.pushed(Seq(7)), Pushed::Passed, "behind, only spans count");
        assert!(cursor.fetched(Seq(7)));
        assert!(!cursor.catch_up(Seq(8)));
        assert!(cursor.fetched(Seq(8)));
        assert!(cursor.catch_up(Seq(8)));
    }

    #[test]
    fn a_resume_too_far_back_keeps_the_newest_thousand() {
        let (cursor, gap) = Cursor::begin(Some(Seq(5)), Some(Seq(1_006)));
        assert_eq!(gap, Some(Gap { from: Seq(6), to: Seq(6), reason: GapReason::TooFar }));
        assert_eq!(cursor.seq(), Some(Seq(6)));
        let (near, no_gap) = Cursor::begin(Some(Seq(5)), Some(Seq(1_005)));
        assert_eq!((near.seq(), no_gap), (Some(Seq(5)), None));
    }

    #[test]
    fn a_position_past_the_tail_is_judged_by_the_owner_and_falls_back() {
        let (mut cursor, gap) = Cursor::begin(Some(Seq(9)), Some(Seq(4)));
        assert_eq!(gap, None, "our tail may just be old");
        assert_eq!(cursor.measure(Seq(6)), Some(Gap { from: Seq(7), to: Seq(9), reason: GapReason::Replaced }));
        assert!(cursor.catch_up(Seq(6)));
        assert_eq!(cursor.pushed(Seq(7)), Pushed::Deliver);
    }

    #[test]
    fn a_cursor_waits_for_the_tail() {
        let (mut cursor, _) = Cursor::begin(Some(Seq(3)), None);
        assert_eq!(cursor.pushed(Seq(4)), Pushed::Passed);
        assert_eq!(cursor.subscribed(Seq(3), Seq(4), false), None);
        assert_eq!(cursor, Cursor::Behind { seq: Seq(3), fresh: false });
    }

    #[test]
    fn a_lost_suffix_is_told_as_replaced() {
        let mut cursor = Cursor::Live { seq: Seq(8) };
        let gap = cursor.subscribed(Seq(6), Seq(6), true);
        assert_eq!(gap, Some(Gap { from: Seq(7), to: Seq(8), reason: GapReason::Replaced }));
        assert_eq!(cursor.seq(), Some(Seq(6)));
    }
}
