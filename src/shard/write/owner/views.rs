//! Participants' own views (ADR 28): what they set for themselves alone, and up to where they count
//! as having read.

use std::sync::Arc;

use crate::ids::{ConversationName, Offset, Seq, UserId};
use crate::log::record::{OwnMark, Record, VIEWS_SINCE, ViewChange};
use crate::problem::{Code, Problem};
use crate::shard::command::{Done, Push, SetOwnMark, SetView};
use crate::shard::file::store::View;
use crate::shard::write::head::{Head, not_participant};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::{Known, Mark};
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;

impl Owner {
    pub(super) fn decide_view(&mut self, name: &ConversationName, set: &SetView) -> Verdict {
        let until = self.members_changed(name);
        let Some(head) = self.head(name) else {
            return Verdict::Rests(until, Err(not_participant()));
        };
        let Some(standing) = head.participants.get(&set.by) else {
            return Verdict::Rests(until, Err(head.refusal(&set.by)));
        };

        let (joined, before) = (standing.joined, head.own_view(&set.by));
        let now = View {
            revision: before.revision,
            notify_after: set.notify_after.over(before.notify_after),
            pinned: set.pinned.over(before.pinned),
            archived: set.archived.unwrap_or(before.archived),
        };
        if now == before {
            let until = until.max(self.views_touched(name));
            return Verdict::Rests(until, Ok(Accepted::Done(Done::Marked)));
        }
        if let Some(problem) = self.not_all_read(VIEWS_SINCE) {
            return Verdict::Rests(until, Err(problem));
        }

        let now = View {
            revision: before.revision + 1,
            ..now
        };
        let offset = self.append_view(name, (&set.by, joined), now);
        let accepted = Accepted::Changed {
            done: Done::Marked,
            offset,
            users: 1,
        };
        Verdict::Written(offset, accepted)
    }

    fn append_view(
        &mut self,
        name: &ConversationName,
        (user, joined): (&UserId, Seq),
        now: View,
    ) -> Offset {
        let record = Record::Viewed(Arc::new(ViewChange {
            conversation: name.clone(),
            user: user.clone(),
            joined,
            revision: now.revision,
            notify_after: now.notify_after,
            pinned: now.pinned,
            archived: now.archived,
            at: self.now(),
        }));
        let state = self.conversations.get_mut(name);
        let marks = state.as_ref().and_then(|state| state.marks.as_ref());
        let mark = marks.and_then(|marks| marks.get(user));
        let read_up_to = mark.copied().unwrap_or_default().own_since(joined);

        let push = pushed(name, user, (now, read_up_to));
        let offset = self.appenders.messages.decide(record.clone(), vec![push]);
        self.unapplied.push_back((offset, record));
        if let Some(state) = state {
            if let Known::Head(head) = &mut state.known {
                head.views.insert(user.clone(), now);
            }
            state.views_touched = offset;
        }
        offset
    }

    /// Decides up to where a participant counts as having read. That they take part, and their
    /// view, are committed: see `receipt_waits`.
    pub(super) fn decide_own_mark(&mut self, name: &ConversationName, set: &SetOwnMark) -> Verdict {
        let (at, gate) = (self.now(), self.not_all_read(VIEWS_SINCE));
        let committed = self.appenders.messages.committed().offset;
        let refused = |problem| Verdict::Rests(Offset(0), Err(problem));
        let Some(state) = self.conversations.get_mut(name) else {
            return refused(not_participant());
        };
        let last = state.committed_seq(committed);
        let Known::Head(head) = &state.known else {
            return refused(not_participant());
        };
        let Some(standing) = head.participants.get(&set.by) else {
            return refused(head.refusal(&set.by));
        };

        if set.read_up_to > last {
            let detail = format!("read_up_to is at most the last seq, which is {last}");
            return refused(Problem::new(Code::Invalid, detail));
        }
        let joined = standing.joined;
        let read_up_to = set.read_up_to.max(Seq(joined.0.saturating_sub(1)));
        let marks = state.marks.get_or_insert_default();
        let mark = marks.entry(set.by.clone()).or_default();
        if mark.own_since(joined) == read_up_to {
            return Verdict::Rests(state.receipts_touched, Ok(Accepted::Done(Done::Marked)));
        }
        if let Some(problem) = gate {
            return refused(problem);
        }

        mark.own = Some(read_up_to);
        let push = own_push(head, name, (&set.by, read_up_to));
        let record = Record::OwnMark(Arc::new(OwnMark {
            conversation: name.clone(),
            user: set.by.clone(),
            read_up_to,
            at,
        }));
        let offset = self.appenders.receipts.decide(record, vec![push]);
        state.receipts_touched = offset;
        Verdict::Written(offset, Accepted::Done(Done::Marked))
    }

