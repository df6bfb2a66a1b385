//! From the typed [`super::Record`] to the protobuf of a record ([`super::wire`]).

use bytes::Bytes;

use super::wire::{
    Advances, BanChange, Body, Created, Deleted, Edited, EpochStart, Event, Index, Joined, Key,
    KeyUsed, Kind, Left, Message, Muted, OneAdvance, OutboxProgress, Reaction, Record, Role,
    Updated,
};
use super::wire_closing::{Closed, Erased, Pruned};
use super::wire_settings::{wire_role, wire_settings, wire_text};
use super::wire_view::{self, OwnMark, ViewChange};
use super::{Advance, Erasure, IndexView, KeyUse, Pruning};
use crate::ids::{MessageId, UserId};
use crate::protocol::SettingsChange;

fn id_bytes(id: &MessageId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn names(users: &[UserId]) -> Vec<String> {
    users.iter().map(UserId::to_string).collect()
}

fn wire_key(key: &KeyUse) -> Key {
    Key {
        key: key.key.to_string(),
        stamped: key.stamped,
        fingerprint: Bytes::copy_from_slice(&key.fingerprint),
    }
}

impl From<&super::Record> for Record {
    fn from(record: &super::Record) -> Self {
        let body = match record {
            super::Record::Event(event) => Some(Body::Event(wire_event(event))),
            super::Record::Index(change) => Some(Body::Index(Index {
                user: change.user.to_string(),
                conversation: change.conversation.to_string(),
                seq: change.seq.0,
                joined: change.joined,
                at: change.at,
                create_key: change.create_key.as_ref().map(wire_key),
                view: change.view.as_ref().map(wire_index_view),
            })),
            super::Record::KeyUsed(used) => Some(Body::KeyUsed(KeyUsed {
                conversation: used.conversation.to_string(),
                sender: used.sender.to_string(),
                message_seq: used.message_seq.0,
                key: Some(wire_key(&used.key)),
                at: used.at,
            })),
            super::Record::Banned(ban) => Some(Body::Banned(wire_ban(ban))),
            super::Record::Unbanned(ban) => Some(Body::Unbanned(wire_ban(ban))),
            super::Record::Pruned(pruning) => Some(Body::Pruned(wire_pruning(pruning))),
            super::Record::Erased(erasure) => Some(Body::Erased(wire_erasure(erasure))),
            super::Record::Viewed(change) => Some(Body::Viewed(wire_view(change))),
            super::Record::OwnMark(mark) => Some(Body::OwnMark(wire_mark(mark))),
            super::Record::OutboxProgress { upto } => Some(Body::OutboxProgress(OutboxProgress {
                offset: upto.offset.0,
                index: upto.index,
            })),
            super::Record::Advances {
                conversation,
                ts,
                advances,
            } => Some(Body::Advances(Advances {
                conversation: conversation.to_string(),
                ts: *ts,
                advances: advances.iter().map(wire_advance).collect(),
            })),
            super::Record::Reaction {
                conversation,
                message_id,
                user,
                reaction,
                ts,
            } => Some(Body::Reaction(Reaction {
                conversation: conversation.to_string(),
                message_id: id_bytes(message_id),
                user: user.to_string(),
                reaction: *reaction,
                ts: *ts,
            })),
            super::Record::EpochStart { epoch, node, ts } => Some(Body::EpochStart(EpochStart {
                epoch: epoch.0,
                node: node.to_string(),
                ts: *ts,
            })),
            super::Record::Unreadable { .. } => None,
        };
        Self { body }
    }
}

fn wire_ban(ban: &super::BanChange) -> BanChange {
    BanChange {
        conversation: ban.conversation.to_string(),
        user: ban.user.to_string(),
        by: ban.by.to_string(),
        reason: ban.reason.as_deref().map(str::to_owned),
        at: ban.at,
    }
}

fn wire_pruning(pruning: &Pruning) -> Pruned {
    Pruned {
        conversation: pruning.conversation.to_string(),
        up_to: pruning.up_to.0,
        at: pruning.at,
        messages: pruning.messages.iter().map(id_bytes).collect(),
    }
}

fn wire_erasure(erasure: &Erasure) -> Erased {
    Erased {
        conversation: erasure.conversation.to_string(),
        is_last: erasure.is_last,
        at: erasure.at,
    }
}

fn wire_view(change: &super::ViewChange) -> ViewChange {
    ViewChange {
        conversation: change.conversation.to_string(),
        user: change.user.to_string(),
        joined: change.joined.0,
        revision: change.revision,
        notify_after: change.notify_after,
        pinned: change.pinned,
        archived: change.archived,
        at: change.at,
    }
}

fn wire_mark(mark: &super::OwnMark) -> OwnMark {
    OwnMark {
        conversation: mark.conversation.to_string(),
        user: mark.user.to_string(),
        read_up_to: mark.read_up_to.0,
        at: mark.at,
    }
}

fn wire_index_view(of: &IndexView) -> wire_view::IndexView {
    wire_view::IndexView {
        revision: of.revision,
        pinned: of.pinned,
        archived: of.archived,
    }
}

fn wire_advance(advance: &Advance) -> OneAdvance {
    OneAdvance {
        user: advance.user.to_string(),
        delivered: advance.delivered.0,
        read: advance.read.0,
    }
}

fn wire_event(event: &super::Event) -> Event {
    Event {
        conversation: event.conversation.to_string(),
        seq: event.seq.0,
        created: event.created,
        key: event.key.as_ref().map(wire_key),
        kind: Some(wire_kind(&event.kind)),
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn wire_kind(kind: &super::EventKind) -> Kind {
    match kind {
        super::EventKind::Created {
            by,
            title,
            participants,
            data,
            settings,
        } => Kind::Created(Created {
            by: by.to_string(),
            title: title.as_deref().map(str::to_owned),
            participants: names(participants),
            data: data.as_deref().map(str::to_owned),
            settings: wire_settings(&SettingsChange::of(settings)),
        }),
        super::EventKind::Message {
            id,
            source,
            text,
            reply_to,
            data,
            mentions,
            since: _,
        } => Kind::Message(Message {
            id: id_bytes(id),
            source: source.to_string(),
            text: text.as_ref().to_owned(),
            reply_to: reply_to.as_ref().map(id_bytes),
            data: data.as_deref().map(str::to_owned),
            mentions: names(mentions),
        }),
        super::EventKind::Joined {
            by,
            users,
            readers,
            muted,
        } => Kind::Joined(Joined {
            by: by.to_string(),
            users: names(users),
            readers: names(readers),
            muted: muted.iter().map(wire_muted).collect(),
        }),
        super::EventKind::Left {
            by,
            user,
            admin,
            banned,
            reason,
        } => Kind::Left(Left {
            by: by.to_string(),
            user: user.to_string(),
            admin: admin.as_ref().map(UserId::to_string),
            banned: *banned,
            reason: reason.as_deref().map(str::to_owned),
        }),
        super::EventKind::Edited {
            message_id,
            message_seq,
            by,
            text,
            data,
            mentions,
            superseded: _,
        } => Kind::Edited(Edited {
            message_id: id_bytes(message_id),
            message_seq: message_seq.0,
            by: by.to_string(),
            text: text.as_ref().to_owned(),
            data: data.as_deref().map(str::to_owned),
            mentions: names(mentions),
        }),
        super::EventKind::Deleted {
            message_id,
            message_seq,
            by,
        } => Kind::Deleted(Deleted {
            message_id: id_bytes(message_id),
            message_seq: message_seq.0,
            by: by.to_string(),
        }),
        super::EventKind::Role {
            by,
            user,
            role,
            muted_until,
        } => Kind::Role(Role {
            by: by.to_string(),
            user: user.to_string(),
            role: wire_role(*role),
            muted_until: *muted_until,
        }),
        super::EventKind::Updated {
            by,
            title,
            data,
            settings,
        } => Kind::Updated(Updated {
            by: by.to_string(),
            title: wire_text(title),
            data: wire_text(data),
            settings: wire_settings(settings),
        }),
        super::EventKind::Closed { by } => Kind::Closed(Closed { by: by.to_string() }),
    }
}

fn wire_muted((user, until): &(UserId, u64)) -> Muted {
    Muted {
        user: user.to_string(),
        until: *until,
    }
}
