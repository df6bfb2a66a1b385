//! What an event makes, and what it concerns.

#[cfg(test)]
use std::sync::Arc;

use crate::ids::{MessageId, UserId};
use crate::log::record::event::{Content, EventKind};
#[cfg(test)]
use crate::protocol::Settings;

impl EventKind {
    /// A message as it is sent.
    #[must_use]
    pub(crate) fn message(
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

    /// A creation without anything that has a default.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn created(by: UserId, title: Option<Arc<str>>, participants: Vec<UserId>) -> Self {
        Self::Created {
            by,
            title,
            participants,
            data: None,
            settings: Settings::default(),
        }
    }

    /// Members are added.
    #[must_use]
    pub(crate) fn joined(by: UserId, users: Vec<UserId>) -> Self {
        Self::Joined {
            by,
            users,
            readers: Vec::new(),
            muted: Vec::new(),
        }
    }

    /// A participant leaves, or is removed without a ban.
    #[must_use]
    pub(crate) fn left(by: UserId, user: UserId, admin: Option<UserId>) -> Self {
        Self::Left {
            by,
            user,
            admin,
            banned: false,
            reason: None,
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
    pub(crate) fn changes_members(&self) -> bool {
        match self {
            Self::Created { .. }
            | Self::Joined { .. }
            | Self::Left { .. }
            | Self::Closed { .. } => true,
            Self::Message { .. }
            | Self::Edited { .. }
            | Self::Deleted { .. }
            | Self::Role { .. }
            | Self::Updated { .. } => false,
        }
    }

    /// Whether it changes who participates, or what they may do.
    #[must_use]
    pub(crate) fn changes_rights(&self) -> bool {
        self.changes_members() || matches!(self, Self::Role { .. } | Self::Updated { .. })
    }

    /// The message that it sends or changes.
    #[must_use]
    pub(crate) fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Message { id, .. } => Some(*id),
            Self::Edited { message_id, .. } | Self::Deleted { message_id, .. } => Some(*message_id),
            Self::Created { .. }
            | Self::Joined { .. }
            | Self::Left { .. }
            | Self::Role { .. }
            | Self::Updated { .. }
            | Self::Closed { .. } => None,
        }
    }
}
