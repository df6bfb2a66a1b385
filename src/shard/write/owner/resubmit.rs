//! Messages that come again: a replica has them, and the log lost them and went on otherwise. And
//! deletions, of them or of a whole conversation, so that what was erased does not come back.

use std::sync::Arc;

use crate::ids::{ConversationName, Offset};
use crate::log::record::{CLOSING_SINCE, EDITS_SINCE, Event, EventKind};
use crate::shard::command::Done;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::lookup::Lookup;
use crate::shard::write::owner::piece::Facts;

impl Owner {
    /// What is looked up for it: whether its own id is there, and its key; of a deletion its
    /// message.
    pub(super) fn missing_of_orphan(
        &self,
        state: &ConversationState,
        event: &Event,
        facts: &Facts,
    ) -> Option<Lookup> {
        let id = event.kind.message_id()?;
        let is_known = self.messages.now(id).is_some();
        if matches!(event.kind, EventKind::Deleted { .. }) {
            return (!is_known && facts.held.is_none()).then_some(Lookup::Held(id));
        }

        let source = event.actor();
        if !state.head().is_some_and(|head| head.has(source)) {
            return None;
        }

        if !is_known && facts.reply_to.is_none() {
            return Some(Lookup::At(id));
        }

        let key = event
            .key
            .as_ref()
            .filter(|key| facts.key.is_none() && !key.stamped)?
            .as_key();
        let in_memory = state
            .keys
            .contains_key(&(source.clone(), Arc::clone(&key.key)));
        (!in_memory).then(|| Lookup::Key(source.clone(), key))
    }

    /// Appends it with its old id, time and key, unless it is there or has no place there any more.
    pub(super) fn decide_resubmit(
        &mut self,
        name: &ConversationName,
        event: &Event,
        facts: &Facts,
    ) -> Verdict {
        let written = match &event.kind {
            EventKind::Deleted { .. } => self.resubmit_deletion(name, event, facts),
            EventKind::Closed { .. } => self.resubmit_closing(name, event),
            _ => self
                .resubmitted(name, event, facts)
                .map(|event| self.append_event(event)),
        };
        match written {
            Some(offset) => Verdict::Written(offset, Accepted::Done(Done::Resubmitted(true))),
            // What made it superfluous may not be committed yet.
            None => Verdict::Rests(
                self.last_touched(name),
                Ok(Accepted::Done(Done::Resubmitted(false))),
            ),
        }
    }

    fn resubmitted(&self, name: &ConversationName, event: &Event, facts: &Facts) -> Option<Event> {
        let EventKind::Message { id, source, .. } = &event.kind else {
            return None;
        };
        let state: &ConversationState = self.conversations.get(name)?;
        let head = state.head().filter(|head| head.has(source))?;
        let is_there = facts
            .reply_to
            .as_ref()
            .is_some_and(|at| at.as_ref().is_some_and(|at| at.conversation == *name));
        if self.messages.now(*id).is_some() || is_there || id.slot() != name.slot() {
            return None;
        }

        if let Some(key) = &event.key {
            let of = (source.clone(), Arc::clone(&key.key));
            let in_memory = state.keys.contains_key(&of)
                || self.stamped.contains_key(&(name.clone(), of.0, of.1));
            if in_memory || facts.key.as_ref().is_some_and(Option::is_some) {
                return None;
            }
        }

        // Times never fall within a conversation.
        let created = event.created.max(head.last_created);
        Some(Event {
            seq: head.last_seq.next(),
            created,
            ..event.clone()
        })
    }

    /// Who deleted it may have left since: that it was deleted holds all the same.
    fn resubmit_deletion(
        &mut self,
        name: &ConversationName,
        event: &Event,
        facts: &Facts,
    ) -> Option<Offset> {
        let EventKind::Deleted { message_id, by, .. } = &event.kind else {
            return None;
        };
        let (_, message) = self.held(name, *message_id, facts)?;
        let head = self.head(name).filter(|head| head.closed.is_none())?;
        if message.at.deleted || self.not_all_read(EDITS_SINCE).is_some() {
            return None;
        }

        let (message_id, message_seq, by) = (*message_id, message.at.seq, by.clone());
        let kind = EventKind::Deleted {
            message_id,
            message_seq,
            by,
        };

        let (seq, created) = (head.last_seq.next(), event.created.max(head.last_created));
        let again = Event {
            seq,
            created,
            key: None,
            kind,
            conversation: name.clone(),
        };
        Some(self.append_deletion(again, message_id, message))
    }

    /// Who deleted it may not be its admin any more: that it was deleted holds all the same.
    fn resubmit_closing(&mut self, name: &ConversationName, event: &Event) -> Option<Offset> {
        let head = self.head(name).filter(|head| head.closed.is_none())?;
        if self.not_all_read(CLOSING_SINCE).is_some() {
            return None;
        }
        let (seq, created) = (head.last_seq.next(), event.created.max(head.last_created));
        Some(self.append_event(Event {
            seq,
            created,
            ..event.clone()
        }))
    }
}
