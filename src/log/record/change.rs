//! A record: one durable change, with one offset in its stream.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Seq, UserId};
use crate::log::record::event::Event;
use crate::log::record::index::{IndexChange, OutboxPosition};
use crate::log::record::key::UsedUp;
use crate::log::record::view::{OwnMark, ViewChange};
use crate::log::record::wire;

/// One durable change; has one offset in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Messages stream: a change of a conversation.
    Event(Arc<Event>),
    /// Messages stream: a change of a user's index.
    Index(Arc<IndexChange>),
    /// Messages stream: an idempotency key was used up. Has no seq.
    KeyUsed(Arc<UsedUp>),
    /// Messages stream: a user was banned who takes no part. Has no seq.
    Banned(Arc<BanChange>),
    /// Messages stream: a ban ended. Has no seq.
    Unbanned(Arc<BanChange>),
    /// Messages stream: messages and events of a conversation are gone. Receipts stream: their
    /// receipts and reactions are. Has no seq.
    Pruned(Pruning),
    /// Both streams: something else of a conversation that is closed is gone. Has no seq.
    Erased(Erasure),
    /// Messages stream: a participant changed their own view. Has no seq.
    Viewed(Arc<ViewChange>),
    /// Receipts stream: a participant said up to where they count as having read.
    OwnMark(Arc<OwnMark>),
    /// Messages stream: the outbox is delivered up to and including this place.
    OutboxProgress {
        /// Last delivered row.
        upto: OutboxPosition,
    },
    /// Receipts stream: watermarks of one conversation moved.
    Advances {
        /// Where.
        conversation: ConversationName,
        /// Unix milliseconds, of the owner's decision.
        ts: u64,
        /// Who and how far; each user once.
        advances: Vec<Advance>,
    },
    /// Receipts stream: a reaction was set or taken back.
    Reaction {
        /// Where.
        conversation: ConversationName,
        /// On which message.
        message_id: MessageId,
        /// By whom.
        user: UserId,
        /// The code, or none any more.
        reaction: Option<u32>,
        /// Unix milliseconds, of the owner's decision.
        ts: u64,
    },
    /// Both streams: an owner began. Later records of older epochs are re-appended ones.
    EpochStart {
        /// The new epoch.
        epoch: Epoch,
        /// The new owner.
        node: NodeId,
        /// Unix milliseconds.
        ts: u64,
    },
    /// A record that this version cannot read; kept as it stands.
    Unreadable {
        /// The record's bytes.
        bytes: Bytes,
        /// What is wrong with them.
        reason: String,
    },
}

impl Record {
    /// The record's bytes inside an entry, without the length.
    #[must_use]
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Unreadable { bytes, .. } => bytes.clone(),
            readable => Bytes::from(wire::Record::from(readable).encode_to_vec()),
        }
    }

    /// The way back; never fails, see [`Record::Unreadable`].
    #[must_use]
    pub(crate) fn decode(bytes: Bytes) -> Self {
        let read = wire::Record::decode(bytes.clone())
            .map_err(|error| error.to_string())
            .and_then(|record| Self::try_from(record).map_err(str::to_owned));
        read.unwrap_or_else(|reason| Self::Unreadable { bytes, reason })
    }
}

/// How far one participant's watermarks moved. A zero means "not moved".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advance {
    /// Whose.
    pub user: UserId,
    /// Delivered up to here.
    pub delivered: Seq,
    /// Read up to here; reading implies delivered, so `delivered` moves with it when it was behind.
    pub read: Seq,
}

/// Everything of a conversation that has a seq is gone up to one; in the receipts stream, when what
/// has a seq up to there was delivered and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pruning {
    /// Where.
    pub conversation: ConversationName,
    /// The last seq that is gone.
    pub up_to: Seq,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
    /// In the receipts stream: the messages whose reactions are gone.
    pub messages: Vec<MessageId>,
}

/// The next rows of a closed conversation are gone, of each table of the stream that is neither
/// messages nor events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    /// Where.
    pub conversation: ConversationName,
    /// Nothing is left in either stream.
    pub is_last: bool,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
}

/// A user was banned who takes no part, or another reason was told; or a ban ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BanChange {
    /// Where.
    pub conversation: ConversationName,
    /// Who is meant.
    pub user: UserId,
    /// Who did it.
    pub by: UserId,
    /// Why, of a ban.
    pub reason: Option<Arc<str>>,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
}
