//! Events as clients see them.

use serde_json::Value;

use crate::protocol::{self, MessageCore, PARTICIPANTS_SHOWN_MAX, ServerFrame};
use crate::shard::log::record::{Event, EventKind};

/// The object of the `message` or `event` frame of an event.
#[must_use]
pub fn event_value(event: &Event) -> Value {
    let kind = match &event.kind {
        EventKind::Message { id, source, text, reply_to } => {
            let core = MessageCore {
                id: *id,
                conversation: event.conversation.clone(),
                seq: event.seq,
                source: source.clone(),
                text: text.to_string(),
                reply_to: *reply_to,
                created: event.created,
                edited: None,
                deleted: false,
            };
            return serde_json::to_value(ServerFrame::Message(&core)).unwrap_or_default();
        }
        EventKind::Created { by, title, participants } => protocol::EventKind::Created {
            by: by.clone(),
            title: title.as_deref().map(str::to_owned),
            participants: participants.iter().take(PARTICIPANTS_SHOWN_MAX).cloned().collect(),
            participants_count: u64::try_from(participants.len()).unwrap_or(u64::MAX),
        },
        EventKind::Joined { by, users } => protocol::EventKind::Joined { by: by.clone(), users: users.clone() },
        EventKind::Left { by, user, admin } => {
            protocol::EventKind::Left { by: by.clone(), user: user.clone(), admin: admin.clone() }
        }
    };
    let (conversation, seq, created) = (&event.conversation, event.seq, event.created);
    serde_json::to_value(ServerFrame::Event { conversation, seq, created, kind: &kind }).unwrap_or_default()
}
