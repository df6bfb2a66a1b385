//! The messages stream: conversations, memberships, messages, keys, users' indexes, the outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{ConversationName, Offset, Seq, UserId};
use crate::log::record::{
    Entry, Event, EventKind, IndexChange, KeyUse, OutboxPosition, Record, UsedUp,
};
use crate::shard::file::apply::changes::{
    Changes, ConversationRow, CreateKeyRow, MessageKeyRow, Rank, Stood, event_row,
};
use crate::shard::file::apply::{Clockwork, Quarantined, key_horizon};

/// What the file must be asked before a batch is folded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Conversations that records name.
    pub(crate) conversations: BTreeSet<ConversationName>,
    /// Users who leave: since when they were in.
    pub(crate) leaving: BTreeSet<(ConversationName, UserId)>,
}

/// What the file held before the batch, of what was asked.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Last seq of each conversation that exists, and whether it is closed.
    pub(crate) stands: BTreeMap<ConversationName, (Seq, bool)>,
    /// Seq of the join of each leaving user who is in, and what they are.
    pub(crate) joined: BTreeMap<(ConversationName, UserId), (Seq, Rank)>,
    /// Times and epochs.
    pub(crate) clockwork: Clockwork,
}

/// What must be known to fold these entries.
#[must_use]
pub(crate) fn asked<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Asked {
    let mut asked = Asked::default();
    for record in entries.into_iter().flat_map(|entry| &entry.records) {
        match record {
            Record::KeyUsed(used) => drop(asked.conversations.insert(used.conversation.clone())),
            Record::Banned(ban) | Record::Unbanned(ban) => {
                asked.conversations.insert(ban.conversation.clone());
            }
            Record::Viewed(change) => {
                asked.conversations.insert(change.conversation.clone());
            }
            Record::Pruned(pruning) => {
                asked.conversations.insert(pruning.conversation.clone());
            }
            Record::Erased(erasure) => {
                asked.conversations.insert(erasure.conversation.clone());
            }
            _ => {}
        }
        let Record::Event(event) = record else {
            continue;
        };
        asked.conversations.insert(event.conversation.clone());
        if let EventKind::Left { user, .. } = &event.kind {
            asked
                .leaving
                .insert((event.conversation.clone(), user.clone()));
        }
    }

    asked
}

/// Folds entries, in order, over what is known.
#[must_use]
pub(crate) fn fold<'a>(known: Known, entries: impl IntoIterator<Item = &'a Entry>) -> Changes {
    let horizon = key_horizon(known.clockwork.time);
    let clockwork = known.clockwork;
    let mut fold = Fold {
        known,
        changes: Changes {
            clockwork,
            ..Changes::default()
        },
    };

    for entry in entries {
        for (offset, record) in entry.numbered() {
            fold.changes.clockwork.see(entry, record);
            if let Err(reason) = fold.record(offset, record) {
                fold.changes
                    .quarantined
                    .push(Quarantined::new(offset, record, reason));
            }
        }
    }

    let mut changes = fold.changes;
    let moved = key_horizon(changes.clockwork.time);
    if moved > horizon {
        changes.keys_before = Some(moved);
    }

    changes
}

/// A batch on its way to rows.
pub(super) struct Fold {
    pub(super) known: Known,
    pub(super) changes: Changes,
}

impl Fold {
    fn record(&mut self, offset: Offset, record: &Record) -> Result<(), String> {
        match record {
            Record::Event(event) => self.event(offset, event),
            Record::Index(change) => {
                self.index(offset, change);
                Ok(())
            }
            Record::KeyUsed(used) => self.key_used(used),
            Record::Banned(ban) => self.banned(ban),
            Record::Unbanned(ban) => self.unbanned(ban),
            Record::Viewed(change) => self.viewed(offset, change),
            Record::Pruned(pruning) => self.pruned(pruning),
            Record::Erased(erasure) => self.erased(erasure),
            Record::OutboxProgress { upto } => {
                self.changes.outbox.retain(|(position, _)| position > upto);
                self.changes.outbox_upto = self.changes.outbox_upto.max(Some(*upto));
                Ok(())
            }
            Record::EpochStart { .. } => Ok(()),
            Record::Advances { .. } | Record::Reaction { .. } | Record::OwnMark(_) => {
                Err("belongs to the receipts stream".to_owned())
            }
            Record::Unreadable { reason, .. } => Err(reason.clone()),
        }
    }

