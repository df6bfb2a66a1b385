//! The frames of a WebSocket, one JSON object each. What the fields mean is written in
//! `docs/api.md`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{ConversationName, IDEMPOTENCY_KEY_BYTES_MAX, MessageId, Seq, SessionId, UserId};
use crate::problem::ProblemBody;
use crate::protocol::event::EventKind;
use crate::protocol::null::not_null;
use crate::protocol::object::object_or_null;
use crate::protocol::whole;
use crate::protocol::{
    MENTIONS_MAX, Message, MessageCore, Presence, REACTION_MAX, RESUME_POSITIONS_MAX,
    TEXT_BYTES_MAX, WATCHED_MAX,
};

/// Name of the schema of [`committed_frames`]; the document makes it of the server's frames.
pub(super) const COMMITTED_FRAME: &str = "CommittedFrame";

/// A frame from a client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(transform = with_reference)]
pub(crate) enum ClientFrame {
    /// Sends a message; `ok` has it as its result.
    Send {
        /// Where to.
        #[schemars(with = "ConversationName")]
        conversation: String,
        /// What to say; its length is counted in bytes of UTF-8.
        #[schemars(length(min = 1, max = TEXT_BYTES_MAX))]
        text: String,
        /// The message of this conversation that it answers.
        #[serde(default)]
        #[schemars(with = "Option<MessageId>")]
        reply_to: Option<String>,
        /// The idempotency key: the same space as the header `Idempotency-Key`.
        #[serde(default)]
        #[schemars(length(min = 1, max = IDEMPOTENCY_KEY_BYTES_MAX))]
        client_id: Option<String>,
        /// What to store with it: a JSON object of at most 4,096 bytes, given back as it is.
        #[serde(default)]
        #[schemars(schema_with = "object_or_null")]
        data: Option<IgnoredAny>,
        /// Participants who are meant; others are left out of what is stored.
        #[serde(default)]
        #[schemars(with = "Option<Vec<UserId>>", length(max = MENTIONS_MAX))]
        mentions: Option<Vec<String>>,
    },
    /// Changes a message of one's own; `ok` has it as its result. What is absent stays, and
    /// something must be there.
    Edit {
        /// The message.
        #[schemars(with = "MessageId")]
        message_id: String,
        /// The new text; its length is counted in bytes of UTF-8.
        #[serde(default, deserialize_with = "not_null")]
        #[schemars(with = "String", length(min = 1, max = TEXT_BYTES_MAX))]
        text: Option<String>,
        /// What to store with it from now on: a JSON object of at most 4,096 bytes; null: nothing.
        #[serde(default)]
        #[expect(dead_code, reason = "its very text is stored, and read apart")]
        #[schemars(schema_with = "object_or_null")]
        data: Option<IgnoredAny>,
        /// All participants who are meant from now on; others are left out of what is stored.
        #[serde(default, deserialize_with = "not_null")]
        #[schemars(with = "Vec<UserId>", length(max = MENTIONS_MAX))]
        mentions: Option<Vec<String>>,
        /// The idempotency key: the same space as the header `Idempotency-Key`, and as that of a
        /// `send`.
        #[serde(default)]
        #[schemars(length(min = 1, max = IDEMPOTENCY_KEY_BYTES_MAX))]
        client_id: Option<String>,
    },
    /// Deletes a message: one's own, or as admin or moderator that of another.
    Delete {
        /// The message.
        #[schemars(with = "MessageId")]
        message_id: String,
    },
    /// Marks a message and all before it in its conversation as read.
    Read {
        /// The message.
        #[schemars(with = "MessageId")]
        message_id: String,
    },
    /// Reacts to a message.
    React {
        /// The message.
        #[schemars(with = "MessageId")]
        message_id: String,
        /// By convention a Unicode code point; null takes the reaction back.
        #[serde(deserialize_with = "whole::number_or_null")]
        #[schemars(schema_with = "reaction_or_none")]
        reaction: Option<u32>,
    },
    /// Goes on after what the client has seen.
    Resume {
        /// The last seq seen of each conversation.
        #[serde(deserialize_with = "whole::numbers")]
        #[schemars(with = "BTreeMap<String, u64>", extend("maxProperties" = RESUME_POSITIONS_MAX))]
        positions: BTreeMap<String, u64>,
        /// Another `resume` frame follows; without it none does.
        #[serde(default)]
        more: bool,
    },
    /// Lets the session live on with a newer token of the same user.
    Auth {
        /// The newer JWT.
        token: String,
    },
    /// Tells the others of a conversation that its user types, or does not any more. Only one with
    /// a `ref` is answered.
    Typing {
        /// Where.
        #[schemars(with = "ConversationName")]
        conversation: String,
        /// Said again at least every 3 s while they type.
        on: bool,
    },
    /// Asks for the presence of the participants of these conversations, in the place of those
    /// named before.
    Watch {
        /// Which; none ends it.
        #[schemars(with = "Vec<ConversationName>", length(max = WATCHED_MAX))]
        conversations: Vec<String>,
    },
    /// Asks for a `pong`.
    Ping {},
}

