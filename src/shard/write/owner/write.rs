//! Writes as the loop takes them.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Seq, SessionId, UserId};
use crate::log::Stream;
use crate::log::record::{Event, IndexChange};
use crate::shard::command::{
    Add, Ban, Close, Create, Delete, Edit, Remove, Send, SetOwnMark, SetParticipant, SetView,
    Unban, Update,
};
use crate::shard::file::store::{Located, Outdated};

/// A write as the loop takes it: names resolved.
#[derive(Debug)]
pub(in crate::shard) enum Write {
    Create(Create),
    Send(Send),
    Add(Add),
    Remove(Remove),
    Update(Update),
    Close(Close),
    Set(SetParticipant),
    Ban(Ban),
    Unban(Unban),
    View(SetView),
    OwnMark(SetOwnMark),
    Read {
        conversation: ConversationName,
        seq: Seq,
        user: UserId,
        origin: Option<SessionId>,
    },
    React {
        /// Where the message was when this came.
        at: Located,
        id: MessageId,
        user: UserId,
        reaction: Option<u32>,
    },
    /// Of a message that is named by its id alone: in which conversation it is, is found out first.
    Change {
        conversation: Option<ConversationName>,
        change: Change,
    },
    Index(Vec<IndexChange>),
    /// Always a message, or a deletion of one or of its conversation.
    Resubmit(Arc<Event>),
    /// A step by which a closed conversation is erased.
    Erase {
        conversation: ConversationName,
        step: Step,
    },
    /// A step by which a conversation loses what is older than it keeps.
    Retire {
        conversation: ConversationName,
        outdated: Outdated,
        step: Retire,
    },
}

impl Write {
    /// The conversation that it concerns, as far as it is known; an index change concerns none.
    pub(super) fn conversation(&self) -> Option<&ConversationName> {
        match self {
            Self::Create(create) => Some(&create.name),
            Self::Send(send) => Some(&send.conversation),
            Self::Add(add) => Some(&add.conversation),
            Self::Remove(remove) => Some(&remove.conversation),
            Self::Update(update) => Some(&update.conversation),
            Self::Close(close) => Some(&close.conversation),
            Self::Set(set) => Some(&set.conversation),
            Self::Ban(ban) => Some(&ban.conversation),
            Self::Unban(unban) => Some(&unban.conversation),
            Self::View(set) => Some(&set.conversation),
            Self::OwnMark(set) => Some(&set.conversation),
            Self::Read { conversation, .. }
            | Self::Erase { conversation, .. }
            | Self::Retire { conversation, .. } => Some(conversation),
            Self::React { at, .. } => Some(&at.conversation),
            Self::Change { conversation, .. } => conversation.as_ref(),
            Self::Resubmit(event) => Some(&event.conversation),
            Self::Index(_) => None,
        }
    }

    /// Into which stream its record goes.
    pub(super) fn stream(&self) -> Stream {
        match self {
            Self::Read { .. } | Self::React { .. } | Self::OwnMark(_) => Stream::Receipts,
            Self::Erase { step, .. } => step.stream(),
            Self::Retire { step, .. } => step.stream(),
            _ => Stream::Messages,
        }
    }

    /// Whose receipt it is, if it is one.
    pub(super) fn receipt_of(&self) -> Option<&UserId> {
        match self {
            Self::Read { user, .. } | Self::React { user, .. } => Some(user),
            Self::OwnMark(set) => Some(&set.by),
            _ => None,
        }
    }
}

/// A step by which a closed conversation is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) enum Step {
    /// Messages and events up to a seq go.
    Prune(Seq),
    /// The next other rows of a stream go.
    Erase(Stream),
    /// Nothing is left.
    Last,
}

impl Step {
    /// Into which stream its record goes.
    pub(in crate::shard) fn stream(self) -> Stream {
        match self {
            Self::Erase(stream) => stream,
            Self::Prune(_) | Self::Last => Stream::Messages,
        }
    }
}

/// A step by which a conversation loses what is older than it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) enum Retire {
    /// Nobody reacts any more to what is to go. It has no record: what it answers is the last one
    /// of before.
    Quiet,
    /// When it was delivered and read goes, and the reactions to these messages.
    Beside(Vec<MessageId>),
    /// Messages and events go; with the last step for now sessions are told.
    Events { is_last: bool },
}

impl Retire {
    /// Into which stream its record goes.
    pub(in crate::shard) fn stream(&self) -> Stream {
        match self {
            Self::Quiet | Self::Beside(_) => Stream::Receipts,
            Self::Events { .. } => Stream::Messages,
        }
    }
}

/// What changes a message.
#[derive(Debug)]
pub(in crate::shard) enum Change {
    Edit(Edit),
    Delete(Delete),
}

impl Change {
    /// Which message.
    pub(super) fn message_id(&self) -> MessageId {
        match self {
            Self::Edit(edit) => edit.message_id,
            Self::Delete(delete) => delete.message_id,
        }
    }

    /// Who changes it.
    pub(super) fn by(&self) -> &UserId {
        match self {
            Self::Edit(edit) => &edit.by,
            Self::Delete(delete) => &delete.by,
        }
    }

    /// Keys after which it may not be made any more.
    pub(super) fn unless(&self) -> &[IdempotencyKey] {
        match self {
            Self::Edit(edit) => &edit.unless,
            Self::Delete(_) => &[],
        }
    }

    /// The key of it, if it is one that has a key.
    pub(super) fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Edit(edit) => edit.key.as_ref(),
            Self::Delete(_) => None,
        }
    }
}
