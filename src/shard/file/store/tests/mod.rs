//! The whole way from entries to rows and back out through every read: a log to apply and a file to
//! apply it to.
#![expect(
    clippy::shadow_unrelated,
    clippy::too_many_arguments,
    reason = "records are made of many small things, and a test tells several steps of one story"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row};

use super::columns::int;
use super::*;
use crate::ids::{
    ClusterId, ConversationName, Epoch, IdempotencyKey, MessageId, NodeId, Offset, Seq, ShardId,
    UserId,
};
use crate::log::record::{
    Advance, Content, Entry, Event, EventKind, IndexChange, KeyUse, OutboxPosition, Record, Tail,
    UsedUp, seal,
};
use crate::log::{Identity, PerStream, Stream};
use crate::shard::command::{Around, IndexItem, ListPlace, Listed};

const DAY: u64 = 24 * 60 * 60 * 1000;
const START: u64 = 1_700_000_000_000;

mod applying;
mod author;
mod closing;
mod digest;
mod durable;
mod edits;
mod erased;
mod former;
mod governing;
mod heads;
mod histories;
mod indexes;
mod plans;
mod reactions;
mod retained_for;
mod said;
mod unread;
mod viewed;
mod watermarks;

pub(crate) use closing::{closed, erased, pruned};
pub(crate) use former::file_of_the_version_before;
pub(crate) use governing::{ban, banned, let_in, role, some_change, updated};
use said::message_to;
pub(crate) use said::{deleted, edited, key_used, message};
pub(crate) use viewed::{index_view, own_mark, viewed};

/// A stream as an owner writes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    pub(crate) tail: Tail,
    pub(crate) entries: Vec<ApplyEntry>,
}

