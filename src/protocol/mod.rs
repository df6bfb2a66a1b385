//! The client contract: the types of REST's bodies here, the frames of the WebSocket in `frames`,
//! the table of paths in [`routes`], what each operation takes and answers in [`operations`], and
//! the OpenAPI document of all that in [`openapi`]. Additive changes only. Encoding and decoding
//! live here; what the fields mean is also written in `docs/api.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::ids::{ConversationName, MessageId, Seq, UserId};

pub use frames::{ClientFrame, EventKind, GapReason, OkResult, ReceiptKind, ServerFrame};
pub use object::JsonObject;
pub use scanner::OBJECT_BYTES_MAX;

pub mod routes;

mod facts;

pub mod operations;

pub mod headers;

pub mod openapi;

pub mod upgrade;

mod frames;

mod object;

mod scanner;

pub(crate) mod whole;

/// Longest text of a message, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 16_384;
/// Most mentions of a message.
pub const MENTIONS_MAX: usize = 50;
/// Most edits of a message.
pub const EDITS_MAX: u32 = 1_000;
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
/// Nobody is told of typing and presence in a conversation with more participants than this.
pub const CLOSE_PARTICIPANTS_MAX: usize = 250;
/// Conversations that a session watches at once.
pub const WATCHED_MAX: usize = 20;

/// Role of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May add and remove participants.
    Admin,
    /// Everyone else.
    Member,
}

/// A participant and his role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// The user.
    pub name: UserId,
    /// What he may do.
    pub role: Role,
}

/// A conversation as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// Its only identity.
    pub name: ConversationName,
    /// What people call it.
    pub title: Option<String>,
    /// Who may add and remove participants.
    pub admin: UserId,
    /// When it was created, in unix milliseconds.
    pub created: u64,
    /// Number of its newest change.
    pub last_seq: Seq,
    /// How many take part.
    pub participants_count: u64,
    /// The first of them, at most 100; the others by `/participants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Participant>", length(max = PARTICIPANTS_SHOWN_MAX))]
    pub participants: Option<Vec<Participant>>,
}

/// A message as clients see it in REST answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// What is the same for every reader.
    #[serde(flatten)]
    pub core: MessageCore,
    /// How many gave each reaction, by its number.
    pub reactions: BTreeMap<u32, u64>,
    /// The caller's own reaction.
    pub my_reaction: Option<u32>,
}

/// The fields of a message that are the same for every reader: what a `message` frame carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct MessageCore {
    /// Leads to the message without its conversation's name.
    pub id: MessageId,
    /// Where it was sent.
    pub conversation: ConversationName,
    /// Its number in the conversation.
    pub seq: Seq,
    /// Who sent it.
    pub source: UserId,
    /// As sent, or as edited last; empty when it was deleted.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// When it was sent, in unix milliseconds; never falls within a conversation.
    pub created: u64,
    /// When it was last edited, in unix milliseconds.
    pub edited: Option<u64>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// What its sender stored with it.
    #[serde(default)]
    #[schemars(schema_with = "object::object_or_null")]
    pub data: Option<JsonObject>,
    /// Participants who are meant.
    #[serde(default)]
    pub mentions: Vec<UserId>,
    /// Who deleted it.
    #[serde(default)]
    pub deleted_by: Option<UserId>,
}

/// What became of a message at one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The message.
    pub message_id: MessageId,
    /// The participant.
    pub user_id: UserId,
    /// A device of his has been given this or a later message.
    pub delivered: bool,
    /// He has read up to this message.
    pub read: bool,
    /// His reaction.
    pub reaction: Option<u32>,
    /// Since when delivered, in unix milliseconds.
    pub delivered_at: Option<u64>,
    /// Since when read, in unix milliseconds.
    pub read_at: Option<u64>,
    /// The newest of these changes, in unix milliseconds.
    pub ts: Option<u64>,
}

/// One participant's watermarks in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watermark {
    /// The participant.
    pub user: UserId,
    /// What was delivered to him.
    pub delivered_up_to: Seq,
    /// What he has read.
    pub read_up_to: Seq,
}

/// Whether a user is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// The user.
    pub user: UserId,
    /// A session of theirs lives, or did in the last 30 s.
    pub online: bool,
    /// When their last session ended, in unix milliseconds, to the minute; null while they are
    /// online, and for one who was never seen.
    pub last_seen: Option<u64>,
}

/// The presence of the participants of a conversation, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresencePage {
    /// Participants who have sent, read or reacted since they joined.
    #[schemars(length(max = CLOSE_PARTICIPANTS_MAX))]
    pub items: Vec<Presence>,
}

/// An item of the caller's list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationItem {
    /// The conversation, without its participants.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// Messages of others after the caller's read watermark; the largest number means that many or
    /// more.
    #[schemars(range(max = UNREAD_MAX))]
    pub unread: Option<u32>,
    /// The newest message that is not deleted.
    pub last_message: Option<Message>,
}

