//! Conversations: as clients see them, who takes part, the items of a list, and the bodies that
//! create them and add participants.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ConversationName, Seq, UserId};
use crate::protocol::limits::{
    NAMES_PER_REQUEST_MAX, PARTICIPANTS_SHOWN_MAX, TITLE_BYTES_MAX, UNREAD_MAX,
};
use crate::protocol::message::Message;
use crate::protocol::null::or_null;

/// Role of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May add and remove participants.
    Admin,
    /// Everyone else.
    Member,
}

/// A participant and their role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// The user.
    pub name: UserId,
    /// What they may do.
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
            others.for_each(|(_, property)| or_null(property));
        }
        schema
    }
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
