//! Records and entries: the way there and back, what is refused, and the fixtures that pin the
//! format for ever.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::entry::{CHAIN_AT, ENTRY_VERSION, HEADER_BYTES, chain_of};
use super::samples::{all_samples, conversation, user};
use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, Slot, UserId};
use crate::log::record::Record;
use crate::log::record::change::Advance;
use crate::log::record::entry::{Chain, ENTRY_RECORDS_MAX, Entry, EntryError, Header, Tail, seal};
use crate::log::record::event::{Content, Event, EventKind};
use crate::log::record::index::{IndexChange, OutboxPosition};
use crate::log::record::key::{KeyUse, UsedUp};

const WRITE_FIXTURES_VARIABLE: &str = "ROOKERY_WRITE_MISSING_FIXTURES";

// ---- fixtures
// ------------------------------------------------------------------------

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records")
}

fn sealed(records: &[Record]) -> (Bytes, Tail) {
    let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
    seal(&Tail::EMPTY, Epoch(3), &encoded)
}

/// What is kept beside the bytes. Reasons are left out: their words come from a library.
fn told(entry: &Entry) -> String {
    let lines = entry.numbered().map(|(offset, record)| match record {
        Record::Unreadable { bytes, .. } => format!("{offset} unreadable {bytes:?}\n"),
        readable => format!("{offset} {readable:#?}\n"),
    });
    format!(
        "epoch {} tail {:?}\n{}",
        entry.epoch,
        entry.tail,
        lines.collect::<String>()
    )
}

#[test]
fn every_sample_has_its_fixture_and_still_encodes_to_it() {
    for (name, records) in all_samples() {
        let path = fixtures().join(format!("{name}.entry"));
        let (bytes, _) = sealed(&records);
        if !path.exists() && std::env::var_os(WRITE_FIXTURES_VARIABLE).is_some() {
            let entry = Entry::decode_after(&Tail::EMPTY, &bytes).expect("decodes");
            std::fs::create_dir_all(fixtures()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(path.with_extension("txt"), told(&entry)).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "no fixture {}: {error}. A released one was lost: restore it. A new sample: run this test once with \
                 {WRITE_FIXTURES_VARIABLE}=1, look at what it wrote, commit it.",
                path.display()
            )
        });
        assert_eq!(
            kept, bytes,
            "{name}: this version writes other bytes than the one that wrote the fixture"
        );
    }
}

#[test]
fn every_fixture_ever_written_reads_as_it_did_and_encodes_to_itself() {
    let mut seen = 0;
    for file in std::fs::read_dir(fixtures()).expect("fixtures") {
        let path = file.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "entry")
        {
            continue;
        }
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let entry = Entry::decode_after(&Tail::EMPTY, &bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            told(&entry),
            std::fs::read_to_string(path.with_extension("txt")).unwrap(),
            "{}",
            path.display()
        );
        let encoded: Vec<Bytes> = entry.records.iter().map(Record::encode).collect();
        assert_eq!(
            seal(&Tail::EMPTY, entry.epoch, &encoded),
            (bytes, entry.tail),
            "{}",
            path.display()
        );
        seen += 1;
    }
    assert!(seen >= all_samples().len());
}

// ---- place and chain
// ------------------------------------------------------------------------

fn starts(count: usize) -> Vec<Bytes> {
    let start = |epoch| Record::EpochStart {
        epoch: Epoch(epoch),
        node: NodeId::from("n"),
        ts: 1,
    };
    (1..)
        .take(count)
        .map(|epoch| start(epoch).encode())
        .collect()
}

#[test]
fn an_entry_follows_only_the_tail_that_it_was_sealed_for() {
    let (first, tail) = seal(&Tail::EMPTY, Epoch(1), &starts(3));
    let (second, end) = seal(&tail, Epoch(2), &starts(2));
    let read = Entry::decode_after(&tail, &second).unwrap();
    assert_eq!(
        (read.first, read.tail, read.epoch, read.records.len()),
        (Offset(4), end, Epoch(2), 2)
    );
    assert_eq!(
        read.numbered()
            .map(|(offset, _)| offset.0)
            .collect::<Vec<_>>(),
        [4, 5]
    );
    let hole = EntryError::Hole {
        expected: Offset(1),
        found: Offset(4),
    };
    assert_eq!(Entry::decode_after(&Tail::EMPTY, &second), Err(hole));
    let again = EntryError::Hole {
        expected: Offset(4),
        found: Offset(1),
    };
    assert_eq!(Entry::decode_after(&tail, &first), Err(again));
    let other_history = Tail {
        offset: tail.offset,
        chain: end.chain,
    };
    assert_eq!(
        Entry::decode_after(&other_history, &second),
        Err(EntryError::Unlinked(Offset(4)))
    );
}

#[test]
fn a_later_version_is_named_as_such() {
    let (bytes, _) = seal(&Tail::EMPTY, Epoch(1), &starts(1));
    let mut later = bytes.to_vec();
    later[0] = 2;
    assert_eq!(
        Entry::decode_after(&Tail::EMPTY, &Bytes::from(later)),
        Err(EntryError::Version(2))
    );
}

