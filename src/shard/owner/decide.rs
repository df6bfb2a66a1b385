//! Deciding writes of the messages stream against a conversation's head, which they advance at once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ids::{ConversationName, Offset};
use crate::problem::{Code, Problem};
use crate::protocol::{Message, MessageCore};
use crate::shard::command::{Done, Push, Send, ShardError};
use crate::shard::head::send_fingerprint;
use crate::shard::head::{Head, decide_create, decide_create_again, idempotency_conflict, not_participant};
use crate::shard::log::Stream;
use crate::shard::log::record::{Event, EventKind, IndexChange, Record};
use crate::shard::owner::Owner;
use crate::shard::owner::conversation::{ConversationState, Known, UsedKey};
use crate::shard::owner::input::{Accepted, Facts, Waiter, Write};
use crate::shard::store::Located;

type WriteAnswer = oneshot::Sender<Result<Accepted, ShardError>>;

impl Owner {
    pub(super) fn head(&self, name: &ConversationName) -> Option<&Head> {
        self.conversations.get(name).and_then(ConversationState::head)
    }

    pub(super) fn decide(&mut self, name: &ConversationName, write: Write, answer: WriteAnswer, facts: &Facts) {
        let decided = match write {
            Write::Create(create) => {
                let now_ms = self.now();
                match self.head(name) {
                    Some(head) => decide_create_again(head, &create).map(|()| {
                        let users = u32::try_from(create.participants.len()).unwrap_or(u32::MAX);
                        let (view, offset) = (head.view(name), head.created_offset);
                        (self.last_touched(name), Accepted::Created { view, replayed: true, offset, users })
                    }),
                    None => self.create(decide_create(&create, now_ms)),
                }
            }
            Write::Send(send) => self.decide_send(name, &send, facts),
            Write::Resubmit(event) => Ok(self.decide_resubmit(name, &event, facts)),
            Write::Add(add) => {
                let event = self.on_head(name, |head, now_ms| head.decide_add(&add, now_ms));
                event.map(|event| self.changed(name, event, Done::Added))
            }
            Write::Remove(remove) if remove.by == remove.user && self.head(name).is_none() => {
                Ok((Offset(0), Accepted::Done(Done::Removed)))
            }
            Write::Remove(remove) => {
                let event = self.on_head(name, |head, now_ms| head.decide_remove(&remove, now_ms));
                event.map(|event| self.changed(name, event, |_| Done::Removed))
            }
            Write::Read { seq, user, origin, .. } => {
                let outcome = self.decide_read(name, seq, &user, origin);
                return self.answer_at(Stream::Receipts, outcome, answer);
            }
            Write::React { id, user, reaction, .. } => {
                let outcome = self.decide_react(name, id, &user, reaction);
                return self.answer_at(Stream::Receipts, outcome, answer);
            }
            Write::Index(_) => return,
        };
        self.answer_at(Stream::Messages, decided, answer);
    }

    /// Answers when `offset` is committed; a refusal at once.
    fn answer_at(&mut self, stream: Stream, outcome: Result<(Offset, Accepted), Problem>, answer: WriteAnswer) {
        match outcome {
            Ok((offset, accepted)) if offset <= self.side(stream).committed().offset => {
                answer.send(Ok(accepted)).ok();
            }
            Ok((offset, accepted)) => self.side(stream).wait(offset, Waiter::Write(answer, Box::new(accepted))),
            Err(problem) => {
                answer.send(Err(problem.into())).ok();
            }
        }
    }

    fn on_head<T>(
        &self,
        name: &ConversationName,
        decide: impl FnOnce(&Head, u64) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.head(name).map_or_else(|| Err(not_participant()), |head| decide(head, self.now()))
    }

    /// Offset of the last record of a conversation, committed or not; 0 when it is applied.
    pub(super) fn last_touched(&self, name: &ConversationName) -> Offset {
        let last = self.conversations.get(name).and_then(|state| state.tail.back());
        last.map_or(Offset(0), |(offset, _)| *offset)
    }

    fn create(&mut self, event: Event) -> Result<(Offset, Accepted), Problem> {
        let name = event.conversation.clone();
        let users = match &event.kind {
            EventKind::Created { participants, .. } => u32::try_from(participants.len()).unwrap_or(u32::MAX),
            _ => 0,
        };
        let offset = self.append_event(event);
        let head = self.head(&name).ok_or_else(|| Problem::unavailable("the conversation was not begun; retry"))?;
        Ok((offset, Accepted::Created { view: head.view(&name), replayed: false, offset, users }))
    }