/// An item whose owner did not answer in time. The index of a user holds the names only, so all
/// else is null rather than made up; the fields are there, so that a client finds the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields of the whole item, always null but for the name"
)]
pub struct PartialItem {
    pub name: ConversationName,
    pub title: (),
    pub admin: (),
    pub created: (),
    pub last_seq: (),
    pub participants_count: (),
    pub unread: (),
    pub last_message: (),
}

impl PartialItem {
    /// What is known of a conversation by its name.
    #[must_use]
    pub fn of(name: ConversationName) -> Self {
        let [
            title,
            admin,
            created,
            last_seq,
            participants_count,
            unread,
            last_message,
        ] = [(); 7];
        Self {
            name,
            title,
            admin,
            created,
            last_seq,
            participants_count,
            unread,
            last_message,
        }
    }
}

/// An item of the list: the whole, or what the caller's own shard knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ListItem {
    /// As its owner tells it.
    Whole(Box<ConversationItem>),
    /// Its owner did not answer in time.
    Partial(PartialItem),
}

/// One shape for both, as clients see it: a union of the two would be one type more for no gain.
impl JsonSchema for ListItem {
    fn schema_name() -> Cow<'static, str> {
        ConversationItem::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ConversationItem::json_schema(generator);
        schema.insert(
            "description".to_owned(),
            "An item of the caller's list of conversations. Everything but `name` is null when its owner did not answer in \
             time; the page is then `partial`."
                .into(),
        );
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("participants");
            let others = properties.iter_mut().filter(|(name, _)| *name != "name");
            others.for_each(|(_, property)| openapi::or_null(property));
        }
        schema
    }
}

/// A page with an opaque cursor to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; null when there is none.
    pub next: Option<String>,
    /// Some items are not whole; absent when all are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A page of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPage {
    /// The messages, in the order asked for.
    pub items: Vec<Message>,
    /// The lowest seq given if there are older matches, else null.
    pub before: Option<Seq>,
    /// The highest seq given if there are newer matches, else null.
    pub after: Option<Seq>,
}

/// A page of a conversation's changes: the objects of the `message` and `event` frames, dense by
/// seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EventsPage")]
pub struct EventsPage<T = Value> {
    /// The changes, oldest first.
    #[schemars(schema_with = "frames::committed_frames")]
    pub items: Vec<T>,
    /// What to give as `after` for the next page; null when there is none.
    pub next: Option<Seq>,
}

/// Body of creating a conversation. Names are checked after parsing, so that their error is
/// `invalid_name`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Who takes part beside the caller; duplicates are ignored.
    #[schemars(with = "Vec<UserId>", length(min = 1, max = NAMES_PER_REQUEST_MAX))]
    pub participants: Vec<String>,
    /// What people call it; its length is counted in bytes of UTF-8.
    #[serde(default)]
    #[schemars(length(min = 1, max = TITLE_BYTES_MAX))]
    pub title: Option<String>,
    /// Its name; without one the server makes one.
    #[serde(default)]
    #[schemars(with = "Option<ConversationName>")]
    pub name: Option<String>,
}

/// Body of adding participants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBody {
    /// Whom to add; members again are no error.
    #[schemars(with = "Vec<UserId>", length(min = 1, max = NAMES_PER_REQUEST_MAX))]
    pub participants: Vec<String>,
}

/// Body of a send.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendBody {
    /// What to say; its length is counted in bytes of UTF-8.
    #[schemars(length(min = 1, max = TEXT_BYTES_MAX))]
    pub text: String,
    /// The message of this conversation that it answers.
    #[serde(default)]
    #[schemars(with = "Option<Uuid>")]
    pub reply_to: Option<String>,
    /// What to store with it: a JSON object of at most 4,096 bytes, given back as it is. Read by
    /// [`JsonObject::member`].
    #[serde(default)]
    #[schemars(schema_with = "object::object_or_null")]
    pub data: Option<IgnoredAny>,
    /// Participants who are meant; others are left out of what is stored.
    #[serde(default)]
    #[schemars(with = "Option<Vec<UserId>>", length(max = MENTIONS_MAX))]
    pub mentions: Option<Vec<String>>,
}

/// Body of an edit: what is absent stays, and something must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct EditBody {
    /// The new text; its length is counted in bytes of UTF-8.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "String", length(min = 1, max = TEXT_BYTES_MAX))]
    pub text: Option<String>,
    /// What to store with it from now on: a JSON object of at most 4,096 bytes; null: nothing. Read
    /// by [`JsonObject::member`].
    #[serde(default)]
    #[schemars(schema_with = "object::object_or_null")]
    pub data: Option<IgnoredAny>,
    /// All participants who are meant from now on; others are left out of what is stored.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "Vec<UserId>", length(max = MENTIONS_MAX))]
    pub mentions: Option<Vec<String>>,
}

/// A field that may be absent, but not null.
pub(crate) fn not_null<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Body of a reaction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReactionBody {
    /// By convention a Unicode code point.
    #[serde(deserialize_with = "whole::number")]
    #[schemars(range(min = 1, max = REACTION_MAX))]
    pub reaction: u32,
}
