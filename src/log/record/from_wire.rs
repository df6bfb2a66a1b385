//! From the protobuf of a record ([`super::wire`]) to the typed [`super::Record`].

use std::sync::Arc;

use super::wire::{BanChange, Body, Event, Key, Kind, OneAdvance, Record};
use super::wire_closing::{Erased, Pruned};
use super::wire_settings::{typed_role, typed_settings, typed_text};
use super::wire_view::{self, OwnMark, ViewChange};
use super::{
    Advance, Content, Erasure, IndexChange, IndexView, KeyUse, OutboxPosition, Pruning, UsedUp,
};
use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, UserId};
use crate::protocol::Settings;

type Bad = &'static str;

fn user(text: &str) -> Result<UserId, Bad> {
    UserId::parse(text).map_err(|_wrong| "a user's name breaks the rules for names")
}

fn users(texts: &[String]) -> Result<Vec<UserId>, Bad> {
    texts.iter().map(|text| user(text)).collect()
}

fn conversation(text: &str) -> Result<ConversationName, Bad> {
    ConversationName::parse(text)
        .map_err(|_wrong| "a conversation's name breaks the rules for names")
}

fn message_id(bytes: &[u8]) -> Result<MessageId, Bad> {
    let uuid = uuid::Uuid::from_slice(bytes).map_err(|_wrong| "a message id is not 16 bytes")?;
    MessageId::from_uuid(uuid).ok_or("a message id has another version")
}

fn typed_key(key: Key) -> Result<KeyUse, Bad> {
    let fingerprint = key
        .fingerprint
        .as_ref()
        .try_into()
        .map_err(|_wrong| "a fingerprint is not 16 bytes")?;
    Ok(KeyUse {
        key: Arc::from(key.key),
        stamped: key.stamped,
        fingerprint,
    })
}

impl TryFrom<Record> for super::Record {
    type Error = Bad;

    fn try_from(record: Record) -> Result<Self, Bad> {
        Ok(
            match record
                .body
                .ok_or("a kind of record that this version does not know")?
            {
                Body::Event(event) => Self::Event(Arc::new(typed_event(event)?)),
                Body::Index(change) => Self::Index(Arc::new(IndexChange {
                    user: user(&change.user)?,
                    conversation: conversation(&change.conversation)?,
                    seq: Seq(change.seq),
                    joined: change.joined,
                    at: change.at,
                    create_key: change.create_key.map(typed_key).transpose()?,
                    view: change.view.as_ref().map(typed_index_view),
                })),
                Body::OutboxProgress(progress) => Self::OutboxProgress {
                    upto: OutboxPosition {
                        offset: Offset(progress.offset),
                        index: progress.index,
                    },
                },
                Body::Advances(set) => Self::Advances {
                    conversation: conversation(&set.conversation)?,
                    ts: set.ts,
                    advances: set
                        .advances
                        .iter()
                        .map(typed_advance)
                        .collect::<Result<_, _>>()?,
                },
                Body::Reaction(reaction) => Self::Reaction {
                    conversation: conversation(&reaction.conversation)?,
                    message_id: message_id(&reaction.message_id)?,
                    user: user(&reaction.user)?,
                    reaction: reaction.reaction,
                    ts: reaction.ts,
                },
                Body::KeyUsed(used) => Self::KeyUsed(Arc::new(UsedUp {
                    conversation: conversation(&used.conversation)?,
                    sender: user(&used.sender)?,
                    message_seq: Seq(used.message_seq),
                    key: typed_key(used.key.ok_or("a used key is missing")?)?,
                    at: used.at,
                })),
                Body::Banned(ban) => Self::Banned(Arc::new(typed_ban(ban)?)),
                Body::Unbanned(ban) => Self::Unbanned(Arc::new(typed_ban(ban)?)),
                Body::Pruned(pruned) => Self::Pruned(typed_pruning(&pruned)?),
                Body::Erased(erased) => Self::Erased(typed_erasure(&erased)?),
                Body::Viewed(change) => Self::Viewed(Arc::new(typed_view(&change)?)),
                Body::OwnMark(mark) => Self::OwnMark(Arc::new(typed_mark(&mark)?)),
                Body::EpochStart(start) => Self::EpochStart {
                    epoch: Epoch(start.epoch),
                    node: NodeId::from(start.node.as_str()),
                    ts: start.ts,
                },
            },
        )
    }
}

fn typed_ban(ban: BanChange) -> Result<super::BanChange, Bad> {
    Ok(super::BanChange {
        conversation: conversation(&ban.conversation)?,
        user: user(&ban.user)?,
        by: user(&ban.by)?,
        reason: ban.reason.map(Arc::from),
        at: ban.at,
    })
}

