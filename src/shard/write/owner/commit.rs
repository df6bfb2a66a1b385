//! After the append: what a committed batch sets free, what a lost one takes back, and the
//! housekeeping around it.

use std::sync::Arc;

use crate::ids::Offset;
use crate::log::record::{Record, Tail};
use crate::log::{PerStream, Stream};
use crate::problem::{Code, Problem};
use crate::shard::command::{IndexItem, Push, ShardError};
use crate::shard::write::append::{Decided, Ended};
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::input::Waiter;
use crate::shard::write::owner::parking::no_space;
use crate::shard::write::owner::piece::WorkKind;
use crate::shard::write::owner::work::Again;
use crate::shard::write::owner::{End, Owner};
use crate::telemetry;

/// Conversations looked at per eviction.
const EVICT_STEPS: usize = 64;

impl Owner {
    /// Takes in the end of a stream's batch. True when the shard is lost.
    pub(super) fn batch_ended(&mut self, stream: Stream, end: End) -> bool {
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
            Record::Advances { conversation, .. } => {
                for push in &decided.pushes {
                    if let Push::Watermark {
                        user,
                        targets,
                        read,
                        ..
                    } = push
                    {
                        let mut to = targets.clone();
                        to.extend(read.then(|| user.clone()));
                        self.subscriptions.push_to(conversation, push, Some(&to));
                    }
                }
            }
            Record::Reaction { conversation, .. } => {
                for push in &decided.pushes {
                    self.subscriptions.push_to(conversation, push, None);
                }
            }
            _ => {}
        }
    }

    /// A batch is surely not in the log: everything decided on that stream since the committed tail
    /// is void. What was built on it in memory is dropped and filled again from SQLite, once that
    /// has what was committed.
    fn take_back(&mut self, stream: Stream) {
        let committed = self.appenders[stream].committed().offset;
        let problem = if self.parking.is_full() {
            no_space()
        } else {
            Problem::unavailable("the log refused to write; nothing was written, retry later")
        };
        let mut again = Vec::new();
        for (offset, waiter) in self.appenders[stream].take_waiting() {
            match waiter {
                _ if offset <= committed => fail(waiter, false),
                Waiter::Write(answer, _) => drop(answer.send(Err(problem.clone().into()))),
                waiter => again.extend(undecided(waiter)),
            }
        }
        match stream {
            Stream::Messages => self.take_back_messages(committed),
            Stream::Receipts => {
                for state in self.conversations.values_mut() {
                    state.marks = None;
                    state.receipts_touched = state.receipts_touched.min(committed);
                    state.reaction_touched = state.reaction_touched.min(committed);
                }
                self.fill_floor.receipts = committed;
            }
        }
        self.again(again);
    }

    fn take_back_messages(&mut self, committed: Offset) {
        while let Some((_, record)) = self
            .unapplied
            .pop_back_if(|(offset, _)| *offset > committed)
        {
            // What was delivered stays delivered: it is told to the log again.
            if let Record::OutboxProgress { upto } = record {
                self.outbox_progress = self.outbox_progress.max(Some(upto));
            }
        }
        for state in self.conversations.values_mut() {
            state.known = Known::No;
            state.tail.retain(|(offset, _)| *offset <= committed);
            state.keys.retain(|_, used| used.offset <= committed);
            state.members_changed = state.members_changed.min(committed);
            state.weigh(&mut self.heads_taken);
        }
        self.take_back_stamped(committed);
        self.messages.take_back(committed);
        self.index_touched.clear();
        self.index_recent.clear();
        for (offset, record) in &self.unapplied {
            if let Record::Index(change) = record {
                self.index_touched.insert(change.user.clone(), *offset);
                let of = (change.user.clone(), change.conversation.clone());
                self.index_recent.insert(of, (change.seq, *offset));
            }
        }
        self.fill_floor.messages = committed;
    }

    /// SQLite has everything of the messages stream up to there: memory need not keep it.
    pub(super) fn applied(&mut self, upto: Offset) {
        while self
            .unapplied
            .front()
            .is_some_and(|(offset, _)| *offset <= upto)
        {
            let Some((offset, record)) = self.unapplied.pop_front() else {
                return;
            };
            match record {
                Record::Event(event) => {
                    if let Some(id) = event.kind.message_id() {
                        self.messages.applied(id, offset);
                    }
                    let Some(state) = self.conversations.get_mut(&event.conversation) else {
                        continue;
                    };
                    while state.tail.pop_front_if(|(at, _)| *at <= offset).is_some() {}
                    if let Some(key) = event.key.as_ref().filter(|key| !key.stamped) {
                        state
                            .keys
                            .remove(&(event.actor().clone(), Arc::clone(&key.key)));
                    }
                }
                Record::KeyUsed(used) => self.used_key_applied(&used),
                Record::Index(change) => {
                    if self.index_touched.get(&change.user) == Some(&offset) {
                        self.index_touched.remove(&change.user);
                    }
                    let of = (change.user.clone(), change.conversation.clone());
                    if self
                        .index_recent
                        .get(&of)
                        .is_some_and(|(_, last)| *last == offset)
                    {
                        self.index_recent.remove(&of);
                    }
                }
                _ => {}
            }
        }
        self.evict();
    }

    /// Drops heads that were not used for long, down to the limit; never one with anything
    /// unapplied.
    pub(super) fn evict(&mut self) {
        let receipts_applied = self.setup.applied.receipts.borrow().offset;
        for _ in 0..EVICT_STEPS {
            if !self.has_too_many_heads() {
                return;
            }
            let Some(name) = self.order.pop_front() else {
                return;
            };
            let Some(state) = self.conversations.get_mut(&name) else {
                continue;
            };
            if !state.used && state.is_evictable(receipts_applied) {
                self.heads_taken.change(state.bytes, 0);
                self.conversations.remove(&name);
            } else {
                state.used = false;
                state.weigh(&mut self.heads_taken);
                self.order.push_back(name);
            }
        }
    }

    pub(super) fn housekeeping(&mut self) {
        self.expire_stamped();
        self.tidy_parked();
        self.appenders.messages.expire_retained();
        self.appenders.receipts.expire_retained();
        self.subscriptions.tell_lagged();
        self.typists.tidy(self.setup.clock.since_boot());
        self.look_at_presence();
        self.appenders
            .messages
            .retain_waiting(|waiter| !waiter.is_abandoned());
        self.appenders
            .receipts
            .retain_waiting(|waiter| !waiter.is_abandoned());
        self.log_progress();
        self.mark_time();
        // Also when nothing else happens here: other shards may need the memory.
        self.evict();
        self.set_gauges();
    }

    /// Has the log keep how far the outbox is delivered, if that is news.
    pub(super) fn log_progress(&mut self) {
        if let Some(upto) = self
            .outbox_progress
            .take_if(|_| !self.closing && !self.parking.is_stalled())
        {
            let record = Record::OutboxProgress { upto };
            let offset = self.appenders.messages.decide(record.clone(), Vec::new());
            self.unapplied.push_back((offset, record));
        }
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a gauge is a float, and this one a ratio"
    )]
    fn set_gauges(&self) {
        let shard = self.setup.shard.0.to_string();
        let heads = f64::from(u32::try_from(self.conversations.len()).unwrap_or(u32::MAX));
        telemetry::HEADS.set(heads, &[("shard", &shard)]);
        let online = f64::from(u32::try_from(self.presences.online()).unwrap_or(u32::MAX));
        telemetry::USERS_ONLINE.set(online, &[("shard", &shard)]);
        telemetry::HEADS_BYTES.set(self.heads_taken.bytes() as f64, &[("shard", &shard)]);
        let fill = self.untrimmed_bytes() as f64 / self.setup.stream_bytes_max.max(1) as f64;
        telemetry::STREAM_FILL.set(fill, &[("shard", &shard)]);
        telemetry::SHARD_LOG_FULL.set(
            f64::from(u8::from(self.parking.is_full())),
            &[("shard", &shard)],
        );
    }
}

/// What of a waiter is to be decided, or asked, anew; nothing when its caller has left.
fn undecided(waiter: Waiter) -> Option<Again> {
    if waiter.is_abandoned() {
        return None;
    }
    let (conversation, turn, kind) = match waiter {
        Waiter::Write(..) => return None,
        Waiter::Rests(asked, _) | Waiter::Later(asked) => {
            asked.fate.reopen();
            (
                asked.write.conversation()?.clone(),
                asked.turn,
                WorkKind::Write(*asked),
            )
        }
        Waiter::Ticket {
            conversation,
            reader,
            want,
            answer,
            ..
        } => (
            conversation,
            u64::MAX,
            WorkKind::Begin {
                reader,
                want,
                answer,
            },
        ),
        Waiter::Subscribe {
            subscriber,
            conversation,
            user,
            answer,
        } => (
            conversation,
            u64::MAX,
            WorkKind::Subscribe {
                subscriber,
                user,
                answer,
            },
        ),
    };
    Some(Again {
        conversation,
        turn,
        kind,
    })
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

/// Whether the outbox has rows of a record.
fn has_rows(record: &Record) -> bool {
    matches!(record, Record::Event(event) if event.kind.changes_members())
}