/// An entry whose chain is right though its body is not: flaws that the chain does not find.
fn with_a_right_chain(count: u16, body: &[u8]) -> Bytes {
    let mut bytes = vec![ENTRY_VERSION, 0];
    bytes.extend(count.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    let chain = chain_of(&Tail::EMPTY.chain, &bytes);
    bytes[CHAIN_AT..HEADER_BYTES].copy_from_slice(&chain.0);
    Bytes::from(bytes)
}

#[test]
fn lengths_and_counts_that_do_not_fit_are_malformed() {
    let over = u16::try_from(ENTRY_RECORDS_MAX + 1).unwrap();
    let flaws: [(u16, &[u8]); 8] = [
        (0, b""),
        (over, b""),
        (1, b""),
        (1, b"\0\0\0"),
        (1, b"\0\0\0\x02a"),
        (1, b"\xff\xff\xff\xffa"),
        (1, b"\0\0\0\0z"),
        (2, b"\0\0\0\x01a"),
    ];
    for (count, body) in flaws {
        let read = Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(count, body));
        assert!(
            matches!(read, Err(EntryError::Malformed(_))),
            "{count} {body:?}: {read:?}"
        );
    }
    assert!(Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(1, b"\0\0\0\x01a")).is_ok());
}

// ---- properties
// ------------------------------------------------------------------------

fn any_user() -> impl Strategy<Value = UserId> {
    "[a-zA-Z0-9_@:-][a-zA-Z0-9._@:-]{0,20}".prop_map(|name| user(&name))
}

fn any_conversation() -> impl Strategy<Value = ConversationName> {
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
            any_user(),
            option::of(any::<String>()),
            vec(any_user(), 0..20)
        )
            .prop_map(|(by, title, participants)| {
                EventKind::Created {
                    by,
                    title: title.map(Arc::from),
                    participants,
                }
            }),
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
        (any_user(), vec(any_user(), 0..20))
            .prop_map(|(by, users)| EventKind::Joined { by, users }),
        (any_user(), any_user(), option::of(any_user()))
            .prop_map(|(by, user, admin)| EventKind::Left { by, user, admin }),
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
    )
        .prop_map(|(user, conversation, (seq, joined, at), create_key)| {
            Record::Index(Arc::new(IndexChange {
                user,
                conversation,
                seq: Seq(seq),
                joined,
                at,
                create_key,
            }))
        })
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

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        4 => any_event(),
        2 => any_index(),
        1 => any_used_key(),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_records_come_back_from_an_entry_in_any_place(
        records in vec(any_record(), 1..20),
        epoch: u64,
        offset in 0_u64..1 << 60,
        chain: [u8; 16],
    ) {
        let before = Tail { offset: Offset(offset), chain: Chain(chain) };
        let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
        let (bytes, tail) = seal(&before, Epoch(epoch), &encoded);
        let entry = Entry::decode_after(&before, &bytes).unwrap();
        prop_assert_eq!(tail.offset.0, offset + records.len() as u64);
        prop_assert_eq!(&entry, &Entry { epoch: Epoch(epoch), first: before.offset.next(), tail, records });
        prop_assert_eq!(Header::read(&bytes).unwrap().tail(), tail);
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_refused(
        records in vec(any_record(), 1..4), at: prop::sample::Index, change in 1_u8..,
    ) {
        let (bytes, _) = sealed(&records);
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= change;
        prop_assert!(Entry::decode_after(&Tail::EMPTY, &Bytes::from(changed)).is_err());
    }

    #[test]
    fn a_cut_or_prolonged_entry_is_refused(records in vec(any_record(), 1..3), more in vec(any::<u8>(), 1..9)) {
        let (bytes, _) = sealed(&records);
        for length in 0..bytes.len() {
            prop_assert!(Entry::decode_after(&Tail::EMPTY, &bytes.slice(..length)).is_err(), "{length} bytes");
        }
        let prolonged = [bytes.as_ref(), &more].concat();
        prop_assert!(Entry::decode_after(&Tail::EMPTY, &Bytes::from(prolonged)).is_err());
    }

    #[test]
    fn a_body_of_any_bytes_is_read_or_refused_but_never_panics(count in 0_u16..5, body in vec(any::<u8>(), 0..64)) {
        let framed = [&u32::try_from(body.len()).unwrap().to_be_bytes(), body.as_slice()].concat();
        for tried in [body, framed] {
            if let Ok(entry) = Entry::decode_after(&Tail::EMPTY, &with_a_right_chain(count, &tried)) {
                prop_assert_eq!(entry.records.len(), usize::from(count));
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_it_stands(bytes in vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(bytes);
        let read = Record::decode(bytes.clone());
        if matches!(read, Record::Unreadable { .. }) {
            prop_assert_eq!(read.encode(), bytes);
        } else {
            prop_assert_eq!(Record::decode(read.encode()), read);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_kept_as_it_stands(tag in 8_u32..1000, body in vec(any::<u8>(), 0..64)) {
        let mut bytes = BytesMut::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(body.len() as u64, &mut bytes);
        bytes.put_slice(&body);
        let bytes = bytes.freeze();
        let read = Record::decode(bytes.clone());
        prop_assert!(matches!(&read, Record::Unreadable { bytes: kept, .. } if *kept == bytes), "{read:?}");
        prop_assert_eq!(read.encode(), bytes);
    }
}
