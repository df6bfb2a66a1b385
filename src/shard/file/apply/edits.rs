//! The messages stream: what is sent, and what changes it (ADR 22). Written one step after the
//! other, each of which takes what comes together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{MessageId, Seq, UserId};
use crate::log::record::{Content, Event, EventKind};
use crate::shard::file::apply::changes::{
    DeletionRow, EditRow, EventRow, MessageRow, MessageStep, event_row,
};
use crate::shard::file::apply::messages::Fold;

impl Fold {
    pub(super) fn message(&mut self, event: &Event) {
        let EventKind::Message {
            id,
            source,
            text,
            reply_to,
            data,
            mentions,
            since: _,
        } = &event.kind
        else {
            return;
        };

        let row = MessageRow {
            id: *id,
            conversation: event.conversation.clone(),
            seq: event.seq,
            source: source.clone(),
            content: Content {
                text: Arc::clone(text),
                data: data.clone(),
                mentions: mentions.clone(),
            },
            reply_to: *reply_to,
            created: event.created,
        };

        match self.changes.messages.last_mut() {
            Some(MessageStep::Send(rows)) => rows.push(row),
            _ => self.changes.messages.push(MessageStep::Send(vec![row])),
        }
        self.remember_key(&event.conversation, source, event.key.as_ref(), event.seq);
    }

    pub(super) fn edited(&mut self, event: &Event) {
        let EventKind::Edited {
            message_id,
            message_seq,
            by,
            text,
            data,
            mentions,
            superseded: _,
        } = &event.kind
        else {
            return;
        };

        let content = Content {
            text: Arc::clone(text),
            data: data.clone(),
            mentions: mentions.clone(),
        };
        let mut row = EditRow {
            seq: event.seq,
            content,
            edited: event.created,
            edits: 1,
        };

        if let Some(MessageStep::Edit(rows)) = self.changes.messages.last_mut() {
            row.edits += rows.get(message_id).map_or(0, |before| before.edits);
            rows.insert(*message_id, row);
        } else {
            self.changes
                .messages
                .push(MessageStep::Edit(BTreeMap::from([(*message_id, row)])));
        }

        // What it says stands in the message's row alone, so that there is one place to erase.
        let kind = EventKind::Edited {
            message_id: *message_id,
            message_seq: *message_seq,
            by: by.clone(),
            text: Arc::from(""),
            data: None,
            mentions: Vec::new(),
            superseded: false,
        };

        let bare = event_row(
            &Event {
                kind,
                ..event.clone()
            },
            "edited",
        );

        self.changes.events.push(EventRow {
            message_seq: Some(*message_seq),
            ..bare
        });
        self.remember_key(&event.conversation, by, event.key.as_ref(), *message_seq);
    }

    pub(super) fn deleted(
        &mut self,
        event: &Event,
        (id, message_seq): (MessageId, Seq),
        by: &UserId,
    ) {
        let row = DeletionRow {
            seq: event.seq,
            by: by.clone(),
        };
        if let Some(MessageStep::Delete(rows)) = self.changes.messages.last_mut() {
            rows.entry(id).or_insert(row);
        } else {
            self.changes
                .messages
                .push(MessageStep::Delete(BTreeMap::from([(id, row)])));
        }
        self.changes.events.push(EventRow {
            message_seq: Some(message_seq),
            ..event_row(event, "deleted")
        });
    }
}
