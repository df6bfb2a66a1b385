//! The view of a shard in its SQLite file: one writer, lazy readers. Rows, applied offsets and the raw entries they came
//! from are committed in one transaction, so the file always equals apply(log up to its applied offsets).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, Seq, ShardId, UserId};
use crate::protocol;
use crate::shard::command::{Around, CreateKeyUse, IndexItem};
use crate::shard::log::record::{Entry, Event, Fingerprint, IndexChange, KeyUse, OutboxPosition, Tail};
use crate::shard::log::{Identity, Stream};

/// Settings of a shard's file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Readers at the same time, each a thread; opened on demand, closed after 60 s of rest.
    pub readers_max: u32,
    /// A checkpoint after this many pages of WAL …
    pub checkpoint_pages: u32,
    /// … or after this long, whichever is first.
    pub checkpoint_every: std::time::Duration,
    /// Raw entries are kept at least this long (by record time) …
    pub raw_floor: std::time::Duration,
    /// … but, above the durable offset, never more than this many bytes of them.
    pub raw_bytes_max: u64,
}

/// Why a shard's file is not opened. Each is one clear line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Of another cluster, another number of shards, or another shard.
    #[error("{path}: this file belongs to {found}, not to {wanted}; start with the data folder of this cluster")]
    Foreign {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        found: String,
        #[expect(missing_docs, reason = "said in the text")]
        wanted: String,
    },
    /// SQLite is older than the fix of the WAL-reset corruption (3.51.3).
    #[error("SQLite {0} can corrupt a WAL; 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// SQLite refused.
    #[error("{path}: {error}")]
    Sqlite {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        error: String,
    },
}

/// A read or write of the file failed; after a failed write nothing of it is in the file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("sqlite: {0}")]
pub struct StoreError(pub String);

/// Where the file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Applied and committed, by stream in the order of [`Stream::BOTH`].
    pub applied: [Tail; 2],
    /// Checkpointed: survives power loss.
    pub durable: [Tail; 2],
}

/// What the head of a conversation is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRow {
    /// Title.
    pub title: Option<Arc<str>>,
    /// Current admin.
    pub admin: UserId,
    /// Unix milliseconds of its creation.
    pub created: u64,
    /// Offset of its `created` record.
    pub created_offset: Offset,
    /// Who created it.
    pub created_by: UserId,
    /// Under which key.
    pub create_key: Option<KeyUse>,
    /// Its last seq.
    pub last_seq: Seq,
    /// `created` of its last event.
    pub last_created: u64,
    /// Current participants.
    pub members: Vec<Member>,
    /// Seq and author of its newest messages, at most 200, ascending.
    pub recent: Vec<(Seq, UserId)>,
}

/// A current participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Seq of his latest `created` or `joined`.
    pub joined: Seq,
    /// His place among the users of that event: with `joined` the order of standing.
    pub position: u32,
}

/// The watermarks of one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// Whose.
    pub user: UserId,
    /// Delivered up to.
    pub delivered: Seq,
    /// Read up to.
    pub read: Seq,
}

/// What an idempotency key of a client made in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Seq of the message.
    pub seq: Seq,
    /// Of the request.
    pub fingerprint: Fingerprint,
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its conversation.
    pub conversation: ConversationName,
    /// Its seq there.
    pub seq: Seq,
    /// Its author.
    pub source: UserId,
}

/// A page of messages as the store holds them: up to `limit + 1` matches on each side asked for, so that the caller can
/// tell whether more exist.
#[derive(Debug, Clone)]
pub struct HistoryRead<'a> {
    /// Which conversation.
    pub conversation: &'a ConversationName,
    /// Which page.
    pub around: Around,
    /// Messages wanted.
    pub limit: u32,
    /// Only of this author.
    pub source: Option<&'a UserId>,
    /// Only answers to this message.
    pub reply_to: Option<MessageId>,
}

/// A row of the outbox: an index change that waits to be delivered to the user's shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place.
    pub position: OutboxPosition,
    /// What to deliver.
    pub change: IndexChange,
}

/// A raw entry kept in the file, verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEntry {
    /// Offset of its last record.
    pub last: Offset,
    /// The entry.
    pub bytes: Bytes,
}

/// An entry to apply: decoded and verbatim.
#[derive(Debug, Clone)]
pub struct ApplyEntry {
    /// Decoded, checked to link.
    pub entry: Entry,
    /// Verbatim.
    pub bytes: Bytes,
}