impl ClientFrame {
    /// Reads a frame, and apart from it the `ref` that every frame may carry: it is needed for the
    /// answer also when the frame is refused.
    pub(crate) fn parse(sent: &[u8]) -> (Option<Value>, serde_json::Result<Self>) {
        match serde_json::from_slice::<Map<String, Value>>(sent) {
            Ok(mut fields) => {
                let reference = fields.remove("ref");
                (reference, serde_json::from_value(Value::Object(fields)))
            }
            Err(error) => (None, Err(error)),
        }
    }
}

fn reaction_or_none(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "null"], "format": "int32", "minimum": 1, "maximum": REACTION_MAX})
}

/// Every frame may carry a `ref`, which its answer repeats.
fn with_reference(schema: &mut Schema) {
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut);
    for variant in variants.into_iter().flatten() {
        if let Some(properties) = variant.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(
                "ref".to_owned(),
                serde_json::json!({"description": "Any JSON value, repeated in the answer."}),
            );
        }
    }
}

/// What an `ok` brings.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum OkResult {
    /// The message that was sent or edited.
    Message(Box<Message>),
    /// Nothing.
    None(()),
}

/// Kind of a `receipt` frame, with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ReceiptKind {
    /// A device of the user has been given so far.
    Delivered {
        /// The message with this seq and all before it.
        up_to: Seq,
        /// When, in unix milliseconds.
        ts: u64,
    },
    /// The user has read so far.
    Read {
        /// The message with this seq and all before it.
        up_to: Seq,
        /// When, in unix milliseconds.
        ts: u64,
        /// What the user has not read now: for their own sessions, and not where more than the
        /// newest 200 messages are unread.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32")]
        unread: Option<u32>,
        /// Likewise, messages that mention them.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32")]
        unread_mentions: Option<u32>,
    },
    /// The user reacted to a message.
    Reaction {
        /// The message.
        message_id: MessageId,
        /// The reaction; null: taken back.
        reaction: Option<u32>,
        /// What it took the place of; null: nothing.
        previous: Option<u32>,
        /// When, in unix milliseconds.
        ts: u64,
    },
}

/// Why a span is not sent on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum GapReason {
    /// More events were missed than a resume sends.
    TooFar,
    /// What was seen from `from` on no longer holds.
    Replaced,
    /// The user takes no part, or there is no such conversation.
    NotParticipant,
    /// The conversation was deleted; its last event follows.
    Closed,
    /// The conversation keeps them no longer, and nobody has them any more.
    Pruned,
}

/// The fields of a `message` frame, for its schema.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct MessageFrame {
    #[serde(flatten)]
    message: MessageCore,
    /// The key that the sender chose: for their own sessions, where it was sent a moment ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    client_id: Option<String>,
}

