//! Committed events as clients see them: one text for the frames of sessions and for the items of
//! `/events`, so that both can never differ.

use serde::{Serialize, Serializer};

use crate::log::record::{Event, EventKind};
use crate::protocol::EventKind as ShownKind;
use crate::protocol::{ChangedSettings, JsonObject, PARTICIPANTS_SHOWN_MAX, ServerFrame};
use crate::shard::command::core_of;

/// The event as the JSON text of its `message` or `event` frame.
#[must_use]
pub(crate) fn event_json(event: &Event) -> Vec<u8> {
    // Our own types with string keys have no failing case.
    serde_json::to_vec(&Committed(event)).unwrap_or_default()
}

/// The message as the JSON text of its frame for its sender's own sessions: with the key that they
/// chose for it.
#[must_use]
pub(crate) fn own_message_json(event: &Event, key: &str) -> Vec<u8> {
    let mut text = event_json(event);
    // The object is opened again for one field more.
    text.pop();
    text.extend_from_slice(b",\"client_id\":");
    text.extend_from_slice(&serde_json::to_vec(key).unwrap_or_default());
    text.push(b'}');
    text
}

/// The event as the object of its `message` or `event` frame.
#[derive(Debug)]
pub(crate) struct Committed<'a>(pub &'a Event);

impl Serialize for Committed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (core_of(self.0), change_of(&self.0.kind)) {
            (Some(message), _) => ServerFrame::Message(&message).serialize(to),
            (None, Some(kind)) => {
                let Event {
                    conversation,
                    seq,
                    created,
                    ..
                } = self.0;
                ServerFrame::Event {
                    conversation,
                    seq: *seq,
                    created: *created,
                    kind: &kind,
                }
                .serialize(to)
            }
            (None, None) => to.serialize_unit(),
        }
    }
}

/// What happened, if it is no message.
#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn change_of(kind: &EventKind) -> Option<ShownKind> {
    Some(match kind {
        EventKind::Message { .. } => return None,
        EventKind::Edited {
            message_id,
            message_seq,
            by,
            text,
            data,
            mentions,
            superseded,
        } => ShownKind::Edited {
            message_id: *message_id,
            message_seq: *message_seq,
            by: by.clone(),
            text: text.as_ref().to_owned(),
            data: data.clone().map(JsonObject::stored),
            mentions: mentions.clone(),
            superseded: *superseded,
        },
        EventKind::Deleted {
            message_id,
            message_seq,
            by,
        } => ShownKind::Deleted {
            message_id: *message_id,
            message_seq: *message_seq,
            by: by.clone(),
        },
        EventKind::Created {
            by,
            title,
            participants,
            data,
            settings,
        } => ShownKind::Created {
            by: by.clone(),
            title: title.as_ref().map(|title| title.as_ref().to_owned()),
            participants: participants
                .iter()
                .take(PARTICIPANTS_SHOWN_MAX)
                .cloned()
                .collect(),
            participants_count: u64::try_from(participants.len()).unwrap_or(u64::MAX),
            data: data.clone().map(JsonObject::stored),
            settings: *settings,
        },
        EventKind::Joined { by, users, .. } => ShownKind::Joined {
            by: by.clone(),
            users: users.clone(),
        },
        // Why is told to those who may ask for bans.
        EventKind::Left {
            by,
            user,
            admin,
            banned,
            reason: _,
        } => ShownKind::Left {
            by: by.clone(),
            user: user.clone(),
            admin: admin.clone(),
            banned: *banned,
        },
        EventKind::Role {
            by,
            user,
            role,
            muted_until,
        } => ShownKind::Role {
            by: by.clone(),
            user: user.clone(),
            role: *role,
            muted_until: *muted_until,
        },
        EventKind::Updated {
            by,
            title,
            data,
            settings,
        } => ShownKind::Updated {
            by: by.clone(),
            title: title.set().map(|title| title.as_deref().map(str::to_owned)),
            data: data.set().map(|data| data.clone().map(JsonObject::stored)),
            settings: Some(*settings)
                .filter(|settings| !settings.is_empty())
                .map(ChangedSettings::from),
        },
        EventKind::Closed { by } => ShownKind::Closed { by: by.clone() },
    })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::ids::{ConversationName, MessageId, Seq, Slot, UserId};

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
        let event = event(EventKind::plain(id, source, "hi \"you\""));
        let expected = serde_json::json!({
            "t": "message", "id": id, "conversation": "c", "seq": 2, "source": "alice", "text": "hi \"you\"",
            "reply_to": null, "created": 7, "edited": null, "deleted": false, "data": null, "mentions": [],
            "deleted_by": null,
        });

        assert_eq!(
            serde_json::to_value(Committed(&event)).expect("json"),
            expected
        );
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&event_json(&event)).expect("json"),
            expected
        );

        let mut own = expected;
        own["client_id"] = "say \"it\"".into();
        let text = own_message_json(&event, "say \"it\"");
        let told: serde_json::Value = serde_json::from_slice(&text).expect("json");
        assert_eq!(told, own);
    }

    #[test]
    fn a_created_event_shows_a_hundred_participants_and_counts_them_all() {
        let participants: Vec<_> = (0..150)
            .map(|number| UserId::parse(&format!("u{number}")).expect("a name"))
            .collect();
        let by = participants[0].clone();
        let event = event(EventKind::created(by, None, participants));
        let value = serde_json::to_value(Committed(&event)).expect("json");
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
