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

use crate::ids::{ConversationName, Epoch, IdempotencyKey, MessageId, NodeId, Offset, Seq, UserId};

/// Version of the records that this program reads and writes. It is announced with a node's
/// addresses: what a version brought is written only when every node of the cluster reads it, for
/// an older one would put it aside.
///
/// | version | brought |
/// |---|---|
/// | 1 | all that is not named below |
/// | 2 | [`EventKind::Edited`], [`EventKind::Deleted`], [`Record::KeyUsed`], data and mentions of a message (ADR 22) |
pub const RECORDS_VERSION: u32 = 2;

/// The version that brought edits, deletions, and data and mentions of messages.
pub const EDITS_SINCE: u32 = 2;

/// First 16 bytes of a hash over the fields of a request: two requests under one idempotency key
/// must agree in it.
pub type Fingerprint = [u8; 16];

/// Stands for any request: what is known of the keys of a restored cluster, whose secret may be
/// another one (ADR 21). In no record.
pub const ANY_REQUEST: Fingerprint = [0; 16];

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

impl KeyUse {
    /// As it was given.
    #[must_use]
    pub fn as_key(&self) -> IdempotencyKey {
        IdempotencyKey {
            key: Arc::clone(&self.key),
            stamped: self.stamped,
        }
    }
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
            | EventKind::Left { by, .. }
            | EventKind::Edited { by, .. }
            | EventKind::Deleted { by, .. } => by,
            EventKind::Message { source, .. } => source,
        }
    }
}

impl Event {
    /// The event, if it is a message, with what became of it.
    #[must_use]
    pub fn since(mut self, told: Option<Since>) -> Self {
        if let EventKind::Message { since, .. } = &mut self.kind {
            *since = told.map(Box::new);
        }
        self
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
        /// The admin, or the user himself.
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

/// A request that changed nothing used up its idempotency key: an edit to what the message says
/// already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedUp {
    /// Where.
    pub conversation: ConversationName,
    /// By whom.
    pub sender: UserId,
    /// Seq of the message that a repeat is answered with.
    pub message_seq: Seq,
    /// The key.
    pub key: KeyUse,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
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
    /// Messages stream: an idempotency key was used up. Has no seq.
    KeyUsed(Arc<UsedUp>),
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
mod from_wire;
mod to_wire;
mod wire;

pub(crate) use self::entry::HEADER_BYTES;
pub use self::entry::{
    Chain, ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, Entry, EntryError, Header, Tail, seal,
};

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
