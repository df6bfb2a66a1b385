//! Deciding writes against a conversation's head, which they advance at once: who decides which
//! write, and when its caller is answered.

use crate::ids::{ConversationName, Offset};
use crate::log::Stream;
use crate::problem::{Code, Problem};
use crate::shard::command::{Done, ShardError};
use crate::shard::write::head::{Head, not_participant};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::input::{Accepted, Asked, Waiter};
use crate::shard::write::owner::piece::Facts;
use crate::shard::write::owner::write::{Change, Write};

/// What a write comes to.
pub(super) enum Verdict {
    /// Its record has this offset.
    Written(Offset, Accepted),
    /// It has no record of its own. What it is told holds when everything up to this offset, which
    /// others wrote, is committed.
    Rests(Offset, Result<Accepted, Problem>),
}

impl Owner {
    pub(super) fn head(&self, name: &ConversationName) -> Option<&Head> {
        self.conversations
            .get(name)
            .and_then(ConversationState::head)
    }

    /// Decides a write, and answers it when everything that the answer rests on is committed.
    pub(super) fn decide(&mut self, name: &ConversationName, asked: Asked, facts: &Facts) {
        let stream = asked.write.stream();
        match self.verdict(name, &asked.write, facts) {
            Verdict::Written(offset, accepted) => {
                self.appenders[stream]
                    .wait(offset, Waiter::Write(asked.answer, Box::new(accepted)));
            }
            Verdict::Rests(until, outcome) => self.rest(stream, until, asked, outcome),
        }
    }

    fn verdict(&mut self, name: &ConversationName, write: &Write, facts: &Facts) -> Verdict {
        match write {
            Write::Create(create) => self.decide_create(name, create),
            Write::Send(send) => self.decide_send(name, send, facts),
            Write::Resubmit(event) => self.decide_resubmit(name, event, facts),
            Write::Add(add) => {
                let event = self.on_head(name, |head, now_ms| head.decide_add(add, now_ms));
                self.changed(name, event, (&add.by, Done::Added))
            }
            Write::Remove(remove) if remove.by == remove.user && self.head(name).is_none() => {
                Verdict::Rests(Offset(0), Ok(Accepted::Done(Done::Removed)))
            }
            Write::Remove(remove) => {
                let event = self.on_head(name, |head, now_ms| head.decide_remove(remove, now_ms));
                self.changed(name, event, (&remove.by, |_| Done::Removed))
            }
            Write::Update(update) => self.decide_update(name, update),
            Write::Close(close) => self.decide_close(name, close),
            Write::Erase { step, .. } => self.decide_step(name, *step),
            Write::Retire { outdated, step, .. } => self.decide_retire(name, (*outdated, step)),
            Write::Set(set) => self.decide_set(name, set),
            Write::Ban(ban) => self.decide_ban(name, ban),
            Write::Unban(unban) => self.decide_unban(name, unban),
            Write::Change {
                change: Change::Edit(edit),
                ..
            } => self.decide_edit(name, edit, facts),
            Write::Change {
                change: Change::Delete(delete),
                ..
            } => self.decide_delete(name, delete, facts),
            Write::Read {
                seq, user, origin, ..
            } => self.decide_read(name, *seq, user, *origin),
            Write::React {
                at,
                id,
                user,
                reaction,
            } => self.decide_react(name, (*id, at), user, (*reaction, facts)),
            Write::View(set) => self.decide_view(name, set),
            Write::OwnMark(set) => self.decide_own_mark(name, set),
            Write::Index(_) => Verdict::Rests(Offset(0), Ok(Accepted::Done(Done::Indexed))),
        }
    }

    /// Answers what has no record of its own when `until` is committed; at once when it is.
    fn rest(
        &mut self,
        stream: Stream,
        until: Offset,
        asked: Asked,
        outcome: Result<Accepted, Problem>,
    ) {
        if until <= self.appenders[stream].committed().offset {
            asked.answer.send(outcome.map_err(ShardError::from)).ok();
            return;
        }

        if let Some(mut problem) = self.too_many_rest() {
            if outcome.is_ok() {
                // An earlier request may have written it.
                let detail = "too many requests wait for the log; the write may yet appear, retry with the same key";
                problem = Problem::new(Code::OutcomeUnknown, detail);
            }
            asked.answer.send(Err(problem.into())).ok();
            return;
        }

        // Nothing was written, and whoever cannot wait may say so; but not of what an earlier
        // request may have written.
        if outcome.is_err() {
            asked.fate.reopen();
        }
        self.appenders[stream].wait(until, Waiter::Rests(Box::new(asked), Box::new(outcome)));
    }

    pub(super) fn on_head<T>(
        &self,
        name: &ConversationName,
        decide: impl FnOnce(&Head, u64) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.head(name)
            .map_or_else(|| Err(not_participant()), |head| decide(head, self.now()))
    }

    /// Offset of the last change of who participates; 0 when that is long applied.
    pub(super) fn members_changed(&self, name: &ConversationName) -> Offset {
        self.conversations
            .get(name)
            .map_or(Offset(0), |state| state.members_changed)
    }

    /// Offset of the last record of a conversation, committed or not; 0 when it is applied.
    pub(super) fn last_touched(&self, name: &ConversationName) -> Offset {
        let last = self
            .conversations
            .get(name)
            .and_then(|state| state.tail.back());
        last.map_or(Offset(0), |(offset, _)| *offset)
    }
}

/// The refusal of whoever may not know whether a message exists.
pub(in crate::shard) fn message_unknown() -> Problem {
    Problem::new(
        Code::MessageUnknown,
        "there is no such message in your conversations",
    )
}
