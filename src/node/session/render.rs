//! Committed events as clients see them: one text for the frames of sessions and for the items of
//! `/events`, so that both can never differ.

use crate::ids::Seq;
use crate::log::record::{Event, EventKind};
use crate::protocol::EventKind as ShownKind;
use crate::protocol::{MessageCore, PARTICIPANTS_SHOWN_MAX, ServerFrame};

/// The event as the JSON text of its `message` or `event` frame.
#[must_use]
pub fn event_json(event: &Event) -> Vec<u8> {
    match shown(event) {
        Shown::Message(message) => ServerFrame::Message(&message).encode(),
        Shown::Change(kind) => change(event, &kind).encode(),
    }
}

/// The event as a JSON value: the object of its `message` or `event` frame.
#[must_use]
pub fn event_value(event: &Event) -> serde_json::Value {
    let value = match shown(event) {
        Shown::Message(message) => serde_json::to_value(ServerFrame::Message(&message)),
        Shown::Change(kind) => serde_json::to_value(change(event, &kind)),
    };
    // Our own types with string keys have no failing case.
    value.unwrap_or_default()
}

enum Shown {
    Message(MessageCore),
    Change(ShownKind),
}

fn change<'a>(event: &'a Event, kind: &'a ShownKind) -> ServerFrame<'a> {
    let Event {
        conversation,
        seq,
        created,
        ..
    } = event;
    ServerFrame::Event {
        conversation,
        seq: Seq(seq.0),
        created: *created,
        kind,
    }
}

fn shown(event: &Event) -> Shown {
    let kind = match &event.kind {
        EventKind::Message {
            id,
            source,
            text,
            reply_to,
        } => {
            return Shown::Message(MessageCore {
                id: *id,
                conversation: event.conversation.clone(),
                seq: event.seq,
                source: source.clone(),
                text: text.as_ref().to_owned(),
                reply_to: *reply_to,
                created: event.created,
                edited: None,
                deleted: false,
            });
        }
        EventKind::Created {
            by,
            title,
            participants,
        } => ShownKind::Created {
            by: by.clone(),
            title: title.as_ref().map(|title| title.as_ref().to_owned()),
            participants: participants
                .iter()
                .take(PARTICIPANTS_SHOWN_MAX)
                .cloned()
                .collect(),
            participants_count: u64::try_from(participants.len()).unwrap_or(u64::MAX),
        },
        EventKind::Joined { by, users } => ShownKind::Joined {
            by: by.clone(),
            users: users.clone(),
        },
        EventKind::Left { by, user, admin } => ShownKind::Left {
            by: by.clone(),
            user: user.clone(),
            admin: admin.clone(),
        },
    };
    Shown::Change(kind)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{ConversationName, MessageId, Slot, UserId};

    fn event(kind: EventKind) -> Event {
        let conversation = ConversationName::parse("c").expect("a name");
        Event {
            conversation,
            seq: Seq(2),
            created: 7,
            key: None,
            kind,
        }
    }

    #[test]
    fn a_message_is_shown_without_reactions_and_alike_in_both_forms() {
        let source = UserId::parse("alice").expect("a name");
        let id = MessageId::new(1, Slot(2), 3);
        let event = event(EventKind::Message {
            id,
            source,
            text: Arc::from("hi \"you\""),
            reply_to: None,
        });
        let expected = serde_json::json!({
            "t": "message", "id": id, "conversation": "c", "seq": 2, "source": "alice", "text": "hi \"you\"",
            "reply_to": null, "created": 7, "edited": null, "deleted": false,
        });
        assert_eq!(event_value(&event), expected);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&event_json(&event)).expect("json"),
            expected
        );
    }

    #[test]
    fn a_created_event_shows_a_hundred_participants_and_counts_them_all() {
        let participants: Vec<_> = (0..150)
            .map(|number| UserId::parse(&format!("u{number}")).expect("a name"))
            .collect();
        let by = participants[0].clone();
        let event = event(EventKind::Created {
            by,
            title: None,
            participants,
        });
        let value = event_value(&event);
        assert_eq!(value["t"], "event");
        assert_eq!(value["kind"], "created");
        assert_eq!(value["participants_count"], 150);
        assert_eq!(value["participants"].as_array().expect("a list").len(), 100);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&event_json(&event)).expect("json"),
            value
        );
    }
}