/// A frame to a client.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(crate) enum ServerFrame<'a> {
    /// The first frame of a session.
    Hello {
        /// The session.
        session: SessionId,
        /// Whose it is.
        user: &'a UserId,
        /// The server's clock, in unix milliseconds.
        now: u64,
        /// How often the server pings at least, in milliseconds.
        heartbeat_ms: u64,
        /// Largest frame that a client may send.
        max_frame_bytes: usize,
        /// Longest text of a message.
        max_text_bytes: usize,
        /// Missed events of one conversation that a resume sends.
        resume_max_events: u64,
    },
    /// A message, the user's own included.
    Message(#[schemars(with = "MessageFrame")] &'a MessageCore),
    /// Another durable change of a conversation; its `kind` tells which fields it has.
    Event {
        /// Where it happened.
        conversation: &'a ConversationName,
        /// Its number in the conversation.
        seq: Seq,
        /// When it happened, in unix milliseconds.
        created: u64,
        /// What happened.
        #[serde(flatten)]
        kind: &'a EventKind,
    },
    /// What became of messages at a participant; its `kind` tells which fields it has.
    Receipt {
        /// Where the messages are.
        conversation: &'a ConversationName,
        /// The participant.
        user: &'a UserId,
        /// What it is about.
        #[serde(flatten)]
        kind: &'a ReceiptKind,
    },
    /// The user's own view of a conversation, after it changed.
    Me {
        /// Of which conversation.
        conversation: &'a ConversationName,
        /// Until when the user wants no notifications, in unix milliseconds.
        notify_after: Option<u64>,
        /// The user's order of those that they pinned; null: not pinned.
        pinned: Option<u32>,
        /// Whether the user put it away.
        archived: bool,
        /// Up to where the user counts as having read.
        read_up_to: Seq,
    },
    /// Everything up to a seq is gone for good, for it is older than the conversation keeps its
    /// events. At most once in 10 s for each conversation, and it may be missing.
    Pruned {
        /// Where.
        conversation: &'a ConversationName,
        /// The last seq that is gone.
        up_to_seq: Seq,
    },
    /// A participant types. For other participants, and no part of the history.
    Typing {
        /// Where.
        conversation: &'a ConversationName,
        /// Who.
        user: &'a UserId,
        /// Until when, in unix milliseconds, unless it is told again or a message of theirs comes;
        /// now: they stopped.
        until: u64,
    },
    /// Whether a user is there with whom a watched conversation is shared: once after `watch`, and
    /// when it changes.
    Presence {
        /// Who.
        user: &'a UserId,
        /// A session of theirs lives, or did in the last 30 s.
        online: bool,
        /// When their last session ended, in unix milliseconds, to the minute; null while they are
        /// online, and for one who was never seen.
        last_seen: Option<u64>,
    },
    /// A frame of the client's was carried out.
    Ok {
        /// That of the client's frame; null if it had none.
        #[serde(rename = "ref")]
        reference: &'a Value,
        /// Of a `send` or `edit`: the Message; else null.
        #[schemars(with = "Value")]
        result: OkResult,
    },
    /// A frame of the client's was refused.
    Error {
        /// That of the client's frame; absent when it had none, or none could be read.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Value>,
        /// Why.
        problem: ProblemBody<'a>,
    },
    /// The answer to `ping`.
    Pong {
        /// That of the client's frame; absent when it had none.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Value>,
        /// The server's clock, in unix milliseconds.
        now: u64,
    },
    /// A span that is not sent here: read it by `/events`.
    Gap {
        /// Where it is missing.
        conversation: &'a ConversationName,
        /// Its first seq.
        from: Seq,
        /// Its last seq.
        to: Seq,
        /// Why it is not sent.
        reason: GapReason,
    },
    /// These conversations are caught up.
    Live {
        /// To where, by conversation.
        positions: BTreeMap<ConversationName, Seq>,
    },
    /// All conversations are subscribed: whatever is committed from here on arrives.
    Ready {},
    /// The node drains: connect again after a while.
    Reconnect {
        /// After how many milliseconds; already jittered.
        after_ms: u64,
        /// Why, for the log.
        reason: &'a str,
    },
}

