//! Records of every kind, for the tests of this folder.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, Slot, UserId};
use crate::log::record::change::{Advance, Record};
use crate::log::record::event::{Content, Event, EventKind};
use crate::log::record::index::{IndexChange, OutboxPosition};
use crate::log::record::key::{KeyUse, UsedUp};
use crate::log::record::{closing, governing, retention, viewing};

/// Every kind of record, with everything and with as little as there can be. A new kind, or a new
/// field, comes with further samples; a sample that is here never changes.
#[expect(clippy::too_many_lines, reason = "one list")]
pub(super) fn samples() -> Vec<(&'static str, Vec<Record>)> {
    let (alice, bob) = (user("alice"), user("bob"));
    let created = |title: Option<&str>, participants| {
        EventKind::created(user("alice"), title.map(Arc::from), participants)
    };
    let message = |text: &str, reply_to| {
        EventKind::message(message_id(42), user("alice"), content(text), reply_to)
    };

    let left = |admin| EventKind::left(user("alice"), user("alice"), admin);
    let index = |joined, create_key| {
        let (user, conversation) = (user("bob"), conversation("general"));
        Record::Index(Arc::new(IndexChange {
            user,
            conversation,
            seq: Seq(9),
            joined,
            at: 1_732_270_000_123,
            create_key,
            view: None,
        }))
    };

    let reaction = |reaction| Record::Reaction {
        conversation: conversation("general"),
        message_id: message_id(42),
        user: user("bob"),
        reaction,
        ts: 1_732_270_000_123,
    };
    let advance = |user, delivered, read| Advance {
        user,
        delivered: Seq(delivered),
        read: Seq(read),
    };

    let advances = vec![
        advance(alice.clone(), 17, 0),
        advance(bob.clone(), 300, 299),
    ];
    let start = |epoch| Record::EpochStart {
        epoch: Epoch(epoch),
        node: NodeId::from("node-0"),
        ts: 1_732_270_000_123,
    };

    let everyone = vec![alice, bob.clone()];
    let everything = vec![
        start(3),
        event(2, None, message("many", None)),
        index(true, None),
        reaction(Some(1)),
    ];

    vec![
        (
            "created",
            vec![event(
                1,
                Some(key(false)),
                created(Some("Général ✨"), everyone.clone()),
            )],
        ),
        ("created_bare", vec![event(1, None, created(None, vec![]))]),
        (
            "message",
            vec![event(
                2,
                Some(key(true)),
                message("héllo\n\u{0}", Some(message_id(41))),
            )],
        ),
        (
            "message_bare",
            vec![event(u64::MAX, None, message("", None))],
        ),
        (
            "joined",
            vec![event(3, None, EventKind::joined(user("alice"), everyone))],
        ),
        ("left", vec![event(4, None, left(Some(bob)))]),
        ("left_bare", vec![event(5, None, left(None))]),
        ("index_joined", vec![index(true, Some(key(false)))]),
        ("index_left", vec![index(false, None)]),
        (
            "outbox",
            vec![Record::OutboxProgress {
                upto: OutboxPosition {
                    offset: Offset(1 << 40),
                    index: 9999,
                },
            }],
        ),
        (
            "outbox_zero",
            vec![Record::OutboxProgress {
                upto: OutboxPosition::default(),
            }],
        ),
        (
            "advances",
            vec![Record::Advances {
                conversation: conversation("general"),
                ts: 0,
                advances,
            }],
        ),
        ("reaction", vec![reaction(Some(0))]),
        ("reaction_none", vec![reaction(None)]),
        ("epoch_start", vec![start(u64::MAX)]),
        ("several", everything),
        (
            "unknown_kind",
            vec![unreadable(b"\x9a\x06\x03abc"), start(4)],
        ),
        ("not_protobuf", vec![unreadable(b"\x0a\xff")]),
    ]
}

/// Those of the second version of the records.
pub(super) fn later_samples() -> Vec<(&'static str, Vec<Record>)> {
    let full = Content {
        text: Arc::from("héllo @bob"),
        data: Some(Arc::from(r#"{"b":1.0,"a":[true,null]}"#)),
        mentions: vec![user("bob"), user("alice")],
    };

    let edited = |Content {
                      text,
                      data,
                      mentions,
                  }| EventKind::Edited {
        message_id: message_id(42),
        message_seq: Seq(2),
        by: user("alice"),
        text,
        data,
        mentions,
        superseded: false,
    };

    let deleted = EventKind::Deleted {
        message_id: message_id(42),
        message_seq: Seq(2),
        by: user("bob"),
    };
    let used = Record::KeyUsed(Arc::new(UsedUp {
        conversation: conversation("general"),
        sender: user("alice"),
        message_seq: Seq(2),
        key: key(false),
        at: 1_732_270_000_123,
    }));

    vec![
        (
            "message_v2",
            vec![event(
                2,
                Some(key(false)),
                EventKind::message(message_id(42), user("alice"), full.clone(), None),
            )],
        ),
        ("edited", vec![event(6, Some(key(false)), edited(full))]),
        ("edited_bare", vec![event(7, None, edited(content("x")))]),
        ("deleted", vec![event(8, None, deleted)]),
        ("key_used", vec![used]),
    ]
}

pub(super) fn all_samples() -> impl ExactSizeIterator<Item = (&'static str, Vec<Record>)> {
    [
        samples(),
        later_samples(),
        governing::samples(),
        closing::samples(),
        viewing::samples(),
        retention::samples(),
    ]
    .concat()
    .into_iter()
}

pub(super) fn content(text: &str) -> Content {
    Content {
        text: Arc::from(text),
        ..Content::none()
    }
}

pub(super) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

pub(super) fn conversation(name: &str) -> ConversationName {
    ConversationName::parse(name).expect("a name")
}

pub(super) fn key(stamped: bool) -> KeyUse {
    KeyUse {
        key: Arc::from("key 1"),
        stamped,
        fingerprint: [7; 16],
    }
}

pub(super) fn event(seq: u64, key: Option<KeyUse>, kind: EventKind) -> Record {
    let conversation = conversation("general");
    Record::Event(Arc::new(Event {
        conversation,
        seq: Seq(seq),
        created: 1_732_270_000_123,
        key,
        kind,
    }))
}

pub(super) fn message_id(random: u64) -> MessageId {
    MessageId::new(1_732_270_000_000, Slot(0x1cf2), random)
}

pub(super) fn unreadable(bytes: &'static [u8]) -> Record {
    let read = Record::decode(Bytes::from_static(bytes));
    assert!(matches!(read, Record::Unreadable { .. }), "{read:?}");
    read
}
