//! Deciding writes of the messages stream against a conversation's head, which they advance at
//! once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, UserId};
use crate::log::Stream;
use crate::log::record::{Event, EventKind, IndexChange, Record};
use crate::problem::{Code, Problem};
use crate::protocol::{Conversation, Message};
use crate::shard::command::{Create, Done, Push, Send, ShardError, core_of};
use crate::shard::write::head::decide_create as begin_conversation;
use crate::shard::write::head::{Head, decide_create_again, idempotency_conflict, not_participant};
use crate::shard::write::message::{message_deleted, overtaken};
use crate::shard::write::owner::conversation::{ConversationState, Known, UsedKey};
use crate::shard::write::owner::input::{Accepted, Asked, Change, Waiter, Write};
use crate::shard::write::owner::piece::Facts;
use crate::shard::write::owner::{Owner, messages};

type WriteAnswer = oneshot::Sender<Result<Accepted, ShardError>>;

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
        let stream = if asked.write.receipt_of().is_some() {
            Stream::Receipts
        } else {
            Stream::Messages
        };
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
                self.changed(name, event, Done::Added)
            }
            Write::Remove(remove) if remove.by == remove.user && self.head(name).is_none() => {
                Verdict::Rests(Offset(0), Ok(Accepted::Done(Done::Removed)))
            }
            Write::Remove(remove) => {
                let event = self.on_head(name, |head, now_ms| head.decide_remove(remove, now_ms));
                self.changed(name, event, |_| Done::Removed)
            }
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
                id,
                user,
                reaction,
                deleted,
                ..
            } => self.decide_react(name, (*id, *deleted), user, *reaction),
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

    fn on_head<T>(
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

    fn decide_create(&mut self, name: &ConversationName, create: &Create) -> Verdict {
        let users = u32::try_from(create.participants.len()).unwrap_or(u32::MAX);
        if let Some(head) = self.head(name) {
            let offset = head.created_offset;
            return match decide_create_again(head, create) {
                Ok(()) => {
                    let again = Accepted::Created {
                        view: head.view(name),
                        replayed: true,
                        offset,
                        users,
                    };
                    Verdict::Rests(self.last_touched(name), Ok(again))
                }
                Err(problem) => Verdict::Rests(offset, Err(problem)),
            };
        }
        let offset = self.append_event(begin_conversation(create, self.now()));
        match self.head(name) {
            Some(head) => Verdict::Written(
                offset,
                Accepted::Created {
                    view: head.view(name),
                    replayed: false,
                    offset,
                    users,
                },
            ),
            None => Verdict::Rests(
                offset,
                Err(Problem::unavailable(
                    "the conversation was not begun; retry",
                )),
            ),
        }
    }

    fn changed(
        &mut self,
        name: &ConversationName,
        event: Result<Option<Event>, Problem>,
        done: impl FnOnce(Conversation) -> Done,
    ) -> Verdict {
        let event = match event {
            Ok(event) => event,
            Err(problem) => return Verdict::Rests(self.members_changed(name), Err(problem)),
        };
        let users = match event.as_ref().map(|event| &event.kind) {
            Some(EventKind::Joined { users, .. }) => u32::try_from(users.len()).unwrap_or(u32::MAX),
            Some(EventKind::Left { .. }) => 1,
            _ => 0,
        };
        let written = event.map(|event| self.append_event(event));
        let offset = written.unwrap_or_else(|| self.last_touched(name));
        let done = self
            .head(name)
            .map(|head| head.view(name))
            .map_or(Done::Removed, done);
        let accepted = Accepted::Changed {
            done,
            offset,
            users,
        };
        match written {
            Some(at) => Verdict::Written(at, accepted),
            None => Verdict::Rests(offset, Ok(accepted)),
        }
    }

    fn decide_send(&mut self, name: &ConversationName, send: &Send, facts: &Facts) -> Verdict {
        let members_changed = self.members_changed(name);
        let refused = |problem| Verdict::Rests(members_changed, Err(problem));
        let Some(state) = self.conversations.get(name) else {
            return refused(not_participant());
        };
        let Some(head) = state.head().filter(|head| head.may_send(&send.source)) else {
            return refused(not_participant());
        };
        let hashed = self.setup.agreed.of_send(send);
        if let Some(used) = self.used_before(state, name, (&send.source, send.key.as_ref()), facts)
        {
            let until = used.offset.max(members_changed);
            if !hashed.is(used.fingerprint) {
                return Verdict::Rests(until, Err(idempotency_conflict()));
            }
            return Verdict::Rests(
                until,
                Ok(Accepted::SentAgain {
                    conversation: name.clone(),
                    seq: used.seq,
                }),
            );
        }
        if let Some((until, problem)) = send
            .reply_to
            .and_then(|id| self.refused_reply(name, id, facts))
        {
            return Verdict::Rests(until.max(members_changed), Err(problem));
        }
        if let Some(problem) = self.not_all_read().filter(|_| send.has_more()) {
            return refused(problem);
        }
        if self.was_overtaken(state, name, (&send.source, &send.unless), facts) {
            return Verdict::Rests(self.last_touched(name), Err(overtaken()));
        }
        let event = match head.decide_send(send, hashed.to_write(), self.now(), rand::random()) {
            Ok(event) => event,
            Err(problem) => return refused(problem),
        };
        let Some(message) = message_of(&event) else {
            return refused(Problem::unavailable(
                "the message could not be built; retry",
            ));
        };
        Verdict::Written(
            self.append_event(event),
            Accepted::Done(Done::Sent {
                message,
                replayed: false,
            }),
        )
    }

    /// A message after which this one may not be written any more was written; likewise for edits.
    pub(super) fn was_overtaken(
        &self,
        state: &ConversationState,
        name: &ConversationName,
        (sender, unless): (&UserId, &[IdempotencyKey]),
        facts: &Facts,
    ) -> bool {
        let is_in_memory = |key: &IdempotencyKey| {
            let of = (sender.clone(), Arc::clone(&key.key));
            state.keys.contains_key(&of) || self.stamped.contains_key(&(name.clone(), of.0, of.1))
        };
        facts.later == Some(true) || unless.iter().any(is_in_memory)
    }

    /// Why a message cannot be replied to, and up to which offset that has to be committed.
    fn refused_reply(
        &self,
        name: &ConversationName,
        id: MessageId,
        facts: &Facts,
    ) -> Option<(Offset, Problem)> {
        let in_memory = self
            .messages
            .now(id)
            .map(|(offset, message)| (*offset, &message.at));
        let at = in_memory.or_else(|| Some((Offset(0), facts.reply_to.as_ref()?.as_ref()?)));
        match at.filter(|(_, at)| at.conversation == *name) {
            Some((until, at)) => at.deleted.then(|| (until, message_deleted())),
            None => {
                let detail = "the message of reply_to is not in this conversation";
                Some((Offset(0), Problem::new(Code::ReplyToUnknown, detail)))
            }
        }
    }

    /// What a key made before, if anything: as memory knows it, else as the file told.
    pub(super) fn used_before(
        &self,
        state: &ConversationState,
        name: &ConversationName,
        (sender, key): (&UserId, Option<&IdempotencyKey>),
        facts: &Facts,
    ) -> Option<UsedKey> {
        let key = key?;
        let of = (sender.clone(), Arc::clone(&key.key));
        let in_memory = state
            .keys
            .get(&of)
            .or_else(|| self.stamped.get(&(name.clone(), of.0, of.1)));
        in_memory.cloned().or_else(|| {
            let row = facts.key.clone().flatten()?;
            Some(UsedKey {
                fingerprint: row.fingerprint,
                seq: row.seq,
                offset: Offset(0),
            })
        })
    }

    /// Puts an event into the batch and advances the head, the tail, the keys and the index of ids
    /// with it.
    pub(super) fn append_event(&mut self, event: Event) -> Offset {
        let event = Arc::new(event);
        let name = event.conversation.clone();
        let epoch = self.setup.token.epoch;
        let push = Push::Event {
            epoch,
            event: Arc::clone(&event),
        };
        let offset = self
            .appenders
            .messages
            .decide(Record::Event(Arc::clone(&event)), vec![push]);
        self.unapplied
            .push_back((offset, Record::Event(Arc::clone(&event))));
        let state = self.conversations.entry(name.clone()).or_default();
        match &mut state.known {
            Known::Head(head) => head.advance(&event),
            known => {
                if let Some(head) = Head::begun(&event, offset) {
                    *known = Known::Head(Box::new(head));
                    state.marks = Some(HashMap::new());
                }
            }
        }
        state.tail.push_back((offset, Arc::clone(&event)));
        if event.kind.changes_members() {
            state.members_changed = offset;
        }
        if let Some((id, message)) = messages::sent(&event) {
            self.messages.push(id, offset, message);
        }
        let seq = match &event.kind {
            EventKind::Message { .. } => Some(event.seq),
            EventKind::Edited { message_seq, .. } => Some(*message_seq),
            _ => None,
        };
        if let (Some(key), Some(seq)) = (&event.key, seq) {
            let used = UsedKey {
                fingerprint: key.fingerprint,
                seq,
                offset,
            };
            self.remember_key(&name, event.actor(), key, used);
        }
        offset
    }

    /// Index changes go into the batch as they come: which is newer is decided by seq when they are
    /// applied.
    pub(super) fn decide_index(&mut self, changes: Vec<IndexChange>, answer: WriteAnswer) {
        let mut last = Offset(0);
        for change in changes {
            let of = (change.user.clone(), change.conversation.clone());
            if let Some((seq, offset)) = self.index_recent.get(&of)
                && *seq >= change.seq
            {
                last = last.max(*offset);
                continue;
            }
            let (user, seq) = (change.user.clone(), change.seq);
            let record = Record::Index(Arc::new(change));
            let offset = self.appenders.messages.decide(record.clone(), Vec::new());
            self.unapplied.push_back((offset, record));
            self.index_touched.insert(user, offset);
            self.index_recent.insert(of, (seq, offset));
            last = last.max(offset);
        }
        let accepted = Accepted::Done(Done::Indexed);
        if last <= self.appenders.messages.committed().offset {
            answer.send(Ok(accepted)).ok();
        } else {
            self.appenders
                .messages
                .wait(last, Waiter::Write(answer, Box::new(accepted)));
        }
    }
}

/// The message that a fresh `message` event is.
pub(super) fn message_of(event: &Event) -> Option<Message> {
    let core = core_of(event)?;
    Some(Message {
        core,
        reactions: std::collections::BTreeMap::new(),
        my_reaction: None,
    })
}

/// The refusal of whoever may not know whether a message exists.
pub(in crate::shard) fn message_unknown() -> Problem {
    Problem::new(
        Code::MessageUnknown,
        "there is no such message in your conversations",
    )
}
