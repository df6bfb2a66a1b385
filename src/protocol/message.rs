//! Messages: as clients see them, and the bodies that make, edit and answer them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::protocol::limits::{MENTIONS_MAX, REACTION_MAX, TEXT_BYTES_MAX};
use crate::protocol::null::not_null;
use crate::protocol::object::JsonObject;
use crate::protocol::{object, whole};

/// A message as clients see it in REST answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Message {
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
pub(crate) struct MessageCore {
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

/// Body of a send.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendBody {
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
pub(crate) struct EditBody {
    /// The new text; its length is counted in bytes of UTF-8.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "String", length(min = 1, max = TEXT_BYTES_MAX))]
    pub text: Option<String>,
    /// What to store with it from now on: a JSON object of at most 4,096 bytes; null: nothing. Read
    /// by [`JsonObject::member`].
    #[serde(default)]
    #[expect(dead_code, reason = "its very text is stored, and read apart")]
    #[schemars(schema_with = "object::object_or_null")]
    pub data: Option<IgnoredAny>,
    /// All participants who are meant from now on; others are left out of what is stored.
    #[serde(default, deserialize_with = "not_null")]
    #[schemars(with = "Vec<UserId>", length(max = MENTIONS_MAX))]
    pub mentions: Option<Vec<String>>,
}

/// Body of a reaction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReactionBody {
    /// By convention a Unicode code point.
    #[serde(deserialize_with = "whole::number")]
    #[schemars(range(min = 1, max = REACTION_MAX))]
    pub reaction: u32,
}
