//! What a shard tells a node that has subscribed or watches, by itself. Everything here can travel
//! over a link, so fields are only ever added, with a default, and a new variant is sent only to a
//! peer that knows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Epoch, MessageId, Offset, Seq, SessionId, ShardId, UserId};
use crate::log::record::Event;
use crate::protocol::Presence;

/// A row of a user's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexItem {
    /// Which conversation.
    pub conversation: ConversationName,
    /// Seq of the user's latest `created`, `joined` or `left` in it.
    pub seq: Seq,
    /// In or out.
    pub joined: bool,
    /// Offset of the index record in the user's shard: grows with each change, orders the list.
    pub version: Offset,
}

/// What a participant has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unread {
    /// Messages of others that are not deleted.
    pub messages: u32,
    /// Those among them that mention the participant.
    pub mentions: u32,
}

/// What a shard pushes to a subscribed node. Pushes of one shard to one subscriber arrive in order
/// of their commits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Push {
    /// A committed event.
    Event {
        /// Epoch of the owner that pushes; of a lower one than was heard since the receiver
        /// subscribed nothing is delivered.
        epoch: Epoch,
        /// The event.
        event: Arc<Event>,
    },
    /// Watermarks of `user` moved; for the sessions of `targets` (senders of covered messages) and,
    /// when `read`, the sessions of the user but `origin`.
    Watermark {
        conversation: ConversationName,
        user: UserId,
        /// True for a read advance, false for a delivered one.
        read: bool,
        up_to: Seq,
        ts: u64,
        targets: Vec<UserId>,
        origin: Option<SessionId>,
        /// What is unread for the user now, of a read; `None` when that is not known at once.
        #[serde(default)]
        unread: Option<Unread>,
    },
    /// A reaction; for every participant.
    Reaction {
        conversation: ConversationName,
        user: UserId,
        message_id: MessageId,
        reaction: Option<u32>,
        ts: u64,
        /// What it takes the place of.
        #[serde(default)]
        previous: Option<u32>,
    },
    /// A participant's own view, after it changed; for all of their sessions. Since version 11 of
    /// the peer contract.
    View {
        conversation: ConversationName,
        user: UserId,
        notify_after: Option<u64>,
        pinned: Option<u32>,
        archived: bool,
        read_up_to: Seq,
    },
    /// A committed change of a subscribed user's index.
    Index { user: UserId, item: IndexItem },
    /// Everything of a conversation up to a seq is gone; for every participant. May be missing.
    /// Since version 11 of the peer contract.
    Pruned {
        conversation: ConversationName,
        up_to: Seq,
    },
    /// A participant types, or does not any more; for the sessions of the others. May be missing.
    /// Since version 7 of the peer contract.
    Typing {
        conversation: ConversationName,
        user: UserId,
        /// Until when, in unix milliseconds; in the past: they stopped.
        until: u64,
    },
    /// How users of this shard are now that the subscriber watches, the newest state of each. Since
    /// version 7 of the peer contract.
    Presence {
        shard: ShardId,
        /// Epoch of the owner that pushes; nothing is taken of a lower one than was heard since the
        /// receiver asked.
        epoch: Epoch,
        changes: Vec<Presence>,
    },
    /// Pushes of this shard to this subscriber were dropped, or its owner changes: subscribe again,
    /// with cursors.
    Resubscribe { shard: ShardId },
}

impl Push {
    /// The lowest version of the peer contract that knows it.
    #[must_use]
    pub(crate) fn since(&self) -> u16 {
        match self {
            Self::View { .. } | Self::Pruned { .. } => 11,
            Self::Typing { .. } | Self::Presence { .. } => 7,
            Self::Event { .. }
            | Self::Watermark { .. }
            | Self::Reaction { .. }
            | Self::Index { .. }
            | Self::Resubscribe { .. } => 1,
        }
    }
}

/// A user that another node watches, and what was told there of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub user: UserId,
    /// Whether they were told of as online; nothing was told when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
}

/// How users of a shard are, in the order asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Present {
    /// Of the owner that says so.
    pub epoch: Epoch,
    pub users: Vec<Presence>,
}
