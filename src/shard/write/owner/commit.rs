//! After the append: what a committed batch sets free, in the order of its records, and what
//! becomes of those who waited for one that is not.

use crate::ids::ConversationName;
use crate::log::lane::Definite;
use crate::log::record::{EventKind, Pruning, Record, Tail};
use crate::log::{PerStream, Stream};
use crate::problem::{Code, Problem};
use crate::shard::command::{IndexItem, Push, ShardError};
use crate::shard::write::append::{Decided, Ended};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::anew::undecided;
use crate::shard::write::owner::input::Waiter;

impl Owner {
    /// Takes in the end of a stream's batch. True when the shard is lost.
    pub(super) fn batch_ended(&mut self, stream: Stream, end: Definite) -> bool {
        match self.appenders[stream].ended(end) {
            Ended::Committed(records) => {
                self.committed(stream, records);
                false
            }
            Ended::NotWritten(reason) => {
                // For want of space everything is refused; the lane tells that once.
                if !self.parking.is_full() {
                    tracing::warn!(shard = %self.setup.shard, stream = stream.as_str(), reason, "append refused by the log");
                }
                self.take_back(stream);
                // What announces the epoch is decided once: whoever opens the shard again does so
                // then.
                let unannounced = !self.is_announced();
                self.closing |= unannounced;
                unannounced
            }
            Ended::Lost { reason, doubted } => {
                tracing::warn!(shard = %self.setup.shard, stream = stream.as_str(), reason, "the shard is given up");
                // Only this stream's batch had a chance; but a caller cannot tell them apart.
                self.closing = true;
                if !doubted {
                    for (_, waiter) in self.appenders[stream].take_waiting() {
                        fail(waiter, false);
                    }
                }
                true
            }
        }
    }

    fn committed(&mut self, stream: Stream, records: Vec<Decided>) {
        let tail = self.appenders[stream].committed();
        // Before any answer: whoever has one must find that there may be rows to deliver.
        if let Some(last) = records.iter().rfind(|decided| has_rows(&decided.record)) {
            self.setup.outbox_due.send_replace(last.offset);
        }
        let mut again = Vec::new();

        // Answers first: whoever waits longest.
        while let Some(waiter) = self.appenders[stream].ready() {
            match waiter {
                Waiter::Write(answer, accepted) => drop(answer.send(Ok(*accepted))),
                // Not decided anew: what came after it was decided as if it had been answered.
                Waiter::Rests(asked, outcome) => {
                    drop(asked.answer.send((*outcome).map_err(ShardError::from)))
                }
                Waiter::Ticket {
                    answer, outcome, ..
                } => drop(answer.send(*outcome)),
                waiter @ (Waiter::Later(_) | Waiter::Subscribe { .. }) => {
                    again.extend(undecided(waiter))
                }
            }
        }

        for decided in records {
            if is_closing(&decided.record) {
                // Before the file can have it: whoever reads that finds this moved.
                self.setup.closings.send_replace(decided.offset);
            }
            self.push(decided);
        }

        self.setup.committed[stream].send_replace(tail);
        // After the pushes: what is registered now gets only what is committed later.
        self.again(again);
    }

    /// Where the streams are committed.
    pub(super) fn committed_tails(&self) -> PerStream<Tail> {
        PerStream::from_fn(|stream| self.appenders[stream].committed())
    }

    fn push(&mut self, decided: Decided) {
        match &decided.record {
            Record::Event(event) => {
                for push in &decided.pushes {
                    self.subscriptions.push_event(event, push);
                }
                self.typing_ends(event);
            }
            // A list is read anew; sessions are told by the conversation.
            Record::Index(change) if change.view.is_some() => {}
            Record::Index(change) => {
                let (conversation, seq, joined) =
                    (change.conversation.clone(), change.seq, change.joined);
                let item = IndexItem {
                    conversation,
                    seq,
                    joined,
                    version: decided.offset,
                };
                let push = Push::Index {
                    user: change.user.clone(),
                    item,
                };
                self.subscriptions.push_index(&change.user, &push);
            }
            Record::Advances { conversation, .. } => self.push_marks(conversation, &decided.pushes),
            Record::Viewed(change) => self.push_marks(&change.conversation, &decided.pushes),
            Record::OwnMark(mark) => self.push_marks(&mark.conversation, &decided.pushes),
            Record::Reaction { conversation, .. }
            | Record::Pruned(Pruning { conversation, .. }) => {
                for push in &decided.pushes {
                    self.subscriptions.push_to(conversation, push, None);
                }
            }
            _ => {}
        }
    }
}

impl Owner {
    /// Pushes what is for certain users alone.
    fn push_marks(&mut self, conversation: &ConversationName, pushes: &[Push]) {
        for push in pushes {
            let to = match push {
                Push::Watermark {
                    user,
                    targets,
                    read,
                    ..
                } => {
                    let mut to = targets.clone();
                    to.extend(read.then(|| user.clone()));
                    to
                }
                Push::View { user, .. } => vec![user.clone()],
                _ => continue,
            };
            self.subscriptions.push_to(conversation, push, Some(&to));
        }
    }
}

/// Answers a waiter whose record did not get its commit.
pub(super) fn fail(waiter: Waiter, doubted: bool) {
    let unwritten = || {
        if !doubted {
            return ShardError::NotOwner;
        }
        let detail = "the shard moved while this was being written; retry with the same key";
        Problem::new(Code::OutcomeUnknown, detail).into()
    };
    match waiter {
        Waiter::Write(answer, _) => drop(answer.send(Err(unwritten()))),
        // What it asks for may have been written by an earlier one.
        Waiter::Rests(asked, outcome) if outcome.is_ok() => {
            drop(asked.answer.send(Err(unwritten())))
        }
        Waiter::Rests(asked, _) | Waiter::Later(asked) => {
            drop(asked.answer.send(Err(ShardError::NotOwner)))
        }
        Waiter::Ticket { answer, .. } => {
            answer
                .send(Err(Problem::unavailable("the shard moves; retry")))
                .ok();
        }
        Waiter::Subscribe { answer, .. } => {
            answer
                .send(Err(Problem::unavailable("the shard moves; ask again")))
                .ok();
        }
    }
}

/// Whether a conversation is closed by a record.
fn is_closing(record: &Record) -> bool {
    matches!(record, Record::Event(event) if matches!(event.kind, EventKind::Closed { .. }))
}

/// Whether the outbox has rows of a record.
fn has_rows(record: &Record) -> bool {
    match record {
        Record::Event(event) => event.kind.changes_members(),
        Record::Viewed(_) => true,
        _ => false,
    }
}
