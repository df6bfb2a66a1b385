//! Conversations: as clients see them, who takes part, the items of a list, and the bodies that
//! create and change them and add participants.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ConversationName, Seq, UserId};
use crate::protocol::direct;
use crate::protocol::limits::{
    NAMES_PER_REQUEST_MAX, PARTICIPANTS_SHOWN_MAX, PINNED_MAX, TITLE_BYTES_MAX, UNREAD_MAX,
};
use crate::protocol::message::Message;
use crate::protocol::null::{not_null, or_null};
use crate::protocol::object::{JsonObject, object_or_null};
use crate::protocol::participant::{Participant, Role};
use crate::protocol::patch::given;
use crate::protocol::settings::{Settings, SettingsGiven};
use crate::protocol::whole;

/// A conversation as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Conversation {
    /// Its only identity.
    pub name: ConversationName,
    /// What people call it.
    pub title: Option<String>,
    /// Whether it is of two, by `/direct`: nobody else is added, and neither has rights over the
    /// other.
    #[serde(default)]
    pub direct: bool,
    /// Its one participant with the role `admin`; the last one, when nobody is left.
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
    /// What the caller is in it.
    #[serde(default)]
    pub my_role: Role,
    /// Until when the caller is muted, in unix milliseconds; null when they are not.
    #[serde(default)]
    pub my_muted_until: Option<u64>,
    /// What its admin stored with it.
    #[serde(default)]
    #[schemars(schema_with = "object_or_null")]
    pub data: Option<JsonObject>,
    /// What its admin set.
    #[serde(default)]
    pub settings: Settings,
    /// For how many seconds its messages and events are kept, by its settings and by what the
    /// deployment says; null: for ever.
    #[serde(default)]
    #[schemars(schema_with = "seconds_or_null")]
    pub retention_effective_s: Option<u32>,
    /// The lowest seq that is still held; what was before it is gone. `last_seq` + 1 when nothing
    /// is.
    #[serde(default = "first")]
    pub first_seq: Seq,
    /// The caller's own view of it: in the list, in what shows one, and where it is changed.
    #[serde(flatten)]
    pub own: Option<OwnView>,
}

/// Where nothing is gone.
fn first() -> Seq {
    Seq(1)
}

fn seconds_or_null(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "null"], "format": "int64", "minimum": 1})
}

/// A participant's own view of a conversation, which nobody else sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OwnView {
    /// Until when the caller wants no notifications, in unix milliseconds: kept for their clients,
    /// without any effect in the server.
    #[serde(default)]
    pub notify_after: Option<u64>,
    /// The caller's order of those that they pinned; null: not pinned.
    #[serde(default)]
    #[schemars(range(max = PINNED_MAX))]
    pub pinned: Option<u32>,
    /// Whether the caller put it away.
    #[serde(default)]
    pub archived: bool,
    /// Up to where the caller counts as having read. It may go back, and is not what others are
    /// shown.
    #[serde(default)]
    pub read_up_to: Seq,
    /// Messages of others after that, but for deleted ones; the largest number means that many or
    /// more.
    #[schemars(range(max = UNREAD_MAX))]
    pub unread: u32,
    /// Those among them that mention the caller; the largest number means that many or more.
    #[serde(default)]
    #[schemars(range(max = UNREAD_MAX))]
    pub unread_mentions: u32,
}

/// An item of the caller's list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConversationItem {
    /// The conversation, without its participants.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// The newest message that is not deleted.
    pub last_message: Option<Message>,
    /// When it changed, for the node that makes the list; no client gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub changed: Option<Changed>,
}

/// When something changed in a conversation, in unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// Its newest message or event.
    pub event: u64,
    /// The newest receipt of the caller, or change of their own view; 0 when there was none.
    pub own: u64,
}

impl ConversationItem {
    /// Messages of others that the caller has not read.
    #[cfg(test)]
    pub(crate) fn unread(&self) -> Option<u32> {
        self.conversation.own.map(|own| own.unread)
    }
}

