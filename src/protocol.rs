//! The client contract's types: bodies of REST, frames of the WebSocket. Additive changes only. Encoding and decoding
//! live here; what the fields mean is written in `docs/api.md`.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

use crate::ids::{ConversationName, MessageId, Seq, SessionId, UserId};
use crate::problem::ProblemBody;

/// Longest text of a message, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 16_384;
/// Longest title of a conversation, in bytes of UTF-8.
pub const TITLE_BYTES_MAX: usize = 256;
/// Largest request body and WebSocket message, in bytes.
pub const FRAME_BYTES_MAX: usize = 128 * 1024;
/// Most names in one request that creates a conversation or adds participants.
pub const NAMES_PER_REQUEST_MAX: usize = 1_000;
/// Most participants of one conversation.
pub const PARTICIPANTS_MAX: usize = 10_000;
/// How many participants are shown inside a Conversation and a `created` event.
pub const PARTICIPANTS_SHOWN_MAX: usize = 100;
/// Largest reaction: the last Unicode code point.
pub const REACTION_MAX: u32 = 1_114_111;
/// `unread` counts no further than this.
pub const UNREAD_MAX: u32 = 1_000;
/// Missed events of one conversation that a resume sends; older ones become a `gap`.
pub const RESUME_EVENTS_MAX: u64 = 1_000;
/// Positions in one `resume` frame.
pub const RESUME_POSITIONS_MAX: usize = 500;
/// Positions in one `live` frame.
pub const LIVE_POSITIONS_MAX: usize = 200;

/// Role of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May add and remove participants.
    Admin,
    /// Everyone else.
    Member,
}

/// A participant and his role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Participant {
    pub name: UserId,
    pub role: Role,
}

/// A conversation as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Conversation {
    pub name: ConversationName,
    pub title: Option<String>,
    pub admin: UserId,
    pub created: u64,
    pub last_seq: Seq,
    pub participants_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<Participant>>,
}

/// A message as clients see it in REST answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Message {
    #[serde(flatten)]
    pub core: MessageCore,
    pub reactions: BTreeMap<u32, u64>,
    pub my_reaction: Option<u32>,
}

/// The fields of a message that are the same for every reader: what a `message` frame carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct MessageCore {
    pub id: MessageId,
    pub conversation: ConversationName,
    pub seq: Seq,
    pub source: UserId,
    pub text: String,
    pub reply_to: Option<MessageId>,
    pub created: u64,
    pub edited: Option<u64>,
    pub deleted: bool,
}

/// What became of a message at one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Receipt {
    pub message_id: MessageId,
    pub user_id: UserId,
    pub delivered: bool,
    pub read: bool,
    pub reaction: Option<u32>,
    pub delivered_at: Option<u64>,
    pub read_at: Option<u64>,
    pub ts: Option<u64>,
}

/// One participant's watermarks in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Watermark {
    pub user: UserId,
    pub delivered_up_to: Seq,
    pub read_up_to: Seq,
}

/// An item of the caller's list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct ConversationItem {
    #[serde(flatten)]
    pub conversation: Conversation,
    pub unread: Option<u32>,
    pub last_message: Option<Message>,
}

/// A page with an opaque cursor to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A page of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct HistoryPage {
    pub items: Vec<Message>,
    pub before: Option<Seq>,
    pub after: Option<Seq>,
}

/// Body of creating a conversation. Names are checked after parsing, so that their error is `invalid_name`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct CreateBody {
    pub participants: Vec<String>,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
}

/// Body of adding participants.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct AddBody {
    pub participants: Vec<String>,
}

/// Body of a send.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct SendBody {
    pub text: String,
    #[serde(default)]
    pub reply_to: Option<String>,
}

/// Body of a reaction.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub struct ReactionBody {
    pub reaction: u32,
}

/// A frame from a client.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum ClientFrame {
    Send {
        conversation: String,
        text: String,
        #[serde(default)]
        reply_to: Option<String>,
        #[serde(default)]
        client_id: Option<String>,
    },
    Read {
        message_id: String,
    },
    React {
        message_id: String,
        #[serde(deserialize_with = "present")]
        reaction: Option<u32>,
    },
    Resume {
        positions: BTreeMap<String, u64>,
        #[serde(default)]
        more: bool,
    },
    Auth {
        token: String,
    },
    Ping {},
}

/// Refuses a missing field where `null` has a meaning of its own.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(from)
}

/// What happened in a conversation, beside messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum ReceiptKind {
    Delivered { up_to: Seq, ts: u64 },
    Read { up_to: Seq, ts: u64 },
    Reaction { message_id: MessageId, reaction: Option<u32>, ts: u64 },
}

/// Why a span is not sent on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum GapReason {
    TooFar,
    Replaced,
    NotParticipant,
}

/// A frame to a client.
#[derive(Debug, Serialize)]
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
        reference: &'a serde_json::Value,
        result: serde_json::Value,
    },
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a serde_json::Value>,
        problem: ProblemBody<'a>,
    },
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a serde_json::Value>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_frame_needs_the_field_but_takes_null() {
        let parse = |text: &str| serde_json::from_str::<ClientFrame>(text);
        assert!(parse(r#"{"t":"react","message_id":"x","reaction":null}"#).is_ok());
        assert!(parse(r#"{"t":"react","message_id":"x"}"#).is_err());
        assert!(parse(r#"{"t":"ping","unknown":1}"#).is_ok());
        assert!(parse(r#"{"t":"typing"}"#).is_err());
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
