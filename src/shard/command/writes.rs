//! What writes carry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Seq, SessionId, UserId};
use crate::log::record::Fingerprint;
use crate::protocol::{Patch, Role, Settings, SettingsChange};

/// Create a conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Create {
    pub name: ConversationName,
    pub by: UserId,
    pub title: Option<Arc<str>>,
    /// Without duplicates, the creator first.
    pub participants: Vec<UserId>,
    pub key: Option<IdempotencyKey>,
    /// Over name (if the client chose it), title, participants, data and settings as sent.
    pub fingerprint: Fingerprint,
    /// A JSON object, compact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Arc<str>>,
    #[serde(default)]
    pub settings: Settings,
}

impl Create {
    /// For tests: of these, the first of whom creates it, and without anything else.
    #[cfg(test)]
    pub(crate) fn of(name: &str, users: &[&str]) -> Self {
        let user = |who: &&str| UserId::parse(who).expect("a name");
        let participants: Vec<UserId> = users.iter().map(user).collect();
        Self {
            name: ConversationName::parse(name).expect("a name"),
            by: participants[0].clone(),
            title: None,
            participants,
            key: None,
            fingerprint: Fingerprint::default(),
            data: None,
            settings: Settings::default(),
        }
    }

    /// Whether its record has what not every version of records knows.
    #[must_use]
    pub(crate) fn has_more(&self) -> bool {
        self.data.is_some() || self.settings != Settings::default()
    }
}

/// Write a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Send {
    pub conversation: ConversationName,
    pub source: UserId,
    pub text: Arc<str>,
    pub reply_to: Option<MessageId>,
    pub key: Option<IdempotencyKey>,
    /// Keys of later messages of the same socket: it is not written any more once one of them was
    /// (ADR 7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<IdempotencyKey>,
    /// A JSON object, compact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Arc<str>>,
    /// As sent; those who do not participate are left out of what is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
}

impl Send {
    /// A text alone, without a key.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn plain(conversation: ConversationName, source: UserId, text: &str) -> Self {
        let (text, unless, mentions) = (Arc::from(text), Vec::new(), Vec::new());
        Self {
            conversation,
            source,
            text,
            reply_to: None,
            key: None,
            unless,
            data: None,
            mentions,
        }
    }

    /// Whether its record has what not every version of records knows.
    #[must_use]
    pub(crate) fn has_more(&self) -> bool {
        self.data.is_some() || !self.mentions.is_empty()
    }
}

/// Change what a message says; at least one of text, data and mentions is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub message_id: MessageId,
    pub by: UserId,
    pub text: Option<Arc<str>>,
    /// A JSON object, compact, or nothing any more.
    pub data: Patch<Option<Arc<str>>>,
    /// As sent; those who do not participate are left out of what is stored.
    pub mentions: Option<Vec<UserId>>,
    pub key: Option<IdempotencyKey>,
    /// Keys of later edits of the message by the same socket: it is not made any more once one of
    /// them was (ADR 7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<IdempotencyKey>,
}

/// Delete a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delete {
    pub message_id: MessageId,
    pub by: UserId,
}

/// Add participants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Add {
    pub conversation: ConversationName,
    pub by: UserId,
    pub users: Vec<UserId>,
}

/// Remove a participant, or leave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Remove {
    pub conversation: ConversationName,
    pub by: UserId,
    pub user: UserId,
}

/// Change title, data or settings of a conversation; at least one is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Update {
    pub conversation: ConversationName,
    pub by: UserId,
    pub title: Patch<Option<Arc<str>>>,
    /// A JSON object, compact, or nothing any more.
    pub data: Patch<Option<Arc<str>>>,
    pub settings: SettingsChange,
}

/// Delete a conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Close {
    pub conversation: ConversationName,
    pub by: UserId,
}

/// Change what a participant may do; at least one of role and mute is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SetParticipant {
    pub conversation: ConversationName,
    pub by: UserId,
    pub user: UserId,
    pub role: Option<Role>,
    /// Unix milliseconds.
    pub muted_until: Patch<Option<u64>>,
}

/// Ban a user, who is removed if they take part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ban {
    pub conversation: ConversationName,
    pub by: UserId,
    pub user: UserId,
    pub reason: Option<Arc<str>>,
}

/// End a ban.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unban {
    pub conversation: ConversationName,
    pub by: UserId,
    pub user: UserId,
}

/// Read up to a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MarkRead {
    pub message_id: MessageId,
    pub user: UserId,
    /// The session that sent it: it gets no `receipt` frame of its own. None for REST.
    pub origin: Option<SessionId>,
}

/// Set (or with `None` take back) the reaction of a user on a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct React {
    pub message_id: MessageId,
    pub user: UserId,
    pub reaction: Option<u32>,
}

/// A device of `user` was given everything of `conversation` up to `up_to`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub conversation: ConversationName,
    pub user: UserId,
    pub up_to: Seq,
}

/// A participant types, or does not any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Typing {
    pub conversation: ConversationName,
    pub user: UserId,
    pub on: bool,
}

/// Change what a participant set for themselves alone; at least one of its parts is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SetView {
    pub conversation: ConversationName,
    /// Whose, and who does it.
    pub by: UserId,
    /// Unix milliseconds.
    pub notify_after: Patch<Option<u64>>,
    pub pinned: Patch<Option<u32>>,
    pub archived: Option<bool>,
}

/// Set up to where a participant counts as having read; it may go back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SetOwnMark {
    pub conversation: ConversationName,
    /// Whose, and who does it.
    pub by: UserId,
    pub read_up_to: Seq,
}
