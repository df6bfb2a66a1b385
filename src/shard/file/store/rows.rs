//! What the store gives and takes.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::record::{Content, Entry, Fingerprint, IndexChange, KeyUse, OutboxPosition};
use crate::protocol::{MessageCore, Role, Settings};
use crate::shard::command::Around;

/// A conversation, who used a key there, and the key.
pub(crate) type UsedKey = (ConversationName, UserId, String);

/// What the head of a conversation is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// Whether it is of two, by its name.
    pub direct: bool,
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
    /// The last seq that is gone; 0 when none is.
    pub pruned: Seq,
    /// Current participants.
    pub members: Vec<Member>,
    /// Own views of participants who have one.
    pub views: Vec<(UserId, View)>,
    /// Its newest messages, at most 200, ascending.
    pub recent: Vec<Recent>,
    /// A JSON object, compact.
    pub data: Option<Arc<str>>,
    /// What its admin set.
    pub settings: Settings,
    /// Who is banned.
    pub banned: Vec<UserId>,
    /// Those who left as readers or muted, at most [`KEPT_MAX`], those who left last.
    pub kept: Vec<Kept>,
    /// It is closed; those who took part then.
    pub closed: Option<Vec<UserId>>,
}

/// One who left as a reader, or muted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Who.
    pub user: UserId,
    /// Seq of their `left`.
    pub left: Seq,
    /// What they were.
    pub role: Role,
    /// Until when they were muted, unix milliseconds.
    pub muted_until: Option<u64>,
}

/// Of how many who left it is kept in memory that they were readers or muted.
pub(crate) const KEPT_MAX: usize = 10_000;

/// A current participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Who.
    pub user: UserId,
    /// Seq of their latest `created` or `joined`.
    pub joined: Seq,
    /// Their place among the users of that event: with `joined` the order of standing.
    pub position: u32,
    /// What they are; `member` of the admin.
    pub role: Role,
    /// Until when they are muted, unix milliseconds.
    pub muted_until: Option<u64>,
}

/// What a participant set for themselves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct View {
    /// Number of its last change within the membership; 0 when there was none.
    pub revision: u64,
    /// Until when they want no notifications, unix milliseconds.
    pub notify_after: Option<u64>,
    /// Their place among those that they pinned.
    pub pinned: Option<u32>,
    /// Put away.
    pub archived: bool,
}

/// One of the newest messages, as far as it counts as unread for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recent {
    /// Its seq.
    pub seq: Seq,
    /// Its author.
    pub source: UserId,
    /// Whom it mentions; nobody when it was deleted.
    pub mentions: Vec<UserId>,
    /// It was deleted.
    pub deleted: bool,
}

/// The watermarks of one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whose.
    pub user: UserId,
    /// Delivered up to.
    pub delivered: Seq,
    /// Read up to.
    pub read: Seq,
    /// Up to where they count as having read, of those who once said so.
    pub own: Option<Seq>,
}

/// What an idempotency key of a client made in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    /// Seq of the message.
    pub seq: Seq,
    /// Of the request.
    pub fingerprint: Fingerprint,
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its conversation.
    pub conversation: ConversationName,
    /// Its seq there.
    pub seq: Seq,
    /// Its author.
    pub source: UserId,
    /// It was deleted.
    pub deleted: bool,
}

/// All that decides what may be done to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldMessage {
    /// Where it is, whose, and whether it was deleted.
    pub at: Located,
    /// What it says now.
    pub content: Content,
    /// How often it was edited.
    pub edits: u32,
}

/// A message as clients see it, without reactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownMessage {
    /// The message.
    pub core: MessageCore,
    /// Seq of its last edit or of its deletion; 0 when it was neither edited nor deleted.
    pub changed: Seq,
}

/// A page of messages as the store holds them: up to `limit + 1` matches on each side asked for, so
/// that the caller can tell whether more exist.
#[derive(Debug, Clone)]
pub(crate) struct HistoryRead<'a> {
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
pub(crate) struct OutboxRow {
    /// Its place.
    pub position: OutboxPosition,
    /// What to deliver.
    pub change: IndexChange,
}

/// A raw entry kept in the file, verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptEntry {
    /// Offset of its last record.
    pub last: Offset,
    /// The entry.
    pub bytes: Bytes,
}

/// An entry to apply: decoded and verbatim.
#[derive(Debug, Clone)]
pub(crate) struct ApplyEntry {
    /// Decoded, checked to link.
    pub entry: Entry,
    /// Verbatim.
    pub bytes: Bytes,
}

/// What a conversation's row says in numbers, each with what its rows say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub conversation: ConversationName,
    pub last_seq: Seq,
    /// What has a seq is gone up to there.
    pub pruned: Seq,
    /// It is closed, and is erased or will be.
    pub is_closed: bool,
    /// Of its messages and events.
    pub highest_seq: Seq,
    /// How many of the newest seqs have a message or an event.
    pub dense: u64,
    /// Told, and there.
    pub participants: (u32, u32),
    /// Told, and there.
    pub bans: (u32, u32),
    /// Whether readers or muted ones left, told, and whether there are some.
    pub keeps: (bool, bool),
    pub admin_takes_part: bool,
    /// Participants who joined at a seq that is not there yet.
    pub joined_later: u32,
    /// Watermarks at a seq that is not there yet.
    pub marks_later: u32,
    /// Reactions to messages that are not there.
    pub reactions_astray: u32,
}