impl<'a> From<&'a Presence> for ServerFrame<'a> {
    fn from(presence: &'a Presence) -> Self {
        Self::Presence {
            user: &presence.user,
            online: presence.online,
            last_seen: presence.last_seen,
        }
    }
}

impl ServerFrame<'_> {
    /// The frame as JSON text.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Serialising our own types with string keys into memory has no failing case.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The schema of what `/events` gives: those frames of the server that are durable changes.
pub(super) fn committed_frames(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<ServerFrame<'static>>();
    let place = generator
        .settings()
        .definitions_path
        .trim_end_matches('/')
        .to_owned();
    json_schema!({"type": "array", "items": {"$ref": format!("#{place}/{COMMITTED_FRAME}")}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_frame_needs_the_field_but_takes_null() {
        let parse = |text: &str| serde_json::from_str::<ClientFrame>(text);
        assert!(parse(r#"{"t":"react","message_id":"x","reaction":null}"#).is_ok());
        assert!(parse(r#"{"t":"react","message_id":"x"}"#).is_err());
        assert!(parse(r#"{"t":"typing"}"#).is_err());
        assert!(parse(r#"{"t":"edit","message_id":"x","data":null}"#).is_ok());
        for field in ["text", "mentions"] {
            assert!(
                parse(&format!(
                    r#"{{"t":"edit","message_id":"x","{field}":null}}"#
                ))
                .is_err(),
                "{field}"
            );
        }
    }

    #[test]
    fn a_frame_may_carry_a_ref_and_no_other_field_that_is_not_its_own() {
        let (reference, frame) = ClientFrame::parse(br#"{"t":"ping","ref":{"a":1}}"#);
        assert!(frame.is_ok() && reference == Some(serde_json::json!({"a": 1})));

        for (sent, named) in [
            (r#"{"t":"ping","ref":1,"unknown":1}"#, "unknown"),
            (
                r#"{"t":"send","ref":1,"conversation":"c","text":"x","priority":{}}"#,
                "priority",
            ),
        ] {
            let (told, refused) = ClientFrame::parse(sent.as_bytes());
            assert_eq!(
                told,
                Some(serde_json::json!(1)),
                "the answer can be told apart"
            );
            assert!(
                refused.expect_err(sent).to_string().contains(named),
                "{sent}"
            );
        }

        assert!(ClientFrame::parse(b"[1]").1.is_err());
    }

    #[test]
    fn a_position_of_a_resume_may_be_written_with_a_fraction_of_zero() {
        let (_, frame) = ClientFrame::parse(br#"{"t":"resume","positions":{"c":3.0}}"#);
        let Ok(ClientFrame::Resume { positions, .. }) = frame else {
            panic!("{frame:?}")
        };
        assert_eq!(positions.get("c"), Some(&3));
    }

    #[test]
    fn an_event_frame_has_its_fields_at_the_top() {
        let conversation = ConversationName::parse("c").expect("a name");
        let bob = UserId::parse("bob").expect("a name");
        let kind = EventKind::Left {
            by: bob.clone(),
            user: bob,
            admin: None,
            banned: false,
        };
        let frame = ServerFrame::Event {
            conversation: &conversation,
            seq: Seq(3),
            created: 9,
            kind: &kind,
        };

        assert_eq!(
            String::from_utf8(frame.encode()).expect("text"),
            r#"{"t":"event","conversation":"c","seq":3,"created":9,"kind":"left","by":"bob","user":"bob"}"#
        );
    }
}