    /// Offset of the last change of somebody's own view; 0 when that is long applied.
    fn views_touched(&self, name: &ConversationName) -> Offset {
        let state = self.conversations.get(name);
        state.map_or(Offset(0), |state| state.views_touched)
    }
}

impl Mark {
    /// Up to where others are shown that they have read, who joined there.
    pub(super) fn read_since(&self, joined: Seq) -> Seq {
        self.read.max(joined)
    }

    /// Up to where they count as having read themselves. What they said in an earlier membership
    /// does not count: it is below the seq before their join.
    pub(super) fn own_since(&self, joined: Seq) -> Seq {
        self.own
            .filter(|own| own.0.saturating_add(1) >= joined.0)
            .unwrap_or_else(|| self.read_since(joined))
    }

    /// They have read up to there. Returns whether that moves what others are shown, and whether
    /// it moves what they count as having read.
    pub(super) fn read_to(&mut self, seq: Seq, joined: Seq) -> (bool, bool) {
        let moved = (seq > self.read_since(joined), seq > self.own_since(joined));
        self.read = if moved.0 { seq } else { self.read };
        self.delivered = self.delivered.max(seq);
        self.own = self.own.map(|own| own.max(seq));
        moved
    }
}

/// The push that tells a user of their own view, whose mark is there now.
pub(super) fn own_push(head: &Head, name: &ConversationName, of: (&UserId, Seq)) -> Push {
    let (user, read_up_to) = of;
    pushed(name, user, (head.own_view(user), read_up_to))
}

fn pushed(name: &ConversationName, user: &UserId, (view, read_up_to): (View, Seq)) -> Push {
    Push::View {
        conversation: name.clone(),
        user: user.clone(),
        notify_after: view.notify_after,
        pinned: view.pinned,
        archived: view.archived,
        read_up_to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(read: u64, own: Option<u64>) -> Mark {
        Mark {
            delivered: Seq(read),
            read: Seq(read),
            own: own.map(Seq),
        }
    }

    #[test]
    fn a_read_moves_each_mark_that_is_behind_it() {
        let cases = [
            (mark(0, None), 5, (true, true)),
            (mark(5, None), 5, (false, false)),
            (mark(10, Some(3)), 5, (false, true)),
            (mark(10, Some(3)), 3, (false, false)),
            (mark(5, Some(10)), 7, (true, false)),
            (mark(5, Some(4)), 7, (true, true)),
        ];
        for (before, seq, moved) in cases {
            let mut after = before;
            assert_eq!(after.read_to(Seq(seq), Seq(1)), moved, "{before:?} {seq}");
            assert_eq!(
                after.read_since(Seq(1)),
                before.read_since(Seq(1)).max(Seq(seq))
            );
            assert_eq!(
                after.own_since(Seq(1)),
                before.own_since(Seq(1)).max(Seq(seq))
            );
        }
    }

    #[test]
    fn what_was_said_in_an_earlier_membership_does_not_count() {
        let before = mark(9, Some(4));
        assert_eq!(before.own_since(Seq(5)), Seq(4));
        assert_eq!(before.own_since(Seq(6)), Seq(9));
        assert_eq!(mark(2, Some(4)).own_since(Seq(20)), Seq(20));
    }
}
