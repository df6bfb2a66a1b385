//! The rows that a folded batch of the messages stream writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::record::{
    Content, Event, Fingerprint, IndexChange, IndexView, KeyUse, OutboxPosition, Record,
};
use crate::protocol::{Patch, Role, SettingsChange};
use crate::shard::file::apply::{Clockwork, Quarantined};

/// A new conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConversationRow {
    pub(crate) name: ConversationName,
    pub(crate) title: Option<Arc<str>>,
    pub(crate) created: u64,
    pub(crate) created_by: UserId,
    pub(crate) created_offset: Offset,
    pub(crate) create_key: Option<KeyUse>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageRow {
    pub(crate) id: MessageId,
    pub(crate) conversation: ConversationName,
    pub(crate) seq: Seq,
    pub(crate) source: UserId,
    pub(crate) content: Content,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) created: u64,
}

/// What a message says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EditRow {
    /// Seq of the edit.
    pub(crate) seq: Seq,
    pub(crate) content: Content,
    pub(crate) edited: u64,
    /// How many edits it takes the place of, itself included.
    pub(crate) edits: u32,
}

/// A message says nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletionRow {
    /// Seq of the deletion.
    pub(crate) seq: Seq,
    pub(crate) by: UserId,
}

/// Changes of messages, to be written one step after the other: what comes out must not hang on how
/// many of them came in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageStep {
    /// New ones.
    Send(Vec<MessageRow>),
    /// The last edit of each.
    Edit(BTreeMap<MessageId, EditRow>),
    /// The first deletion of each.
    Delete(BTreeMap<MessageId, DeletionRow>),
    /// All up to a seq are gone.
    Prune(BTreeMap<ConversationName, Seq>),
}

/// Where a conversation stands after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stood {
    /// Its last seq.
    pub(crate) seq: Seq,
    /// When that was, unix milliseconds.
    pub(crate) created: u64,
    pub(crate) closed: bool,
}

/// A conversation is closed: everybody's membership ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosingRow {
    pub(crate) name: ConversationName,
    /// Seq of the event.
    pub(crate) seq: Seq,
    /// Offset of its record, for the outbox.
    pub(crate) offset: Offset,
    /// Unix milliseconds.
    pub(crate) at: u64,
}

/// An event that is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) conversation: ConversationName,
    pub(crate) seq: Seq,
    pub(crate) kind: &'static str,
    pub(crate) created: u64,
    pub(crate) body: Bytes,
    /// The message that it is about, if it is about one.
    pub(crate) message_seq: Option<Seq>,
}

/// What a client's key made in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageKeyRow {
    pub(crate) seq: Seq,
    pub(crate) fingerprint: Fingerprint,
    /// The time of the shard at its use.
    pub(crate) ts: u64,
}

/// What a client's key created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateKeyRow {
    pub(crate) name: ConversationName,
    pub(crate) fingerprint: Fingerprint,
    /// The time of the shard at its use.
    pub(crate) ts: u64,
}

/// What a participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rank {
    /// That of the admin stands with the conversation: theirs is `member` here.
    pub(crate) role: Role,
    /// Unix milliseconds.
    pub(crate) muted_until: Option<u64>,
}

impl Rank {
    /// Whether it is kept of one who leaves.
    #[must_use]
    pub(crate) fn is_kept(&self) -> bool {
        self.role == Role::Reader || self.muted_until.is_some()
    }
}

/// A membership: seq of the join, place in it, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) seq: Seq,
    pub(crate) position: u32,
    pub(crate) rank: Rank,
}

/// A membership that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) joined: Seq,
    pub(crate) left: Seq,
    pub(crate) rank: Rank,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BanRow {
    pub(crate) by: UserId,
    pub(crate) at: u64,
    pub(crate) reason: Option<Arc<str>>,
}

/// A participant's own view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewRow {
    /// Number of its change within the membership.
    pub(crate) revision: u64,
    pub(crate) notify_after: Option<u64>,
    pub(crate) pinned: Option<u32>,
    pub(crate) archived: bool,
    /// Unix milliseconds.
    pub(crate) at: u64,
}

/// Whose index, which conversation, and seq of the join of the membership that is meant.
pub(crate) type IndexPlace = ((UserId, ConversationName), Seq);

/// What changes of a conversation itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Update {
    pub(crate) title: Patch<Option<Arc<str>>>,
    pub(crate) data: Patch<Option<Arc<str>>>,
    pub(crate) settings: SettingsChange,
}

