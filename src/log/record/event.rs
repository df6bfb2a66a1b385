//! Changes of conversations: one request, one event, one seq.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::log::record::key::KeyUse;

/// One durable change of a conversation: one request, one event, one seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where.
    pub conversation: ConversationName,
    /// Its number in the conversation, dense from 1.
    pub seq: Seq,
    /// Unix milliseconds; never falls within a conversation.
    pub created: u64,
    /// Key of the request, under which its sender may repeat it.
    pub key: Option<KeyUse>,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// Who did it.
    #[must_use]
    pub fn actor(&self) -> &UserId {
        match &self.kind {
            EventKind::Created { by, .. }
            | EventKind::Joined { by, .. }
            | EventKind::Left { by, .. }
            | EventKind::Edited { by, .. }
            | EventKind::Deleted { by, .. } => by,
            EventKind::Message { source, .. } => source,
        }
    }

    /// The event, if it is a message, with what became of it.
    #[must_use]
    pub fn since(mut self, told: Option<Since>) -> Self {
        if let EventKind::Message { since, .. } = &mut self.kind {
            *since = told.map(Box::new);
        }
        self
    }
}

/// What happened in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The conversation came to be; always seq 1. `by` is its admin and among `participants`.
    Created {
        /// Creator and first admin.
        by: UserId,
        /// Title, if any.
        title: Option<Arc<str>>,
        /// All first participants, the creator first, without duplicates.
        participants: Vec<UserId>,
    },
    /// A participant wrote.
    Message {
        /// Id, with the conversation's slot inside.
        id: MessageId,
        /// Author.
        source: UserId,
        /// Text as sent.
        text: Arc<str>,
        /// The message answered, in the same conversation.
        reply_to: Option<MessageId>,
        /// A JSON object, compact.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Arc<str>>,
        /// Participants who are meant, without doubles.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mentions: Vec<UserId>,
        /// What became of it since, for those who read it later; the content above is then the one
        /// it has now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Box<Since>>,
    },
    /// Participants were added.
    Joined {
        /// The admin.
        by: UserId,
        /// Those who were not participants before, in the order of the request.
        users: Vec<UserId>,
    },
    /// A participant left or was removed.
    Left {
        /// The admin, or the user themselves.
        by: UserId,
        /// Who is gone.
        user: UserId,
        /// The new admin, when the admin left and someone remains.
        admin: Option<UserId>,
    },
    /// The sender of a message changed what it says.
    Edited {
        /// The message.
        message_id: MessageId,
        /// Its seq.
        message_seq: Seq,
        /// Its sender.
        by: UserId,
        /// The whole new text.
        text: Arc<str>,
        /// The whole new data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Arc<str>>,
        /// All mentions now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mentions: Vec<UserId>,
        /// The message was edited again or deleted since, and this content is gone. In no record.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        superseded: bool,
    },
    /// A message was deleted, and its content with it.
    Deleted {
        /// The message.
        message_id: MessageId,
        /// Its seq.
        message_seq: Seq,
        /// Its sender, or the admin.
        by: UserId,
    },
}

impl EventKind {
    /// A message as it is sent.
    #[must_use]
    pub fn message(
        id: MessageId,
        source: UserId,
        content: Content,
        reply_to: Option<MessageId>,
    ) -> Self {
        let Content {
            text,
            data,
            mentions,
        } = content;
        Self::Message {
            id,
            source,
            text,
            reply_to,
            data,
            mentions,
            since: None,
        }
    }

    /// A message of text alone.
    #[cfg(test)]
    pub(crate) fn plain(id: MessageId, source: UserId, text: impl Into<Arc<str>>) -> Self {
        Self::message(
            id,
            source,
            Content {
                text: text.into(),
                ..Content::none()
            },
            None,
        )
    }

    /// Whether it changes who participates; such a change also has rows in the outbox.
    #[must_use]
    pub fn changes_members(&self) -> bool {
        match self {
            Self::Created { .. } | Self::Joined { .. } | Self::Left { .. } => true,
            Self::Message { .. } | Self::Edited { .. } | Self::Deleted { .. } => false,
        }
    }

    /// The message that it sends or changes.
    #[must_use]
    pub fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Message { id, .. } => Some(*id),
            Self::Edited { message_id, .. } | Self::Deleted { message_id, .. } => Some(*message_id),
            Self::Created { .. } | Self::Joined { .. } | Self::Left { .. } => None,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Text as sent; empty when it is gone.
    pub text: Arc<str>,
    /// A JSON object, compact.
    pub data: Option<Arc<str>>,
    /// Participants who are meant, without doubles.
    pub mentions: Vec<UserId>,
}

impl Content {
    /// What a deleted message says.
    #[must_use]
    pub fn none() -> Self {
        Self {
            text: Arc::from(""),
            data: None,
            mentions: Vec::new(),
        }
    }

    /// Whether it is more than a text.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.data.is_some() || !self.mentions.is_empty()
    }
}

/// What became of a message after it was sent. In no record: whoever reads a message later fills it
/// in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// Seq of its last edit, or of its deletion.
    pub seq: Seq,
    /// When it was last edited, in unix milliseconds; none of a deleted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<u64>,
    /// Who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<UserId>,
}