    fn changed(
        &mut self,
        name: &ConversationName,
        event: Option<Event>,
        done: impl FnOnce(crate::protocol::Conversation) -> Done,
    ) -> (Offset, Accepted) {
        let users = match event.as_ref().map(|event| &event.kind) {
            Some(EventKind::Joined { users, .. }) => u32::try_from(users.len()).unwrap_or(u32::MAX),
            Some(EventKind::Left { .. }) => 1,
            _ => 0,
        };
        let offset = match event {
            Some(event) => self.append_event(event),
            None => self.last_touched(name),
        };
        let done = self.head(name).map(|head| head.view(name)).map_or(Done::Removed, done);
        (offset, Accepted::Changed { done, offset, users })
    }

    fn decide_send(
        &mut self,
        name: &ConversationName,
        send: &Send,
        facts: &Facts,
    ) -> Result<(Offset, Accepted), Problem> {
        let Some(state) = self.conversations.get(name) else { return Err(not_participant()) };
        let Some(head) = state.head().filter(|head| head.has(&send.source)) else { return Err(not_participant()) };
        if let Some(id) = send.reply_to {
            let known = self.unapplied_ids.get(&id).is_some_and(|(_, at)| at.conversation == *name);
            if !known && facts.reply_to != Some(true) {
                let detail = "the message of reply_to is not in this conversation";
                return Err(Problem::new(Code::ReplyToUnknown, detail));
            }
        }
        if let Some(key) = &send.key {
            let of = (send.source.clone(), Arc::clone(&key.key));
            let used = state.keys.get(&of).or_else(|| self.stamped.get(&(name.clone(), of.0, of.1))).cloned();
            let stored = facts.key.clone().flatten();
            let used = used.or_else(|| {
                stored.map(|row| UsedKey { fingerprint: row.fingerprint, seq: row.seq, offset: Offset(0) })
            });
            if let Some(used) = used {
                if used.fingerprint != send_fingerprint(&send.text, send.reply_to) {
                    return Err(idempotency_conflict());
                }
                let again = Accepted::SentAgain { conversation: name.clone(), seq: used.seq };
                return Ok((used.offset, again));
            }
        }
        let event = head.decide_send(send, self.now(), rand::random())?;
        let message = message_of(&event);
        let offset = self.append_event(event);
        match message {
            Some(message) => Ok((offset, Accepted::Done(Done::Sent { message, replayed: false }))),
            None => Err(Problem::unavailable("the message could not be built; retry")),
        }
    }

    /// Puts an event into the batch and advances the head, the tail, the keys and the index of ids with it.
    pub(super) fn append_event(&mut self, event: Event) -> Offset {
        let event = Arc::new(event);
        let name = event.conversation.clone();
        let epoch = self.setup.token.epoch;
        let push = Push::Event { epoch, event: Arc::clone(&event) };
        let offset = self.messages.decide(Record::Event(Arc::clone(&event)), vec![push]);
        self.unapplied.push_back((offset, Record::Event(Arc::clone(&event))));
        let now_ms = self.now();
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
        match &event.kind {
            EventKind::Message { id, source, .. } => {
                let at = Located { conversation: name.clone(), seq: event.seq, source: source.clone() };
                self.unapplied_ids.insert(*id, (offset, at));
            }
            _ => state.members_changed = offset,
        }
        if let (Some(key), EventKind::Message { source, .. }) = (&event.key, &event.kind) {
            let used = UsedKey { fingerprint: key.fingerprint, seq: event.seq, offset };
            if key.stamped {
                self.remember_stamped_key(now_ms, (name, source.clone(), Arc::clone(&key.key)), used);
            } else {
                state.keys.insert((source.clone(), Arc::clone(&key.key)), used);
                self.setup.filter.insert(&name, source, &key.key, now_ms);
            }
        }
        offset
    }

    /// Index changes go into the batch as they come: which is newer is decided by seq when they are applied.
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
            let offset = self.messages.decide(record.clone(), Vec::new());
            self.unapplied.push_back((offset, record));
            self.index_touched.insert(user, offset);
            self.index_recent.insert(of, (seq, offset));
            last = last.max(offset);
        }
        self.answer_at(Stream::Messages, Ok((last, Accepted::Done(Done::Indexed))), answer);
    }
}

/// The message that a fresh `message` event is.
pub(super) fn message_of(event: &Event) -> Option<Message> {
    let core = core_of(event)?;
    Some(Message { core, reactions: std::collections::BTreeMap::new(), my_reaction: None })
}

/// Its fields that are the same for every reader.
pub(in crate::shard) fn core_of(event: &Event) -> Option<MessageCore> {
    let EventKind::Message { id, source, text, reply_to } = &event.kind else { return None };
    Some(MessageCore {
        id: *id,
        conversation: event.conversation.clone(),
        seq: event.seq,
        source: source.clone(),
        text: text.as_ref().to_owned(),
        reply_to: *reply_to,
        created: event.created,
        edited: None,
        deleted: false,
    })
}

/// The refusal of whoever may not know whether a message exists.
pub(in crate::shard) fn message_unknown() -> Problem {
    Problem::new(Code::MessageUnknown, "there is no such message in your conversations")
}
