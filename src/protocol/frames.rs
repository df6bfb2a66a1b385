//! The frames of a WebSocket, one JSON object each. What the fields mean is written in `docs/api.md`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{ConversationName, IDEMPOTENCY_KEY_BYTES_MAX, MessageId, Seq, SessionId, UserId};
use crate::problem::ProblemBody;
use crate::protocol::whole;
use crate::protocol::{MessageCore, REACTION_MAX, RESUME_POSITIONS_MAX, TEXT_BYTES_MAX};

/// A frame from a client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(transform = with_reference)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum ClientFrame {
    Send {
        #[schemars(with = "ConversationName")]
        conversation: String,
        #[schemars(length(min = 1, max = TEXT_BYTES_MAX))]
        text: String,
        #[serde(default)]
        #[schemars(with = "Option<MessageId>")]
        reply_to: Option<String>,
        #[serde(default)]
        #[schemars(length(min = 1, max = IDEMPOTENCY_KEY_BYTES_MAX))]
        client_id: Option<String>,
    },
    Read {
        #[schemars(with = "MessageId")]
        message_id: String,
    },
    React {
        #[schemars(with = "MessageId")]
        message_id: String,
        #[serde(deserialize_with = "whole::number_or_null")]
        #[schemars(schema_with = "reaction_or_none")]
        reaction: Option<u32>,
    },
    Resume {
        #[serde(deserialize_with = "whole::numbers")]
        #[schemars(with = "BTreeMap<String, u64>", extend("maxProperties" = RESUME_POSITIONS_MAX))]
        positions: BTreeMap<String, u64>,
        #[serde(default)]
        more: bool,
    },
    Auth {
        token: String,
    },
    Ping {},
}

impl ClientFrame {
    /// Reads a frame, and apart from it the `ref` that every frame may carry: it is needed for the answer also when the
    /// frame is refused.
    pub fn parse(sent: &[u8]) -> (Option<Value>, serde_json::Result<Self>) {
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
    json_schema!({"type": ["integer", "null"], "minimum": 1, "maximum": REACTION_MAX})
}

/// Every frame may carry a `ref`, which its answer repeats.
fn with_reference(schema: &mut Schema) {
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut);
    for variant in variants.into_iter().flatten() {
        if let Some(properties) = variant.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("ref".to_owned(), serde_json::json!({"description": "Repeated in the answer."}));
        }
    }
}

/// What happened in a conversation, beside messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum EventKind {
    Created {
        by: UserId,
        title: Option<String>,
        participants: Vec<UserId>,
        participants_count: u64,
    },
    Joined {
        by: UserId,
        users: Vec<UserId>,
    },
    Left {
        by: UserId,
        user: UserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        admin: Option<UserId>,
    },
}

/// Kind of a `receipt` frame, with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum ReceiptKind {
    Delivered { up_to: Seq, ts: u64 },
    Read { up_to: Seq, ts: u64 },
    Reaction { message_id: MessageId, reaction: Option<u32>, ts: u64 },
}

/// Why a span is not sent on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum GapReason {
    TooFar,
    Replaced,
    NotParticipant,
}

/// A frame to a client.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "t", rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum ServerFrame<'a> {
    Hello {
        session: SessionId,
        user: &'a UserId,
        now: u64,
        heartbeat_ms: u64,
        max_frame_bytes: usize,
        max_text_bytes: usize,
        resume_max_events: u64,
    },
    Message(&'a MessageCore),
    Event {
        conversation: &'a ConversationName,
        seq: Seq,
        created: u64,
        #[serde(flatten)]
        kind: &'a EventKind,
    },
    Receipt {
        conversation: &'a ConversationName,
        user: &'a UserId,
        #[serde(flatten)]
        kind: &'a ReceiptKind,
    },
    Ok {
        #[serde(rename = "ref")]
        reference: &'a Value,
        result: Value,
    },
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Value>,
        problem: ProblemBody<'a>,
    },
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a Value>,
        now: u64,
    },
    Gap {
        conversation: &'a ConversationName,
        from: Seq,
        to: Seq,
        reason: GapReason,
    },
    Live {
        positions: BTreeMap<ConversationName, Seq>,
    },
    Ready {},
    Reconnect {
        after_ms: u64,
        reason: &'a str,
    },
}

impl ServerFrame<'_> {
    /// The frame as JSON text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Serialising our own types with string keys into memory has no failing case.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The schema of those frames that are also the items of `/events`.
pub(super) fn committed_frames(generator: &mut SchemaGenerator) -> Schema {
    let all = ServerFrame::json_schema(generator);
    let is_committed = |frame: &&Value| {
        let word = frame.pointer("/properties/t/const").and_then(Value::as_str);
        matches!(word, Some("message" | "event"))
    };
    let frames = all.get("oneOf").and_then(Value::as_array);
    let committed: Vec<_> = frames.into_iter().flatten().filter(is_committed).collect();
    json_schema!({"type": "array", "items": {"oneOf": committed}})
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
    }

    #[test]
    fn a_frame_may_carry_a_ref_and_no_other_field_that_is_not_its_own() {
        let (reference, frame) = ClientFrame::parse(br#"{"t":"ping","ref":{"a":1}}"#);
        assert!(frame.is_ok() && reference == Some(serde_json::json!({"a": 1})));
        for (sent, named) in [
            (r#"{"t":"ping","ref":1,"unknown":1}"#, "unknown"),
            (r#"{"t":"send","ref":1,"conversation":"c","text":"x","data":{}}"#, "data"),
        ] {
            let (told, refused) = ClientFrame::parse(sent.as_bytes());
            assert_eq!(told, Some(serde_json::json!(1)), "the answer can be told apart");
            assert!(refused.expect_err(sent).to_string().contains(named), "{sent}");
        }
        assert!(ClientFrame::parse(b"[1]").1.is_err());
    }

    #[test]
    fn a_position_of_a_resume_may_be_written_with_a_fraction_of_zero() {
        let (_, frame) = ClientFrame::parse(br#"{"t":"resume","positions":{"c":3.0}}"#);
        let Ok(ClientFrame::Resume { positions, .. }) = frame else { panic!("{frame:?}") };
        assert_eq!(positions.get("c"), Some(&3));
    }

    #[test]
    fn an_event_frame_has_its_fields_at_the_top() {
        let conversation = ConversationName::parse("c").expect("a name");
        let bob = UserId::parse("bob").expect("a name");
        let kind = EventKind::Left { by: bob.clone(), user: bob, admin: None };
        let frame = ServerFrame::Event { conversation: &conversation, seq: Seq(3), created: 9, kind: &kind };
        assert_eq!(
            String::from_utf8(frame.encode()).expect("text"),
            r#"{"t":"event","conversation":"c","seq":3,"created":9,"kind":"left","by":"bob","user":"bob"}"#
        );
    }
}
