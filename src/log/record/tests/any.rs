//! Any record that there may be.

use std::sync::Arc;

use proptest::option;

use super::any_governing::{any_ban, any_governing};
use super::*;
use crate::ids::{ConversationName, MessageId, Seq, Slot, UserId};
use crate::log::record::change::{Advance, Erasure, Pruning};
use crate::log::record::event::{Content, Event, EventKind};
use crate::log::record::index::{IndexChange, OutboxPosition};
use crate::log::record::key::{KeyUse, UsedUp};
use crate::log::record::samples::{conversation, user};
use crate::log::record::view::{IndexView, OwnMark, ViewChange};

// ---- properties
// ------------------------------------------------------------------------

pub(super) fn any_user() -> impl Strategy<Value = UserId> {
    "[a-zA-Z0-9_@:-][a-zA-Z0-9._@:-]{0,20}".prop_map(|name| user(&name))
}

pub(super) fn any_conversation() -> impl Strategy<Value = ConversationName> {
    "[a-zA-Z0-9_@:-][a-zA-Z0-9._@:-]{0,127}".prop_map(|name| conversation(&name))
}

fn any_message_id() -> impl Strategy<Value = MessageId> {
    any::<(u64, u16, u64)>().prop_map(|(ms, slot, random)| MessageId::new(ms, Slot(slot), random))
}

fn any_key() -> impl Strategy<Value = KeyUse> {
    ("[ -~]{1,128}", any::<bool>(), any::<[u8; 16]>()).prop_map(|(key, stamped, fingerprint)| {
        KeyUse {
            key: Arc::from(key),
            stamped,
            fingerprint,
        }
    })
}

fn any_content() -> impl Strategy<Value = Content> {
    (
        any::<String>(),
        option::of(any::<String>()),
        vec(any_user(), 0..5),
    )
        .prop_map(|(text, data, mentions)| Content {
            text: Arc::from(text),
            data: data.map(Arc::from),
            mentions,
        })
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        (
            any_message_id(),
            any_user(),
            any_content(),
            option::of(any_message_id())
        )
            .prop_map(|(id, source, content, reply_to)| EventKind::message(
                id, source, content, reply_to
            )),
        (any_message_id(), any::<u64>(), any_user(), any_content()).prop_map(
            |(message_id, seq, by, content)| {
                let (
                    Content {
                        text,
                        data,
                        mentions,
                    },
                    message_seq,
                ) = (content, Seq(seq));
                EventKind::Edited {
                    message_id,
                    message_seq,
                    by,
                    text,
                    data,
                    mentions,
                    superseded: false,
                }
            }
        ),
        (any_message_id(), any::<u64>(), any_user()).prop_map(|(message_id, seq, by)| {
            EventKind::Deleted {
                message_id,
                message_seq: Seq(seq),
                by,
            }
        }),
        any_governing(),
        any_user().prop_map(|by| EventKind::Closed { by }),
    ]
}

fn any_event() -> impl Strategy<Value = Record> {
    (
        any_conversation(),
        any::<u64>(),
        any::<u64>(),
        option::of(any_key()),
        any_kind(),
    )
        .prop_map(|(conversation, seq, created, key, kind)| {
            Record::Event(Arc::new(Event {
                conversation,
                seq: Seq(seq),
                created,
                key,
                kind,
            }))
        })
}

fn any_index() -> impl Strategy<Value = Record> {
    (
        any_user(),
        any_conversation(),
        any::<(u64, bool, u64)>(),
        option::of(any_key()),
        option::of(any::<(u64, Option<u32>, bool)>()),
    )
        .prop_map(
            |(user, conversation, (seq, joined, at), create_key, view)| {
                Record::Index(Arc::new(IndexChange {
                    user,
                    conversation,
                    seq: Seq(seq),
                    joined,
                    at,
                    create_key,
                    view: view.map(|(revision, pinned, archived)| IndexView {
                        revision,
                        pinned,
                        archived,
                    }),
                }))
            },
        )
}

fn any_used_key() -> impl Strategy<Value = Record> {
    (
        any_conversation(),
        any_user(),
        any::<(u64, u64)>(),
        any_key(),
    )
        .prop_map(|(conversation, sender, (seq, at), key)| {
            Record::KeyUsed(Arc::new(UsedUp {
                conversation,
                sender,
                message_seq: Seq(seq),
                key,
                at,
            }))
        })
}

fn any_advances() -> impl Strategy<Value = Record> {
    let advance = (any_user(), any::<(u64, u64)>()).prop_map(|(user, (delivered, read))| Advance {
        user,
        delivered: Seq(delivered),
        read: Seq(read),
    });
    (any_conversation(), any::<u64>(), vec(advance, 0..20)).prop_map(
        |(conversation, ts, advances)| Record::Advances {
            conversation,
            ts,
            advances,
        },
    )
}

fn any_reaction() -> impl Strategy<Value = Record> {
    (
        any_conversation(),
        any_message_id(),
        any_user(),
        any::<(Option<u32>, u64)>(),
    )
        .prop_map(
            |(conversation, message_id, user, (reaction, ts))| Record::Reaction {
                conversation,
                message_id,
                user,
                reaction,
                ts,
            },
        )
}

fn any_view() -> impl Strategy<Value = Record> {
    (
        any_conversation(),
        any_user(),
        any::<(u64, u64, u64)>(),
        any::<(Option<u64>, Option<u32>, bool)>(),
    )
        .prop_map(
            |(conversation, user, (joined, revision, at), (notify_after, pinned, archived))| {
                Record::Viewed(Arc::new(ViewChange {
                    conversation,
                    user,
                    joined: Seq(joined),
                    revision,
                    notify_after,
                    pinned,
                    archived,
                    at,
                }))
            },
        )
}

fn any_own_mark() -> impl Strategy<Value = Record> {
    (any_conversation(), any_user(), any::<(u64, u64)>()).prop_map(
        |(conversation, user, (read_up_to, at))| {
            Record::OwnMark(Arc::new(OwnMark {
                conversation,
                user,
                read_up_to: Seq(read_up_to),
                at,
            }))
        },
    )
}

pub(super) fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        4 => any_event(),
        2 => any_index(),
        1 => any_used_key(),
        1 => any_ban().prop_map(Record::Banned),
        1 => any_ban().prop_map(Record::Unbanned),
        1 => (any_conversation(), any::<(u64, u64, Vec<u64>)>()).prop_map(|(conversation, (up_to, at, ids))| {
            let messages = ids.into_iter().map(|id| MessageId::new(at, Slot(7), id)).collect();
            Record::Pruned(Pruning { conversation, up_to: Seq(up_to), at, messages })
        }),
        1 => (any_conversation(), any::<(bool, u64)>()).prop_map(|(conversation, (is_last, at))| {
            Record::Erased(Erasure { conversation, is_last, at })
        }),
        1 => any_view(),
        1 => any_own_mark(),
        2 => any_advances(),
        1 => any_reaction(),
        1 => any::<(u64, u32)>()
            .prop_map(|(offset, index)| Record::OutboxProgress { upto: OutboxPosition { offset: Offset(offset), index } }),
        1 => (any::<(u64, u64)>(), any_user()).prop_map(|((epoch, ts), node)| Record::EpochStart {
            epoch: Epoch(epoch),
            node: NodeId::from(node.as_str()),
            ts
        }),
    ]
}
