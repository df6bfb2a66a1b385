//! What the owner's loop keeps of one conversation in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{MessageId, Offset, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::{Event, EventKind};
use crate::shard::file::store::Marks;
use crate::shard::write::head::Head;
use crate::shard::write::owner::keys::UsedKey;
use crate::shard::write::owner::piece::Work;

/// Whether the head is known.
#[derive(Debug, Default)]
pub(super) enum Known {
    /// Not filled yet.
    #[default]
    No,
    /// Filled: there is no such conversation.
    Absent,
    /// Filled.
    Head(Box<Head>),
}

/// How far a participant got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) delivered: Seq,
    /// As others are shown it.
    pub(super) read: Seq,
    /// Up to where they count as having read, if they ever said so.
    pub(super) own: Option<Seq>,
}

impl Mark {
    /// As the file has it.
    pub(super) fn of(row: &Marks) -> Self {
        Self {
            delivered: row.delivered,
            read: row.read,
            own: row.own,
        }
    }
}

/// A conversation in memory.
#[derive(Debug, Default)]
pub(super) struct ConversationState {
    pub(super) known: Known,
    /// A look-up for the first of `waiting` is under way; everything else waits behind it.
    pub(super) blocked: bool,
    pub(super) waiting: VecDeque<Work>,
    /// Events decided and not applied yet.
    pub(super) tail: VecDeque<(Offset, Arc<Event>)>,
    /// Keys of clients, until they are applied.
    pub(super) keys: HashMap<(UserId, Arc<str>), UsedKey>,
    /// Watermarks by user, filled at the first receipt.
    pub(super) marks: Option<HashMap<UserId, Mark>>,
    /// Reactions that may not be applied yet: the last of each user to each message.
    pub(super) reactions: HashMap<(MessageId, UserId), (Offset, Option<u32>)>,
    /// From so many reactions on those are dropped that are applied.
    pub(super) reactions_tidied_at: usize,
    /// Offset of the last change of its participants, or of what they may do.
    pub(super) members_changed: Offset,
    /// Offset of the last change of who is banned that is no event.
    pub(super) bans_touched: Offset,
    /// Offset of the last change of somebody's own view.
    pub(super) views_touched: Offset,
    /// Offsets of its last records in the receipts stream: any, and reactions.
    pub(super) receipts_touched: Offset,
    pub(super) reaction_touched: Offset,
    /// Used since the eviction came by.
    pub(super) used: bool,
    /// What it was last estimated to take in memory.
    pub(super) bytes: u64,
}

impl ConversationState {
    /// Its head, when it is known and exists.
    pub(super) fn head(&self) -> Option<&Head> {
        match &self.known {
            Known::Head(head) => Some(head),
            Known::No | Known::Absent => None,
        }
    }

    /// Nothing here is missing from SQLite, and no one waits.
    pub(super) fn is_evictable(&self, applied: PerStream<Offset>) -> bool {
        !self.blocked
            && self.waiting.is_empty()
            && self.tail.is_empty()
            && self.keys.is_empty()
            && self.receipts_touched <= applied.receipts
            && self.bans_touched <= applied.messages
            && self.views_touched <= applied.messages
    }

    /// Its committed last seq: what is decided but not committed does not count.
    pub(super) fn committed_seq(&self, committed: Offset) -> Seq {
        let uncommitted = self.tail.iter().find(|(offset, _)| *offset > committed);
        match (uncommitted, self.head()) {
            (Some((_, event)), _) => Seq(event.seq.0 - 1),
            (None, Some(head)) => head.last_seq,
            (None, None) => Seq(0),
        }
    }

    /// Offset of the last uncommitted record that changes whether `user` participates.
    pub(super) fn standing_changes(&self, user: &UserId, committed: Offset) -> Option<Offset> {
        let uncommitted = self
            .tail
            .iter()
            .rev()
            .take_while(|(offset, _)| *offset > committed);
        uncommitted
            .filter(|(_, event)| concerns(event, user))
            .map(|(offset, _)| *offset)
            .next()
    }

    /// Whether what somebody may do here hangs on what may yet be taken back: who takes part, their
    /// roles, or the settings.
    pub(super) fn rights_change(&self, user: &UserId, committed: Offset) -> bool {
        let uncommitted = self
            .tail
            .iter()
            .rev()
            .take_while(|(offset, _)| *offset > committed);
        uncommitted.map(|(_, event)| event).any(|event| {
            concerns(event, user)
                || matches!(
                    event.kind,
                    EventKind::Role { .. } | EventKind::Updated { .. }
                )
        })
    }

    /// Whether `user` participates as far as it is committed, and is put out by the next record
    /// that concerns them.
    pub(super) fn is_leaving(&self, user: &UserId, committed: Offset) -> bool {
        let uncommitted = self.tail.iter().filter(|(offset, _)| *offset > committed);
        let next = uncommitted
            .map(|(_, event)| event)
            .find(|event| concerns(event, user));
        next.is_some_and(|event| {
            matches!(
                event.kind,
                EventKind::Left { .. } | EventKind::Closed { .. }
            )
        })
    }

    /// Its committed events that may not be applied yet.
    pub(super) fn committed_tail(&self, committed: Offset) -> Vec<Arc<Event>> {
        let known = self
            .tail
            .iter()
            .take_while(|(offset, _)| *offset <= committed);
        known.map(|(_, event)| Arc::clone(event)).collect()
    }

    /// Offset of its last committed record in the messages stream that may not be applied yet; 0
    /// when all are.
    pub(super) fn messages_touched(&self, committed: Offset) -> Offset {
        let mut known = self.tail.iter().rev();
        known
            .find(|(offset, _)| *offset <= committed)
            .map_or(Offset(0), |(offset, _)| *offset)
            .max(self.views_touched.min(committed))
    }
}

/// Whether an event changes that `user` participates.
fn concerns(event: &Event, user: &UserId) -> bool {
    match &event.kind {
        EventKind::Created {
            participants: users,
            ..
        }
        | EventKind::Joined { users, .. } => users.contains(user),
        EventKind::Left { user: gone, .. } => gone == user,
        EventKind::Closed { .. } => true,
        EventKind::Message { .. }
        | EventKind::Edited { .. }
        | EventKind::Deleted { .. }
        | EventKind::Role { .. }
        | EventKind::Updated { .. } => false,
    }
}
