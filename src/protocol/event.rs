//! What happened in a conversation, as clients are told.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::{MessageId, Seq, UserId};
use crate::protocol::object::object_or_null;
use crate::protocol::{ChangedSettings, JsonObject, Role, Settings};

/// What happened in a conversation, beside messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum EventKind {
    /// The conversation was made.
    Created {
        /// Who did it.
        by: UserId,
        /// What people call it.
        title: Option<String>,
        /// The first who take part, at most 100.
        participants: Vec<UserId>,
        /// How many take part.
        participants_count: u64,
        /// What was stored with it.
        #[schemars(schema_with = "object_or_null")]
        data: Option<JsonObject>,
        /// All settings that it has.
        #[schemars(with = "ChangedSettings")]
        settings: Settings,
    },
    /// Participants were added.
    Joined {
        /// Who did it.
        by: UserId,
        /// Who was added.
        users: Vec<UserId>,
    },
    /// A participant was removed, or left.
    Left {
        /// Who did it.
        by: UserId,
        /// Who takes part no more.
        user: UserId,
        /// Who is admin from now on, if the admin left.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "UserId")]
        admin: Option<UserId>,
        /// They were banned. Absent otherwise.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        banned: bool,
    },
    /// The sender of a message changed it.
    Edited {
        /// The message.
        message_id: MessageId,
        /// Its number in the conversation.
        message_seq: Seq,
        /// Who did it.
        by: UserId,
        /// What it says now; empty when this was superseded.
        text: String,
        /// What its sender stored with it.
        #[schemars(schema_with = "object_or_null")]
        data: Option<JsonObject>,
        /// Participants who are meant.
        mentions: Vec<UserId>,
        /// The message was edited again or deleted since: what it said then is gone. Absent
        /// otherwise.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        superseded: bool,
    },
    /// A message was deleted, and what it said is gone.
    Deleted {
        /// The message.
        message_id: MessageId,
        /// Its number in the conversation.
        message_seq: Seq,
        /// Who did it.
        by: UserId,
    },
    /// What a participant may do changed.
    Role {
        /// Who did it. If `role` is `admin` they were it before, and are moderator from now on.
        by: UserId,
        /// The participant.
        user: UserId,
        /// What they are from now on.
        role: Role,
        /// Until when they are muted, in unix milliseconds; null when they are not.
        muted_until: Option<u64>,
    },
    /// Title, data or settings changed: what did not is absent.
    Updated {
        /// Who did it.
        by: UserId,
        /// What people call it from now on; null: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Option<String>>,
        /// What is stored with it from now on; null: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "object_or_null")]
        data: Option<Option<JsonObject>>,
        /// The settings that changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "ChangedSettings")]
        settings: Option<ChangedSettings>,
    },
    /// The conversation was deleted; nothing comes after it.
    Closed {
        /// Who did it.
        by: UserId,
    },
}