impl Update {
    /// This one and a later one.
    pub(crate) fn then(&mut self, later: Self) {
        let Self {
            title,
            data,
            settings,
        } = later;
        if !title.keeps() {
            self.title = title;
        }
        if !data.keeps() {
            self.data = data;
        }
        self.settings = self.settings.then(settings);
    }
}

/// The rows to write, each table's once.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// New conversations.
    pub(crate) created: Vec<ConversationRow>,
    /// Where every conversation stands that events touched, the new ones too.
    pub(crate) stands: BTreeMap<ConversationName, Stood>,
    /// New admins.
    pub(crate) admins: BTreeMap<ConversationName, UserId>,
    /// Messages: sent, edited, deleted.
    pub(crate) messages: Vec<MessageStep>,
    /// New events.
    pub(crate) events: Vec<EventRow>,
    /// Memberships: in, or out.
    pub(crate) members: BTreeMap<(ConversationName, UserId), Option<Joined>>,
    /// What those are from now on who were in before.
    pub(crate) ranks: BTreeMap<(ConversationName, UserId), Rank>,
    /// Memberships that ended.
    pub(crate) departures: BTreeMap<(ConversationName, UserId), Departure>,
    /// Conversations of which somebody left as a reader or muted.
    pub(crate) keeping: BTreeSet<ConversationName>,
    /// Own views, or that they ended.
    pub(crate) views: BTreeMap<(ConversationName, UserId), Option<ViewRow>>,
    /// Bans, or that they ended.
    pub(crate) bans: BTreeMap<(ConversationName, UserId), Option<BanRow>>,
    /// What changes of conversations.
    pub(crate) updates: BTreeMap<ConversationName, Update>,
    /// Conversations that are closed, after everything else that the batch says of them.
    pub(crate) closings: Vec<ClosingRow>,
    /// Up to where messages and events are gone.
    pub(crate) pruned: BTreeMap<ConversationName, Seq>,
    /// Closed conversations of which the next rows of other tables go, one step after the other;
    /// true: nothing is left of it.
    pub(crate) erased: Vec<(ConversationName, bool)>,
    /// Keys of sends.
    pub(crate) keys: BTreeMap<(ConversationName, UserId, Arc<str>), MessageKeyRow>,
    /// Keys of creations.
    pub(crate) create_keys: BTreeMap<(UserId, Arc<str>), CreateKeyRow>,
    /// Users' indexes: the newest change of each, with the offset of its record. Written only over
    /// an older seq.
    pub(crate) index: BTreeMap<(UserId, ConversationName), (IndexChange, Offset)>,
    /// Views in users' indexes, the newest of each: of memberships that the file had before the
    /// batch, to be written before `index`, and of those that are in `index`.
    pub(crate) views_before: BTreeMap<IndexPlace, IndexView>,
    pub(crate) views_after: BTreeMap<IndexPlace, IndexView>,
    /// The outbox was delivered up to here: to be dropped before the new rows are written.
    pub(crate) outbox_upto: Option<OutboxPosition>,
    /// New rows of the outbox.
    pub(crate) outbox: Vec<(OutboxPosition, IndexChange)>,
    /// Keys older than this are dropped, after the new ones are written; `None` when the horizon
    /// did not move.
    pub(crate) keys_before: Option<u64>,
    /// Records put aside.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Times and epochs after the batch.
    pub(crate) clockwork: Clockwork,
}

impl Changes {
    /// How many messages are new.
    #[must_use]
    pub(crate) fn sent(&self) -> usize {
        let count = |step: &MessageStep| {
            if let MessageStep::Send(rows) = step {
                rows.len()
            } else {
                0
            }
        };
        self.messages.iter().map(count).sum()
    }

    /// Whether what messages said before is written over, or dropped.
    #[must_use]
    pub(crate) fn erases(&self) -> bool {
        let changes = self
            .messages
            .iter()
            .any(|step| !matches!(step, MessageStep::Send(_)));
        changes || !self.closings.is_empty() || !self.erased.is_empty()
    }
}

/// The row of an event, without its key.
pub(super) fn event_row(event: &Event, kind: &'static str) -> EventRow {
    let body = Record::Event(Arc::new(Event {
        key: None,
        ..event.clone()
    }))
    .encode();
    let conversation = event.conversation.clone();
    EventRow {
        conversation,
        seq: event.seq,
        kind,
        created: event.created,
        body,
        message_seq: None,
    }
}