    fn event(&mut self, offset: Offset, event: &Event) -> Result<(), String> {
        let name = &event.conversation;
        match (self.stands(name), &event.kind) {
            (None, EventKind::Created { .. }) if event.seq == Seq(1) => {}
            (None, EventKind::Created { .. }) => {
                return Err(format!("creates {name} with seq {}", event.seq));
            }
            (None, _) => return Err(format!("{name} does not exist")),
            (Some(_), EventKind::Created { .. }) => return Err(format!("{name} exists already")),
            (Some((_, true)), _) => return Err(format!("{name} is closed")),
            (Some((last, false)), _) if event.seq <= last => {
                return Err(format!(
                    "seq {} of {name} is taken, its last is {last}",
                    event.seq
                ));
            }
            (Some(_), _) => {}
        }

        let stood = Stood {
            seq: event.seq,
            created: event.created,
            closed: matches!(event.kind, EventKind::Closed { .. }),
        };
        self.changes.stands.insert(name.clone(), stood);
        match &event.kind {
            EventKind::Created {
                by,
                title,
                participants,
                ..
            } => {
                self.created(offset, event, by, title.clone());
                self.begun(event);
                self.join(offset, event, participants);
            }
            EventKind::Message { .. } => self.message(event),
            EventKind::Joined { users, .. } => self.join(offset, event, users),
            EventKind::Left { user, admin, .. } => self.leave(offset, event, user, admin.as_ref()),
            EventKind::Edited { .. } => self.edited(event),
            EventKind::Deleted {
                message_id,
                message_seq,
                by,
            } => self.deleted(event, (*message_id, *message_seq), by),
            EventKind::Role { .. } => self.role(event),
            EventKind::Updated { .. } => self.updated(event),
            EventKind::Closed { by } => self.closed(offset, event, by),
        }

        Ok(())
    }

    fn key_used(&mut self, used: &UsedUp) -> Result<(), String> {
        let name = &used.conversation;
        self.is_open(name)?;
        self.remember_key(name, &used.sender, Some(&used.key), used.message_seq);
        Ok(())
    }

    /// Remembers the key of a client, for the message that a repeat is answered with.
    pub(super) fn remember_key(
        &mut self,
        name: &ConversationName,
        sender: &UserId,
        key: Option<&KeyUse>,
        seq: Seq,
    ) {
        let Some(key) = of_client(key) else { return };
        let row = MessageKeyRow {
            seq,
            fingerprint: key.fingerprint,
            ts: self.changes.clockwork.time,
        };
        self.changes
            .keys
            .insert((name.clone(), sender.clone(), key.key), row);
    }

    /// Last seq of a conversation, if it exists, and whether it is closed.
    pub(super) fn stands(&self, name: &ConversationName) -> Option<(Seq, bool)> {
        let now = self.changes.stands.get(name);
        now.map(|stood| (stood.seq, stood.closed))
            .or_else(|| self.known.stands.get(name).copied())
    }

    /// Whether a conversation may be changed.
    pub(super) fn is_open(&self, name: &ConversationName) -> Result<(), String> {
        match self.stands(name) {
            Some((_, false)) => Ok(()),
            Some((_, true)) => Err(format!("{name} is closed")),
            None => Err(format!("{name} does not exist")),
        }
    }

    fn created(&mut self, offset: Offset, event: &Event, by: &UserId, title: Option<Arc<str>>) {
        self.changes.created.push(ConversationRow {
            name: event.conversation.clone(),
            title,
            created: event.created,
            created_by: by.clone(),
            created_offset: offset,
            create_key: event.key.clone(),
        });
        self.changes
            .admins
            .insert(event.conversation.clone(), by.clone());
        self.changes.events.push(event_row(event, "created"));
    }

    pub(super) fn outbox(&mut self, position: OutboxPosition, change: IndexChange) {
        self.changes.outbox.push((position, change));
    }

    fn index(&mut self, offset: Offset, change: &IndexChange) {
        if let Some(view) = change.view {
            return self.index_view(change, view);
        }
        if let Some(key) = of_client(change.create_key.as_ref()) {
            let ts = self.changes.clockwork.time;
            let row = CreateKeyRow {
                name: change.conversation.clone(),
                fingerprint: key.fingerprint,
                ts,
            };
            self.changes
                .create_keys
                .insert((change.user.clone(), key.key), row);
        }

        let place = (change.user.clone(), change.conversation.clone());
        let newer = self
            .changes
            .index
            .get(&place)
            .is_none_or(|(held, _)| change.seq > held.seq);
        if newer {
            self.index_views_end(change);
            self.changes.index.insert(
                place,
                (
                    IndexChange {
                        create_key: None,
                        ..change.clone()
                    },
                    offset,
                ),
            );
        }
    }
}

/// A key to remember in the file.
fn of_client(key: Option<&KeyUse>) -> Option<KeyUse> {
    key.filter(|key| !key.stamped).cloned()
}

pub(super) fn index_change(
    event: &Event,
    user: &UserId,
    joined: bool,
    create_key: Option<KeyUse>,
) -> IndexChange {
    IndexChange {
        user: user.clone(),
        conversation: event.conversation.clone(),
        seq: event.seq,
        joined,
        at: event.created,
        create_key,
        view: None,
    }
}
