//! DURABLE CONTRACT. Records and entries as they stand in the log and, verbatim, in every SQLite
//! file. Versioned for ever: whatever a released version wrote, each later one reads (fixtures
//! under `tests/fixtures/records`).
//!
//! A *record* is one durable change and has one offset. An *entry* is one append batch: records of
//! one stream, packed.
//!
//! ```text
//! entry   = version u8 (1) | reserved u8 (0) | count u16 | epoch u64 | first offset u64 | chain [16] | record*
//! record  = length u32 | protobuf `wire::Record`
//! ```
//! All numbers are big-endian. `chain` is the first 16 bytes of SHA-256 over (the chain of the
//! entry before | the entry without its chain field): equal chains mean equal histories, and a
//! flipped byte does not link. Records are protobuf, so that a later version may add fields and
//! kinds; a kind that this version does not know is kept as it stands ([`Record::Unreadable`]) and
//! quarantined by the worker.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, UserId};

/// First 16 bytes of SHA-256 over the fields of a request: two requests under one idempotency key
/// must agree in it.
pub type Fingerprint = [u8; 16];

/// The use of an idempotency key, stored with what it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The key.
    pub key: Arc<str>,
    /// True for a key that the router stamped: remembered for 60 s, never stored beyond the record.
    pub stamped: bool,
    /// Of the request's known fields.
    pub fingerprint: Fingerprint,
}

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
            | EventKind::Left { by, .. } => by,
            EventKind::Message { source, .. } => source,
        }
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
        /// The admin, or the user himself.
        by: UserId,
        /// Who is gone.
        user: UserId,
        /// The new admin, when the admin left and someone remains.
        admin: Option<UserId>,
    },
}

/// A change of a user's index of conversations, in the stream of the *user's* shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexChange {
    /// Whose index.
    pub user: UserId,
    /// Which conversation.
    pub conversation: ConversationName,
    /// Seq of the `created`, `joined` or `left` that caused it; an older one never overwrites a
    /// newer one.
    pub seq: Seq,
    /// In or out.
    pub joined: bool,
    /// `created` of that event, unix milliseconds.
    pub at: u64,
    /// The key under which this user created the conversation, so that the key is taken for other
    /// names too.
    pub create_key: Option<KeyUse>,
}

/// How far one participant's watermarks moved. A zero means "not moved".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Whose.
    pub user: UserId,
    /// Delivered up to here.
    pub delivered: Seq,
    /// Read up to here; reading implies delivered, so `delivered` moves with it when it was behind.
    pub read: Seq,
}

/// Place of a row in a shard's outbox: offset of the record that caused it and its index among the
/// users named there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct OutboxPosition {
    /// Offset in the messages stream.
    pub offset: Offset,
    /// Index from 0 among the users of that record.
    pub index: u32,
}

/// One durable change; has one offset in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Messages stream: a change of a conversation.
    Event(Arc<Event>),
    /// Messages stream: a change of a user's index.
    Index(Arc<IndexChange>),
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
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Unreadable { bytes, .. } => bytes.clone(),
            readable => Bytes::from(wire::Record::from(readable).encode_to_vec()),
        }
    }

    /// The way back; never fails, see [`Record::Unreadable`].
    #[must_use]
    pub fn decode(bytes: Bytes) -> Self {
        let read = wire::Record::decode(bytes.clone())
            .map_err(|error| error.to_string())
            .and_then(|record| Self::try_from(record).map_err(str::to_owned));
        read.unwrap_or_else(|reason| Self::Unreadable { bytes, reason })
    }
}

mod entry;
mod wire;

pub(crate) use self::entry::HEADER_BYTES;
pub use self::entry::{
    Chain, ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, Entry, EntryError, Header, Tail, seal,
};

#[cfg(test)]
mod tests;
