//! The head itself: filled from the store, or begun by a creation, and advanced by each event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ids::{Offset, Seq, UserId};
use crate::log::record::{Event, EventKind, KeyUse};
use crate::protocol::Role;
use crate::shard::file::store::HeadRow;

/// How many of the newest messages are kept with their authors, to know whom a watermark concerns.
pub(in crate::shard) const RECENT_MAX: usize = 200;

/// Since when, and in which order, someone participates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Standing {
    /// Seq of their latest `created` or `joined`.
    pub(in crate::shard) joined: Seq,
    /// Their place among the users of that event.
    pub(in crate::shard) position: u32,
}

/// The fold of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) struct Head {
    /// Its title.
    pub(in crate::shard) title: Option<Arc<str>>,
    /// Its admin; the last one, when no one is left.
    pub(in crate::shard) admin: UserId,
    /// Unix milliseconds of its creation.
    pub(in crate::shard) created: u64,
    /// Who created it.
    pub(in crate::shard) created_by: UserId,
    /// Under which key.
    pub(in crate::shard) create_key: Option<KeyUse>,
    /// Offset of its `created` record.
    pub(in crate::shard) created_offset: Offset,
    /// Its last seq.
    pub(in crate::shard) last_seq: Seq,
    /// `created` of its last event.
    pub(in crate::shard) last_created: u64,
    /// The participants: this is the participant cache.
    pub(in crate::shard) participants: BTreeMap<UserId, Standing>,
    /// Seq and author of the newest messages, ascending.
    pub(in crate::shard) recent: VecDeque<(Seq, UserId)>,
}

impl Head {
    /// From the store's rows.
    #[must_use]
    pub(in crate::shard) fn filled(row: HeadRow) -> Self {
        let standing = |joined, position| Standing { joined, position };
        Self {
            title: row.title,
            admin: row.admin,
            created: row.created,
            created_by: row.created_by,
            create_key: row.create_key,
            created_offset: row.created_offset,
            last_seq: row.last_seq,
            last_created: row.last_created,
            participants: row
                .members
                .into_iter()
                .map(|m| (m.user, standing(m.joined, m.position)))
                .collect(),
            recent: row.recent.into(),
        }
    }

    /// The head that a `created` event begins.
    #[must_use]
    pub(in crate::shard) fn begun(event: &Event, offset: Offset) -> Option<Self> {
        let EventKind::Created {
            by,
            title,
            participants,
        } = &event.kind
        else {
            return None;
        };
        let mut head = Self {
            title: title.clone(),
            admin: by.clone(),
            created: event.created,
            created_by: by.clone(),
            create_key: event.key.clone(),
            created_offset: offset,
            last_seq: event.seq,
            last_created: event.created,
            participants: BTreeMap::new(),
            recent: VecDeque::new(),
        };
        head.join(participants, event.seq);
        Some(head)
    }

    fn join(&mut self, users: &[UserId], seq: Seq) {
        for (position, user) in (0_u32..).zip(users) {
            self.participants.entry(user.clone()).or_insert(Standing {
                joined: seq,
                position,
            });
        }
    }

    /// Takes in an event that was decided against this head.
    pub(in crate::shard) fn advance(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.last_created = event.created;
        match &event.kind {
            EventKind::Created { .. } | EventKind::Edited { .. } | EventKind::Deleted { .. } => {}
            EventKind::Message { source, .. } => {
                self.recent.push_back((event.seq, source.clone()));
                if self.recent.len() > RECENT_MAX {
                    self.recent.pop_front();
                }
            }
            EventKind::Joined { users, .. } => self.join(users, event.seq),
            EventKind::Left { user, admin, .. } => {
                self.participants.remove(user);
                if let Some(admin) = admin {
                    self.admin = admin.clone();
                }
            }
        }
    }

    /// Whether someone participates.
    #[must_use]
    pub(in crate::shard) fn has(&self, user: &UserId) -> bool {
        self.participants.contains_key(user)
    }

    /// Whether someone may send.
    #[must_use]
    pub(in crate::shard) fn may_send(&self, user: &UserId) -> bool {
        self.has(user)
    }

    /// Role of a participant.
    #[must_use]
    pub(in crate::shard) fn role(&self, user: &UserId) -> Role {
        if self.admin == *user {
            Role::Admin
        } else {
            Role::Member
        }
    }
}