impl Written {
    /// Appends one entry of these records.
    pub(crate) fn entry(&mut self, records: &[Record]) -> Offset {
        let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
        let (bytes, tail) = seal(&self.tail, Epoch(1), &encoded);
        let entry = Entry::decode_after(&self.tail, &bytes).expect("it was just sealed");
        assert_eq!(entry.tail, tail);
        self.tail = tail;
        self.entries.push(ApplyEntry { entry, bytes });
        tail.offset
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a good name")
}

pub(crate) fn conversation(name: &str) -> ConversationName {
    ConversationName::parse(name).expect("a good name")
}

fn id(number: u64) -> MessageId {
    MessageId::new(START + number, conversation("c").slot(), number)
}

fn event(name: &str, seq: u64, created: u64, kind: EventKind) -> Record {
    Record::Event(Arc::new(Event {
        conversation: conversation(name),
        seq: Seq(seq),
        created,
        key: None,
        kind,
    }))
}

pub(crate) fn with_key(record: Record, key: &str, stamped: bool) -> Record {
    let Record::Event(event) = record else {
        panic!("no event")
    };
    let key = Some(KeyUse {
        key: Arc::from(key),
        stamped,
        fingerprint: [7; 16],
    });
    Record::Event(Arc::new(Event {
        key,
        ..(*event).clone()
    }))
}

pub(crate) fn created(name: &str, users: &[&str], at: u64) -> Record {
    let participants: Vec<_> = users.iter().map(|name| user(name)).collect();
    event(
        name,
        1,
        at,
        EventKind::created(participants[0].clone(), Some("T".into()), participants),
    )
}

pub(crate) fn left(name: &str, seq: u64, by: &str, who: &str, admin: Option<&str>) -> Record {
    event(
        name,
        seq,
        START,
        EventKind::left(user(by), user(who), admin.map(user)),
    )
}

pub(crate) fn joined(name: &str, seq: u64, by: &str, users: &[&str]) -> Record {
    let users = users.iter().map(|name| user(name)).collect();
    event(name, seq, START, EventKind::joined(user(by), users))
}

pub(crate) fn advance(name: &str, ts: u64, who: &str, delivered: u64, read: u64) -> Record {
    let advances = vec![Advance {
        user: user(who),
        delivered: Seq(delivered),
        read: Seq(read),
    }];
    Record::Advances {
        conversation: conversation(name),
        ts,
        advances,
    }
}

pub(crate) fn react(name: &str, number: u64, who: &str, reaction: Option<u32>) -> Record {
    let (conversation, user) = (conversation(name), user(who));
    Record::Reaction {
        conversation,
        message_id: id(number),
        user,
        reaction,
        ts: START,
    }
}

pub(crate) fn index(
    who: &str,
    name: &str,
    seq: u64,
    joined: bool,
    key: Option<&str>,
    at: u64,
) -> Record {
    let create_key = key.map(|key| KeyUse {
        key: key.into(),
        stamped: false,
        fingerprint: [9; 16],
    });
    let (user, conversation) = (user(who), conversation(name));
    Record::Index(Arc::new(IndexChange {
        user,
        conversation,
        seq: Seq(seq),
        joined,
        at,
        create_key,
        view: None,
    }))
}

fn unreadable() -> Record {
    Record::decode(Bytes::from_static(b"\xff\xff\xff"))
}

pub(crate) fn config() -> Config {
    Config {
        readers_max: 2,
        rest_after: Duration::from_secs(60),
        checkpoint_pages: 1_000,
        checkpoint_every: Duration::from_secs(3_600),
        raw_floor: Duration::from_secs(60),
        raw_bytes_max: 8 * 1024 * 1024,
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        cluster: ClusterId(uuid::Uuid::from_u128(7)),
        shards: 16,
    }
}

pub(crate) async fn open(folder: &Path, name: &str) -> Store {
    Store::open(&folder.join(name), identity(), ShardId(3), config())
        .await
        .expect("opens")
}

async fn one(folder: &Path, messages: &[Record], receipts: &[Record]) -> Store {
    let store = open(folder, "s3.db").await;
    let mut streams = PerStream::<Written>::default();
    streams.messages.entry(messages);
    store
        .apply(Stream::Messages, streams.messages.entries)
        .await
        .expect("applies");
    if !receipts.is_empty() {
        streams.receipts.entry(receipts);
        store
            .apply(Stream::Receipts, streams.receipts.entries)
            .await
            .expect("applies");
    }
    store
}

impl Store {
    /// Runs a statement on the writer's connection.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let done = self
            .ask(|reply| writer::Ask::Execute(sql, reply))
            .await
            .expect("open");
        done.expect("a good statement");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_file_of_another_cluster_or_shard_is_refused_with_one_line() {
    let folder = folder();
    open(folder.path(), "s3.db").await.close().await;

    let path = folder.path().join("s3.db");
    let others = [
        (
            Identity {
                cluster: ClusterId::random(),
                ..identity()
            },
            ShardId(3),
        ),
        (
            Identity {
                shards: 256,
                ..identity()
            },
            ShardId(3),
        ),
        (identity(), ShardId(4)),
    ];

    for (identity, shard) in others {
        let refused = Store::open(&path, identity, shard, config())
            .await
            .expect_err("foreign");
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
        assert!(!refused.to_string().contains('\n'));
    }
    open(folder.path(), "s3.db").await.close().await;
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut other = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("opens");
    sqlx::query("CREATE TABLE songs (name TEXT)")
        .execute(&mut other)
        .await
        .expect("creates");
    let refused = Store::open(&path, identity(), ShardId(3), config())
        .await
        .expect_err("foreign");
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");

    let tables = sqlx::query("SELECT name FROM sqlite_master")
        .fetch_all(&mut other)
        .await
        .expect("reads");
    assert_eq!(tables.len(), 1);
}

#[tokio::test]
async fn the_file_is_opened_as_the_notes_on_sqlite_ask() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut reader = store.readers().acquire().await.expect("a reader");
    let mode = sqlx::query("PRAGMA journal_mode")
        .fetch_one(&mut *reader)
        .await
        .expect("reads");
    assert_eq!(mode.get::<String, _>(0), "wal");
    let written = sqlx::query("DELETE FROM messages")
        .execute(&mut *reader)
        .await;
    assert!(written.is_err(), "readers cannot write");
}
