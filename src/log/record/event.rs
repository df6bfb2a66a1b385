//! Changes of conversations: one request, one event, one seq.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::log::record::key::KeyUse;
use crate::protocol::{Patch, Role, Settings, SettingsChange};

/// One durable change of a conversation: one request, one event, one seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
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
    pub(crate) fn actor(&self) -> &UserId {
        match &self.kind {
            EventKind::Created { by, .. }
            | EventKind::Joined { by, .. }
            | EventKind::Left { by, .. }
            | EventKind::Edited { by, .. }
            | EventKind::Deleted { by, .. }
            | EventKind::Role { by, .. }
            | EventKind::Updated { by, .. }
            | EventKind::Closed { by } => by,
            EventKind::Message { source, .. } => source,
        }
    }

    /// The event, if it is a message, with what became of it.
    #[must_use]
    pub(crate) fn since(mut self, told: Option<Since>) -> Self {
        if let EventKind::Message { since, .. } = &mut self.kind {
            *since = told.map(Box::new);
        }
        self
    }
}

/// What happened in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EventKind {
    /// The conversation came to be; always seq 1. `by` is its admin and among `participants`.
    Created {
        /// Creator and first admin.
        by: UserId,
        /// Title, if any.
        title: Option<Arc<str>>,
        /// All first participants, the creator first, without duplicates.
        participants: Vec<UserId>,
        /// A JSON object, compact.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Arc<str>>,
        /// Its first settings.
        #[serde(default)]
        settings: Settings,
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
        /// Whoever added them.
        by: UserId,
        /// Those who were not participants before, in the order of the request.
        users: Vec<UserId>,
        /// Which of them come as readers; the others come as members.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        readers: Vec<UserId>,
        /// Which of them are muted still, until when, in unix milliseconds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        muted: Vec<(UserId, u64)>,
    },
    /// A participant left or was removed.
    Left {
        /// Whoever removed or banned them, or the user themselves.
        by: UserId,
        /// Who is gone.
        user: UserId,
        /// The new admin, when the admin left and someone remains; not muted any more.
        admin: Option<UserId>,
        /// They are banned, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        banned: bool,
        /// Why, for those who may ban.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Arc<str>>,
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
        /// Its sender, or whoever may delete the messages of others.
        by: UserId,
    },
    /// What a participant may do changed. With the role `admin` the office was handed over: the
    /// admin before, who is `by`, is moderator now.
    Role {
        /// Who did it.
        by: UserId,
        /// The participant.
        user: UserId,
        /// What they are now.
        role: Role,
        /// Until when they are muted now, in unix milliseconds.
        muted_until: Option<u64>,
    },
    /// Title, data or settings of the conversation changed.
    Updated {
        /// Who did it.
        by: UserId,
        /// The new title, if it changed.
        #[serde(default)]
        title: Patch<Option<Arc<str>>>,
        /// The new data, if it changed.
        #[serde(default)]
        data: Patch<Option<Arc<str>>>,
        /// The settings that changed.
        #[serde(default)]
        settings: SettingsChange,
    },
    /// The conversation was deleted: nobody takes part any more, and there is no later event.
    Closed {
        /// Its admin.
        by: UserId,
    },
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
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
    pub(crate) fn none() -> Self {
        Self {
            text: Arc::from(""),
            data: None,
            mentions: Vec::new(),
        }
    }

    /// Whether it is more than a text.
    #[must_use]
    pub(crate) fn has_more(&self) -> bool {
        self.data.is_some() || !self.mentions.is_empty()
    }
}

/// What became of a message after it was sent. In no record: whoever reads a message later fills it
/// in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Since {
    /// Seq of its last edit, or of its deletion.
    pub seq: Seq,
    /// When it was last edited, in unix milliseconds; none of a deleted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<u64>,
    /// Who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<UserId>,
}