/// An item whose owner did not answer in time. The index of a user holds the names only, so all
/// else is null rather than made up; the fields are there, so that a client finds the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PartialItem {
    pub name: ConversationName,
    /// Told by the name.
    pub direct: bool,
    pub title: (),
    pub admin: (),
    pub created: (),
    pub last_seq: (),
    pub participants_count: (),
    pub my_role: (),
    pub my_muted_until: (),
    pub data: (),
    pub settings: (),
    pub retention_effective_s: (),
    pub first_seq: (),
    pub notify_after: (),
    pub pinned: (),
    pub archived: (),
    pub read_up_to: (),
    pub unread: (),
    pub unread_mentions: (),
    pub last_message: (),
}

impl PartialItem {
    /// What is known of a conversation by its name.
    #[must_use]
    pub(crate) fn of(name: ConversationName) -> Self {
        let [
            title,
            admin,
            created,
            last_seq,
            participants_count,
            my_role,
            my_muted_until,
            data,
            settings,
            retention_effective_s,
            first_seq,
            notify_after,
            pinned,
            archived,
            read_up_to,
            unread,
            unread_mentions,
            last_message,
        ] = [(); 18];
        Self {
            direct: direct::is_direct(&name),
            name,
            title,
            admin,
            created,
            last_seq,
            participants_count,
            my_role,
            my_muted_until,
            data,
            settings,
            retention_effective_s,
            first_seq,
            notify_after,
            pinned,
            archived,
            read_up_to,
            unread,
            unread_mentions,
            last_message,
        }
    }
}

/// An item of the list: the whole, or what the caller's own shard knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ListItem {
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
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            let own = OwnView::json_schema(generator);
            let names = own.get("properties").and_then(Value::as_object);
            let named = names.into_iter().flat_map(|names| names.keys());
            required.extend(named.map(|name| Value::from(name.as_str())));
        }
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
pub(crate) struct CreateBody {
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
    /// What to store with it: a JSON object of at most 4,096 bytes, given back as it is. Read by
    /// [`JsonObject::member`].
    #[serde(default)]
    #[schemars(schema_with = "object_or_null")]
    pub data: Option<IgnoredAny>,
    /// Settings that are to be other than the default ones.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "SettingsGiven")]
    pub settings: Option<SettingsGiven>,
}

/// Body of changing a conversation: what is absent stays, and something must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct ChangeBody {
    /// What people are to call it; its length is counted in bytes of UTF-8; null: nothing.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>", length(min = 1, max = TITLE_BYTES_MAX))]
    pub title: Option<Option<String>>,
    /// What to store with it from now on: a JSON object of at most 4,096 bytes; null: nothing. Read
    /// by [`JsonObject::member`].
    #[serde(default)]
    #[expect(dead_code, reason = "its very text is stored, and read apart")]
    #[schemars(schema_with = "object_or_null")]
    pub data: Option<IgnoredAny>,
    /// Settings that are to change.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "SettingsGiven")]
    pub settings: Option<SettingsGiven>,
}

/// Body of opening the conversation with one other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirectBody {
    /// With whom.
    #[schemars(with = "UserId")]
    pub user: String,
}

/// Body of changing one's own view: what is absent stays, and something must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct ViewBody {
    /// Until when the caller wants no notifications, in unix milliseconds; null: they want them.
    #[serde(default, deserialize_with = "whole::moment")]
    #[schemars(schema_with = "whole::moment_schema")]
    pub notify_after: Option<Option<u64>>,
    /// The caller's order of those that they pinned; null: not pinned.
    #[serde(default, deserialize_with = "whole::place")]
    #[schemars(schema_with = "whole::place_schema")]
    pub pinned: Option<Option<u32>>,
    /// Whether the caller puts it away.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "bool")]
    pub archived: Option<bool>,
    /// Up to where the caller is to count as having read: at most the last seq. It may go back.
    #[serde(default, deserialize_with = "whole::seq")]
    #[schemars(with = "Seq")]
    pub read_up_to: Option<u64>,
}

/// Body of adding participants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddBody {
    /// Whom to add; members again are no error.
    #[schemars(with = "Vec<UserId>", length(min = 1, max = NAMES_PER_REQUEST_MAX))]
    pub participants: Vec<String>,
}