fn typed_pruning(pruned: &Pruned) -> Result<Pruning, Bad> {
    let messages = pruned.messages.iter().map(|id| message_id(id));
    Ok(Pruning {
        conversation: conversation(&pruned.conversation)?,
        up_to: Seq(pruned.up_to),
        at: pruned.at,
        messages: messages.collect::<Result<_, _>>()?,
    })
}

fn typed_erasure(erased: &Erased) -> Result<Erasure, Bad> {
    Ok(Erasure {
        conversation: conversation(&erased.conversation)?,
        is_last: erased.is_last,
        at: erased.at,
    })
}

fn typed_view(change: &ViewChange) -> Result<super::ViewChange, Bad> {
    Ok(super::ViewChange {
        conversation: conversation(&change.conversation)?,
        user: user(&change.user)?,
        joined: Seq(change.joined),
        revision: change.revision,
        notify_after: change.notify_after,
        pinned: change.pinned,
        archived: change.archived,
        at: change.at,
    })
}

fn typed_mark(mark: &OwnMark) -> Result<super::OwnMark, Bad> {
    Ok(super::OwnMark {
        conversation: conversation(&mark.conversation)?,
        user: user(&mark.user)?,
        read_up_to: Seq(mark.read_up_to),
        at: mark.at,
    })
}

fn typed_index_view(of: &wire_view::IndexView) -> IndexView {
    IndexView {
        revision: of.revision,
        pinned: of.pinned,
        archived: of.archived,
    }
}

fn typed_advance(advance: &OneAdvance) -> Result<Advance, Bad> {
    Ok(Advance {
        user: user(&advance.user)?,
        delivered: Seq(advance.delivered),
        read: Seq(advance.read),
    })
}

fn typed_event(event: Event) -> Result<super::Event, Bad> {
    Ok(super::Event {
        conversation: conversation(&event.conversation)?,
        seq: Seq(event.seq),
        created: event.created,
        key: event.key.map(typed_key).transpose()?,
        kind: typed_kind(
            event
                .kind
                .ok_or("a kind of event that this version does not know")?,
        )?,
    })
}

fn typed_content(text: String, data: Option<String>, mentions: &[String]) -> Result<Content, Bad> {
    Ok(Content {
        text: Arc::from(text),
        data: data.map(Arc::from),
        mentions: users(mentions)?,
    })
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn typed_kind(kind: Kind) -> Result<super::EventKind, Bad> {
    Ok(match kind {
        Kind::Created(created) => super::EventKind::Created {
            by: user(&created.by)?,
            title: created.title.map(Arc::from),
            participants: users(&created.participants)?,
            data: created.data.map(Arc::from),
            settings: Settings::default().with(&typed_settings(created.settings)?),
        },
        Kind::Message(message) => super::EventKind::message(
            message_id(&message.id)?,
            user(&message.source)?,
            typed_content(message.text, message.data, &message.mentions)?,
            message.reply_to.as_deref().map(message_id).transpose()?,
        ),
        Kind::Joined(joined) => super::EventKind::Joined {
            by: user(&joined.by)?,
            users: users(&joined.users)?,
            readers: users(&joined.readers)?,
            muted: joined
                .muted
                .iter()
                .map(|muted| Ok((user(&muted.user)?, muted.until)))
                .collect::<Result<_, Bad>>()?,
        },
        Kind::Left(left) => super::EventKind::Left {
            by: user(&left.by)?,
            user: user(&left.user)?,
            admin: left.admin.as_deref().map(user).transpose()?,
            banned: left.banned,
            reason: left.reason.map(Arc::from),
        },
        Kind::Edited(edited) => {
            let Content {
                text,
                data,
                mentions,
            } = typed_content(edited.text, edited.data, &edited.mentions)?;
            super::EventKind::Edited {
                message_id: message_id(&edited.message_id)?,
                message_seq: Seq(edited.message_seq),
                by: user(&edited.by)?,
                text,
                data,
                mentions,
                superseded: false,
            }
        }
        Kind::Deleted(deleted) => super::EventKind::Deleted {
            message_id: message_id(&deleted.message_id)?,
            message_seq: Seq(deleted.message_seq),
            by: user(&deleted.by)?,
        },
        Kind::Role(role) => super::EventKind::Role {
            by: user(&role.by)?,
            user: user(&role.user)?,
            role: typed_role(role.role)?,
            muted_until: role.muted_until,
        },
        Kind::Updated(updated) => super::EventKind::Updated {
            by: user(&updated.by)?,
            title: typed_text(updated.title),
            data: typed_text(updated.data),
            settings: typed_settings(updated.settings)?,
        },
        Kind::Closed(closed) => super::EventKind::Closed {
            by: user(&closed.by)?,
        },
    })
}
