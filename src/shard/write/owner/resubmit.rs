//! Messages that come again: a replica has them, and the log lost them and went on otherwise.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey};
use crate::log::record::{Event, EventKind};
use crate::shard::command::{Done, Send};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::{Accepted, Facts};

/// What is looked up for it, in the words of a send: whether its own id is there, and its key.
pub(super) fn asked_of(event: &Event) -> Option<Send> {
    let EventKind::Message {
        id, source, text, ..
    } = &event.kind
    else {
        return None;
    };
    let key = event.key.as_ref().map(|key| IdempotencyKey {
        key: Arc::clone(&key.key),
        stamped: key.stamped,
    });
    let (conversation, source) = (event.conversation.clone(), source.clone());
    Some(Send {
        conversation,
        source,
        text: Arc::clone(text),
        reply_to: Some(*id),
        key,
        unless: Vec::new(),
    })
}

impl Owner {
    /// Appends it with its old id, time and key, unless it is there or has no place there any more.
    pub(super) fn decide_resubmit(
        &mut self,
        name: &ConversationName,
        event: &Event,
        facts: &Facts,
    ) -> Verdict {
        match self.resubmitted(name, event, facts) {
            Some(event) => Verdict::Written(
                self.append_event(event),
                Accepted::Done(Done::Resubmitted(true)),
            ),
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
        if self.unapplied_ids.contains_key(id)
            || facts.reply_to == Some(true)
            || id.slot() != name.slot()
        {
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
}