/// One shard's file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens or creates the file, runs migrations, compares identity and shard. Blocking steps run on SQLite's threads.
    ///
    /// # Errors
    /// [`OpenError`]: nothing was changed.
    pub async fn open(path: &Path, identity: Identity, shard: ShardId, config: Config) -> Result<Self, OpenError> {
        let _ = (path, identity, shard, config);
        todo!()
    }

    /// Applied and durable positions, as last committed.
    #[must_use]
    pub fn progress(&self) -> Progress {
        todo!()
    }

    /// Applies whole entries of one stream, in order, in one transaction: rows, offset, chain, raw bytes. They must
    /// follow the applied tail. Returns the records that were quarantined.
    ///
    /// Not cancel-safe to *interpret*: dropped, the transaction may or may not commit.
    ///
    /// # Errors
    /// Nothing of it is in the file.
    pub async fn apply(&self, stream: Stream, entries: Vec<ApplyEntry>) -> Result<u32, StoreError> {
        let _ = (stream, entries);
        todo!()
    }

    /// Checkpoints the WAL; afterwards `durable` is what was applied before, if no reader held the WAL back.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn checkpoint(&self) -> Result<Progress, StoreError> {
        todo!()
    }

    /// What a head is filled from; `None` when there is no such conversation.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn head(&self, conversation: &ConversationName) -> Result<Option<HeadRow>, StoreError> {
        let _ = conversation;
        todo!()
    }

    /// Every watermark of a conversation.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn marks(&self, conversation: &ConversationName) -> Result<Vec<Marks>, StoreError> {
        let _ = conversation;
        todo!()
    }

    /// What a client's key made, if it was used within 24 h (of record time) before `now_ms`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn key(
        &self,
        conversation: &ConversationName,
        sender: &UserId,
        key: &IdempotencyKey,
        now_ms: u64,
    ) -> Result<Option<KeyRow>, StoreError> {
        let _ = (conversation, sender, key, now_ms);
        todo!()
    }

    /// Every client key of the last 24 h before `now_ms`, for the filter: (conversation, sender, key), and the users'
    /// create keys as (user, key).
    ///
    /// # Errors
    /// SQLite refused.
    #[expect(clippy::type_complexity, reason = "read once at open, destructured there")]
    pub async fn recent_keys(
        &self,
        now_ms: u64,
    ) -> Result<(Vec<(ConversationName, UserId, String)>, Vec<(UserId, String)>), StoreError> {
        let _ = now_ms;
        todo!()
    }

    /// What a user created under a client's key, if within 24 h before `now_ms`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn create_key(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now_ms: u64,
    ) -> Result<Option<CreateKeyUse>, StoreError> {
        let _ = (user, key, now_ms);
        todo!()
    }

    /// Where a message is.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn locate(&self, id: MessageId) -> Result<Option<Located>, StoreError> {
        let _ = id;
        todo!()
    }

    /// Messages of a page, ascending by seq, without reactions.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn history(&self, read: HistoryRead<'_>) -> Result<Vec<protocol::MessageCore>, StoreError> {
        let _ = read;
        todo!()
    }

    /// Reactions on messages: (message, user, code), of these messages only.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn reactions(&self, ids: &[MessageId]) -> Result<Vec<(MessageId, UserId, u32)>, StoreError> {
        let _ = ids;
        todo!()
    }

    /// Events after `after`, ascending and dense, messages among them (without their keys).
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn events(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let _ = (conversation, after, limit);
        todo!()
    }

    /// Participants by name after `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn participants(
        &self,
        conversation: &ConversationName,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        let _ = (conversation, after, limit);
        todo!()
    }

    /// The last membership of someone who is no participant any more: (joined, left).
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn departure(
        &self,
        conversation: &ConversationName,
        user: &UserId,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        let _ = (conversation, user);
        todo!()
    }

    /// Watermarks of current participants by name after `after`; who never moved one has delivered 0 and read = the seq
    /// of his own join.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn watermarks(
        &self,
        conversation: &ConversationName,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<protocol::Watermark>, StoreError> {
        let _ = (conversation, after, limit);
        todo!()
    }

    /// Receipts of one message by name after `after`: of each current participant but its sender whose latest join
    /// precedes it. `*_at`: of the first advance that covers it.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn receipts(
        &self,
        id: MessageId,
        at: &Located,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<protocol::Receipt>, StoreError> {
        let _ = (id, at, after, limit);
        todo!()
    }

    /// For each name: the conversation (without participants), unread of the reader and last message; `None` where the
    /// reader is no participant.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn summaries(
        &self,
        names: &[ConversationName],
        reader: &UserId,
    ) -> Result<Vec<Option<protocol::ConversationItem>>, StoreError> {
        let _ = (names, reader);
        todo!()
    }

    /// A page of a user's list: conversations he is in, newest version first, below `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn index_page(
        &self,
        user: &UserId,
        after: Option<Offset>,
        limit: u32,
    ) -> Result<Vec<IndexItem>, StoreError> {
        let _ = (user, after, limit);
        todo!()
    }

    /// Rows of a user's index (left ones too) changed after a version, ascending by version.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn index_since(&self, user: &UserId, after: Offset, limit: u32) -> Result<Vec<IndexItem>, StoreError> {
        let _ = (user, after, limit);
        todo!()
    }

    /// Undelivered rows of the outbox after a place, in order.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn outbox(&self, after: OutboxPosition, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let _ = (after, limit);
        todo!()
    }

    /// Raw entries of a stream whose last offset is above `after`, in order, up to about `bytes_max`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn kept_entries(
        &self,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<KeptEntry>, StoreError> {
        let _ = (stream, after, bytes_max);
        todo!()
    }

    /// Hash over the logical content (every table but raw entries), for comparing replicas at equal offsets.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn digest(&self) -> Result<[u8; 32], StoreError> {
        todo!()
    }

    /// Checkpoints and closes the file.
    pub async fn close(&self) {}
}
