//! The whole way from entries to rows and back out through every read.
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
use sqlx::{AssertSqlSafe, Connection, Row};

use super::*;
use crate::ids::{ClusterId, ConversationName, Epoch, IdempotencyKey, MessageId, NodeId, Offset, Seq, UserId};
use crate::shard::command::{Around, IndexItem};
use crate::shard::log::record::{Advance, Entry, Event, EventKind, IndexChange, KeyUse, OutboxPosition, Record, seal};

const DAY: u64 = 24 * 60 * 60 * 1000;
const START: u64 = 1_700_000_000_000;

// ---- a log to apply ------------------------------------------------------------------------------------------------

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
    Record::Event(Arc::new(Event { conversation: conversation(name), seq: Seq(seq), created, key: None, kind }))
}

fn with_key(record: Record, key: &str, stamped: bool) -> Record {
    let Record::Event(event) = record else { panic!("no event") };
    let key = Some(KeyUse { key: Arc::from(key), stamped, fingerprint: [7; 16] });
    Record::Event(Arc::new(Event { key, ..(*event).clone() }))
}

pub(crate) fn created(name: &str, users: &[&str], at: u64) -> Record {
    let participants: Vec<_> = users.iter().map(|name| user(name)).collect();
    event(name, 1, at, EventKind::Created { by: participants[0].clone(), title: Some("T".into()), participants })
}

pub(crate) fn message(name: &str, seq: u64, source: &str, number: u64, at: u64) -> Record {
    message_to(name, seq, source, number, at, None)
}

fn message_to(name: &str, seq: u64, source: &str, number: u64, at: u64, to: Option<MessageId>) -> Record {
    let text = format!("text {number}").into();
    event(name, seq, at, EventKind::Message { id: id(number), source: user(source), text, reply_to: to })
}

fn left(name: &str, seq: u64, by: &str, who: &str, admin: Option<&str>) -> Record {
    event(name, seq, START, EventKind::Left { by: user(by), user: user(who), admin: admin.map(user) })
}

fn joined(name: &str, seq: u64, by: &str, users: &[&str]) -> Record {
    let users = users.iter().map(|name| user(name)).collect();
    event(name, seq, START, EventKind::Joined { by: user(by), users })
}

fn advance(name: &str, ts: u64, who: &str, delivered: u64, read: u64) -> Record {
    let advances = vec![Advance { user: user(who), delivered: Seq(delivered), read: Seq(read) }];
    Record::Advances { conversation: conversation(name), ts, advances }
}

fn react(name: &str, number: u64, who: &str, reaction: Option<u32>) -> Record {
    let (conversation, user) = (conversation(name), user(who));
    Record::Reaction { conversation, message_id: id(number), user, reaction, ts: START }
}

fn index(who: &str, name: &str, seq: u64, joined: bool, key: Option<&str>, at: u64) -> Record {
    let create_key = key.map(|key| KeyUse { key: key.into(), stamped: false, fingerprint: [9; 16] });
    let (user, conversation) = (user(who), conversation(name));
    Record::Index(Arc::new(IndexChange { user, conversation, seq: Seq(seq), joined, at, create_key }))
}

fn unreadable() -> Record {
    Record::decode(Bytes::from_static(b"\xff\xff\xff"))
}

// ---- a file to apply it to -----------------------------------------------------------------------------------------

pub(crate) fn config() -> Config {
    Config {
        readers_max: 2,
        checkpoint_pages: 1_000,
        checkpoint_every: Duration::from_secs(3_600),
        raw_floor: Duration::from_secs(60),
        raw_bytes_max: 8 * 1024 * 1024,
    }
}

pub(crate) fn identity() -> Identity {
    Identity { cluster: ClusterId(uuid::Uuid::from_u128(7)), shards: 16 }
}

pub(crate) async fn open(folder: &Path, name: &str) -> Store {
    Store::open(&folder.join(name), identity(), ShardId(3), config()).await.expect("opens")
}

async fn one(folder: &Path, messages: &[Record], receipts: &[Record]) -> Store {
    let store = open(folder, "s3.db").await;
    let mut streams = [Written::default(), Written::default()];
    streams[0].entry(messages);
    store.apply(Stream::Messages, streams[0].entries.clone()).await.expect("applies");
    if !receipts.is_empty() {
        streams[1].entry(receipts);
        store.apply(Stream::Receipts, streams[1].entries.clone()).await.expect("applies");
    }
    store
}

impl Store {
    /// Runs a statement on the writer's connection.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let done = self.ask(|reply| writer::Ask::Execute(sql, reply)).await.expect("open");
        done.expect("a good statement");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

// ---- opening -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_file_of_another_cluster_or_shard_is_refused_with_one_line() {
    let folder = folder();
    open(folder.path(), "s3.db").await.close().await;
    let path = folder.path().join("s3.db");
    let others = [
        (Identity { cluster: ClusterId::random(), ..identity() }, ShardId(3)),
        (Identity { shards: 256, ..identity() }, ShardId(3)),
        (identity(), ShardId(4)),
    ];
    for (identity, shard) in others {
        let refused = Store::open(&path, identity, shard, config()).await.expect_err("foreign");
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
        assert!(!refused.to_string().contains('\n'));
    }
    open(folder.path(), "s3.db").await.close().await;
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::query("CREATE TABLE songs (name TEXT)").execute(&mut other).await.expect("creates");
    let refused = Store::open(&path, identity(), ShardId(3), config()).await.expect_err("foreign");
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    let tables = sqlx::query("SELECT name FROM sqlite_master").fetch_all(&mut other).await.expect("reads");
    assert_eq!(tables.len(), 1);
}

#[tokio::test]
async fn the_file_is_opened_as_the_notes_on_sqlite_ask() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut reader = store.readers().acquire().await.expect("a reader");
    let mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *reader).await.expect("reads");
    assert_eq!(mode.get::<String, _>(0), "wal");
    let written = sqlx::query("DELETE FROM messages").execute(&mut *reader).await;
    assert!(written.is_err(), "readers cannot write");
}

// ---- applying ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn rows_offset_and_raw_bytes_survive_a_kill_together() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice", "bob"], START)]);
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    // As a killed process leaves it: the file and its WAL, nothing closed.
    for suffix in ["", "-wal"] {
        let name = |stem: &str| folder.path().join(format!("{stem}{suffix}"));
        std::fs::copy(name("s3.db"), name("killed.db")).expect("copies");
    }
    let again = open(folder.path(), "killed.db").await;
    assert_eq!(again.progress().applied[0], log.tail);
    assert_eq!(again.digest().await.expect("reads"), store.digest().await.expect("reads"));
    let kept = again.kept_entries(Stream::Messages, Offset(0), usize::MAX).await.expect("reads");
    let bytes: Vec<_> = kept.into_iter().map(|kept| kept.bytes).collect();
    assert_eq!(bytes, log.entries.iter().map(|entry| entry.bytes.clone()).collect::<Vec<_>>());
    assert_eq!(again.kept_entries(Stream::Messages, Offset(1), 1).await.expect("reads").len(), 1);
}

// what must not happen: 2 (redelivery blocks the stream for ever)
#[tokio::test]
async fn an_entry_applied_twice_changes_nothing_and_does_not_block() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START), message("c", 2, "alice", 1, START)]);
    log.entry(&[message("c", 3, "alice", 2, START)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    let digest = store.digest().await.expect("reads");
    store.apply(Stream::Messages, log.entries.clone()).await.expect("passed over");
    assert_eq!(store.digest().await.expect("reads"), digest);
    log.entry(&[message("c", 4, "alice", 3, START)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("only the new one");
    assert_eq!(store.progress().applied[0], log.tail);
    assert_eq!(store.events(&conversation("c"), Seq(0), 9).await.expect("reads").len(), 4);
}

// what must not happen: 2
#[tokio::test]
async fn a_record_that_is_in_the_log_twice_is_put_aside_and_does_not_block() {
    let folder = folder();
    let twice = message("c", 2, "alice", 1, START);
    let same_id = message("c", 3, "alice", 1, START);
    let records = [created("c", &["alice"], START), twice.clone(), twice, same_id, message("c", 4, "alice", 2, START)];
    let store = one(folder.path(), &records, &[]).await;
    let seqs: Vec<_> =
        store.events(&conversation("c"), Seq(0), 9).await.expect("reads").iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, [1, 2, 4]);
    assert_eq!(store.locate(id(1)).await.expect("reads").expect("found").seq, Seq(2));
}

#[tokio::test]
async fn entries_that_do_not_follow_the_applied_tail_are_refused() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store.apply(Stream::Messages, log.entries.split_off(1)).await.expect_err("a hole");
    assert_eq!(store.progress(), Progress::default());
}

// what must not happen: 7 (one malformed entry stops the rest)
#[tokio::test]
async fn records_that_cannot_be_applied_are_quarantined_and_later_ones_are_applied() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START), unreadable(), message("nowhere", 5, "alice", 1, START)]);
    log.entry(&[created("c", &["bob"], START), advance("c", START, "alice", 1, 1), message("c", 2, "alice", 2, START)]);
    assert_eq!(store.apply(Stream::Messages, log.entries.clone()).await.expect("applies"), 4);
    assert_eq!(store.progress().applied[0], log.tail);
    assert_eq!(store.head(&conversation("c")).await.expect("reads").expect("there").last_seq, Seq(2));
    let mut reader = store.readers().acquire().await.expect("a reader");
    let rows = sqlx::query("SELECT \"offset\", bytes, reason FROM quarantine").fetch_all(&mut *reader).await;
    let rows = rows.expect("reads");
    let offsets: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(offsets, [2, 3, 4, 5]);
    assert_eq!(rows[0].get::<Vec<u8>, _>(1), b"\xff\xff\xff");
    assert!(rows.iter().all(|row| !row.get::<String, _>(2).is_empty()));
}

// what must not happen: 1 and 6 (a batch that fails is lost, or fails for ever)
#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_and_the_same_batch_works_later() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let before = store.digest().await.expect("reads");
    let mut log = Written::default();
    let text: Arc<str> = "x".repeat(16_000).into();
    let mut records = vec![created("c", &["alice"], START)];
    for number in 2..40 {
        let kind =
            EventKind::Message { id: id(number), source: user("alice"), text: Arc::clone(&text), reply_to: None };
        records.push(event("c", number, START, kind));
    }
    log.entry(&records);
    store.execute("PRAGMA max_page_count = 1").await;
    for _ in 0..3 {
        store.apply(Stream::Messages, log.entries.clone()).await.expect_err("the disk is full");
        assert_eq!(store.progress().applied[0], Tail::EMPTY);
    }
    store.execute("PRAGMA max_page_count = 1000000").await;
    // A failure after the rows were written, at which SQLite does not roll back by itself.
    store.execute("CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT raise(ABORT, 'no'); END").await;
    for _ in 0..3 {
        store.apply(Stream::Messages, log.entries.clone()).await.expect_err("refused");
        assert_eq!(store.progress().applied[0], Tail::EMPTY);
    }
    store.execute("DROP TRIGGER refuse").await;
    assert_eq!(store.digest().await.expect("reads"), before);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    assert_eq!(store.progress().applied[0], log.tail);
    assert_eq!(store.events(&conversation("c"), Seq(0), 100).await.expect("reads").len(), 39);
}

// ---- the same log gives the same file ------------------------------------------------------------------------------

struct Author {
    dice: StdRng,
    now: u64,
    seqs: [u64; 3],
    number: u64,
    outbox: OutboxPosition,
}

impl Author {
    fn new(seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self { dice, now: START, seqs: [0; 3], number: 0, outbox: OutboxPosition::default() }
    }

    fn tick(&mut self) -> u64 {
        self.now = match self.dice.random_range(0..20) {
            0 => self.now - DAY,
            1 => self.now + 12 * DAY,
            2..5 => self.now + DAY / 2,
            _ => self.now + self.dice.random_range(0..40_000),
        };
        self.now
    }

    fn someone(&mut self) -> &'static str {
        ["alice", "bob", "carol", "dave"][self.dice.random_range(0..4)]
    }

    fn message_record(&mut self, offset: u64) -> Record {
        let at = self.tick();
        let place = self.dice.random_range(0..3);
        let name = ["c", "d", "e"][place];
        let (who, other) = (self.someone(), self.someone());
        self.seqs[place] += 1;
        let seq = self.seqs[place];
        self.number += 1;
        let record = match self.dice.random_range(0..16) {
            _ if seq == 1 => created(name, &[who, "erin"], at),
            0 => joined(name, seq, who, &[other, "frank"]),
            1 | 2 => left(name, seq, who, other, Some(who).filter(|_| at.is_multiple_of(2))),
            3 => {
                self.seqs[place] -= 1;
                index(
                    who,
                    name,
                    self.dice.random_range(1..9),
                    at.is_multiple_of(2),
                    Some("k").filter(|_| at.is_multiple_of(3)),
                    at,
                )
            }
            4 => {
                self.seqs[place] -= 1;
                let upto = Offset(self.dice.random_range(0..=offset));
                self.outbox = self.outbox.max(OutboxPosition { offset: upto, index: self.dice.random_range(0..3) });
                Record::OutboxProgress { upto: self.outbox }
            }
            5 => {
                self.seqs[place] -= 1;
                [unreadable(), message("nowhere", 3, who, 0, at), message(name, 1, who, 0, at)]
                    [self.dice.random_range(0..3)]
                .clone()
            }
            6 => {
                self.seqs[place] -= 1;
                Record::EpochStart { epoch: Epoch(self.number), node: NodeId::from("n"), ts: at }
            }
            // A number used before: the id is taken.
            7 => message(name, seq, who, self.number / 2, at),
            _ => message(name, seq, who, self.number, at),
        };
        let keyed = matches!(&record, Record::Event(_)) && self.dice.random_range(0..2) == 0;
        let key = ["k1", "k2", "k3"][self.dice.random_range(0..3)];
        if keyed { with_key(record, key, self.dice.random_range(0..4) == 0) } else { record }
    }

    fn receipt_record(&mut self) -> Record {
        let at = self.tick();
        let (name, who) = (["c", "d"][self.dice.random_range(0..2)], self.someone());
        self.number += 1;
        let near = |author: &mut Self| (author.number + author.dice.random_range(0..6)).saturating_sub(3);
        match self.dice.random_range(0..8) {
            0 => react(name, self.dice.random_range(0..5), who, Some(self.dice.random_range(1..9))),
            1 => react(name, self.dice.random_range(0..5), who, None),
            2 => unreadable(),
            3 => advance(name, at, who, near(self), 0),
            4 => advance(name, at, who, 0, near(self)),
            _ => advance(name, at, who, near(self), near(self)),
        }
    }

    fn streams(&mut self, records: usize) -> [Written; 2] {
        let mut streams = [Written::default(), Written::default()];
        let mut held: [Vec<Record>; 2] = Default::default();
        for _ in 0..records {
            let place = self.dice.random_range(0..2);
            let record = if place == 0 {
                self.message_record(streams[0].tail.offset.0 + held[0].len() as u64)
            } else {
                self.receipt_record()
            };
            held[place].push(record);
            if self.dice.random_range(0..3) == 0 {
                streams[place].entry(&std::mem::take(&mut held[place]));
            }
        }
        for (stream, held) in streams.iter_mut().zip(held) {
            if !held.is_empty() {
                stream.entry(&held);
            }
        }
        streams
    }
}

async fn digest_of(folder: &Path, name: &str, streams: &[Written; 2], batch: &mut dyn FnMut() -> usize) -> [u8; 32] {
    let mut store = open(folder, name).await;
    let mut rest = streams.clone().map(|stream| stream.entries);
    while rest.iter().any(|entries| !entries.is_empty()) {
        for (stream, entries) in Stream::BOTH.into_iter().zip(&mut rest) {
            let size = batch().min(entries.len());
            let chunk: Vec<_> = entries.drain(..size).collect();
            store.apply(stream, chunk).await.expect("applies");
        }
        if batch() == 2 {
            store.close().await;
            store = open(folder, name).await;
        }
    }
    let digest = store.digest().await.expect("reads");
    store.close().await;
    digest
}

/// The same, but the rest is applied to a copy of what a part of it made.
async fn digest_from_copy(folder: &Path, streams: &[Written; 2], dice: &mut StdRng) -> [u8; 32] {
    let first = open(folder, "first.db").await;
    let mut rest = streams.clone().map(|stream| stream.entries);
    for (stream, entries) in Stream::BOTH.into_iter().zip(&mut rest) {
        let size = dice.random_range(0..=entries.len());
        let chunk: Vec<_> = entries.drain(..size).collect();
        first.apply(stream, chunk).await.expect("applies");
    }
    first.copy_to(&folder.join("copy.db")).await.expect("copies");
    first.close().await;
    let copy = open(folder, "copy.db").await;
    for (stream, entries) in Stream::BOTH.into_iter().zip(rest) {
        copy.apply(stream, entries).await.expect("applies");
    }
    let digest = copy.replica_digest().await.expect("reads");
    assert_eq!(digest.applied, streams.each_ref().map(|stream| stream.tail));
    copy.close().await;
    digest.sha256
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batching_of_the_same_log_gives_the_same_file(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = folder();
        let streams = Author::new(seed).streams(160);
        runtime.block_on(async {
            let single = digest_of(folder.path(), "single.db", &streams, &mut || 1).await;
            let whole = digest_of(folder.path(), "whole.db", &streams, &mut || usize::MAX).await;
            prop_assert_eq!(single, whole, "all at once");
            let mut dice = StdRng::seed_from_u64(!seed);
            let cut = digest_of(folder.path(), "cut.db", &streams, &mut || dice.random_range(0..9)).await;
            prop_assert_eq!(single, cut, "in random cuts, opened again now and then");
            let copied = digest_from_copy(folder.path(), &streams, &mut dice).await;
            prop_assert_eq!(single, copied, "from a copy on");
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn the_digest_tells_files_apart() {
    let (one_folder, other_folder) = (folder(), folder());
    let common = [created("c", &["alice", "bob"], START), message("c", 2, "alice", 1, START)];
    let one = one(one_folder.path(), &common, &[advance("c", START, "bob", 2, 0)]).await;
    let other = tests::one(other_folder.path(), &common, &[advance("c", START + 1, "bob", 2, 0)]).await;
    assert_ne!(one.digest().await.expect("reads"), other.digest().await.expect("reads"));
}

// ---- reading -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_head_holds_what_the_log_told() {
    let folder = folder();
    let records = [
        with_key(created("c", &["alice", "bob", "carol"], START), "make", true),
        message("c", 2, "bob", 1, START + 5),
        left("c", 3, "alice", "alice", Some("bob")),
        joined("c", 4, "bob", &["dave", "erin"]),
        message("c", 5, "dave", 2, START + 9),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let head = store.head(&conversation("c")).await.expect("reads").expect("there");
    let members: Vec<_> =
        head.members.iter().map(|member| (member.user.as_str(), member.joined.0, member.position)).collect();
    assert_eq!(members, [("bob", 1, 1), ("carol", 1, 2), ("dave", 4, 0), ("erin", 4, 1)]);
    assert_eq!((head.admin, head.created_by), (user("bob"), user("alice")));
    assert_eq!((head.last_seq, head.last_created, head.created), (Seq(5), START + 9, START));
    assert_eq!(head.recent, [(Seq(2), user("bob")), (Seq(5), user("dave"))]);
    assert_eq!(head.create_key, Some(KeyUse { key: "make".into(), stamped: true, fingerprint: [7; 16] }));
    assert_eq!(head.created_offset, Offset(1));
    assert_eq!(store.head(&conversation("other")).await.expect("reads"), None);
    let name = conversation("c");
    assert_eq!(store.departure(&name, &user("alice")).await.expect("reads"), Some((Seq(1), Seq(3))));
    assert_eq!(store.departure(&name, &user("bob")).await.expect("reads"), None);
    let page = store.participants(&name, Some(&user("bob")), 2).await.expect("reads");
    assert_eq!(page, [user("carol"), user("dave")]);
}

#[tokio::test]
async fn events_are_dense_over_messages_and_others() {
    let folder = folder();
    let records = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "bob", 1, START),
        joined("c", 3, "alice", &["dave"]),
        message_to("c", 4, "bob", 2, START, Some(id(1))),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let all = store.events(&conversation("c"), Seq(0), 200).await.expect("reads");
    let expected: Vec<_> = records
        .iter()
        .map(|record| if let Record::Event(event) = record { Arc::clone(event) } else { panic!("an event") })
        .collect();
    assert_eq!(all, expected);
    let page = store.events(&conversation("c"), Seq(1), 2).await.expect("reads");
    assert_eq!(page, expected[1..3]);
}

#[tokio::test]
async fn history_gives_the_nearest_page_and_one_more_on_each_side_asked() {
    let folder = folder();
    let mut records = vec![created("c", &["alice", "bob"], START)];
    for seq in 2..=60_u64 {
        let who = if seq % 3 == 0 { "bob" } else { "alice" };
        records.push(message_to("c", seq, who, seq, START, (seq % 5 == 0).then(|| id(2))));
    }
    let store = one(folder.path(), &records, &[]).await;
    let (name, bob) = (conversation("c"), user("bob"));
    let arounds =
        [Around::Newest, Around::Oldest, Around::Before(Seq(30)), Around::After(Seq(30)), Around::Around(Seq(30))];
    for around in arounds {
        for (source, reply_to) in [(None, None), (Some(&bob), None), (None, Some(id(2))), (Some(&bob), Some(id(2)))] {
            for limit in [0_u32, 1, 7, 200] {
                let read = HistoryRead { conversation: &name, around, limit, source, reply_to };
                let found: Vec<u64> =
                    store.history(read).await.expect("reads").iter().map(|message| message.seq.0).collect();
                let matching = |seq: &u64| {
                    (source.is_none() || seq.is_multiple_of(3)) && (reply_to.is_none() || seq.is_multiple_of(5))
                };
                let take = limit as usize + 1;
                let below = |top: u64| (2..=top).rev().filter(matching).take(take).collect::<Vec<_>>();
                let above = |low: u64| (low..=60).filter(matching).take(take).collect::<Vec<_>>();
                let mut expected = match around {
                    Around::Newest => below(60),
                    Around::Oldest => above(2),
                    Around::Before(_) => below(29),
                    Around::After(_) => above(31),
                    Around::Around(_) => [below(30), above(31)].concat(),
                };
                expected.sort_unstable();
                assert_eq!(found, expected, "{around:?} {source:?} {reply_to:?} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn keys_of_clients_are_found_for_a_day_of_record_time_and_stamped_ones_never() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        created("c", &["alice"], START),
        with_key(message("c", 2, "alice", 1, START), "mine", false),
        with_key(message("c", 3, "alice", 2, START), "routers", true),
        index("alice", "c", 1, true, Some("make"), START),
    ]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    let (name, alice) = (conversation("c"), user("alice"));
    let key = |text: &str| IdempotencyKey::from_client(text).expect("a good key");
    let found = store.key(&name, &alice, &key("mine"), START + DAY - 1).await.expect("reads");
    assert_eq!(found, Some(KeyRow { seq: Seq(2), fingerprint: [7; 16] }));
    assert_eq!(store.key(&name, &alice, &key("mine"), START + DAY + 1).await.expect("reads"), None);
    assert_eq!(store.key(&name, &alice, &key("routers"), START).await.expect("reads"), None);
    let made = store.create_key(&alice, &key("make"), START).await.expect("reads").expect("found");
    assert_eq!((made.name, made.fingerprint), (name.clone(), [9; 16]));
    let used = (name.clone(), alice.clone(), "mine".to_owned());
    assert_eq!(store.recent_keys(START, None, 9).await.expect("reads"), std::slice::from_ref(&used));
    assert_eq!(store.recent_keys(START, Some(&used), 9).await.expect("reads"), []);
    assert_eq!(store.recent_keys(START + DAY + 1, None, 9).await.expect("reads"), []);
    // A later record, not a clock, makes the file forget them.
    log.entry(&[message("c", 4, "alice", 3, START + DAY + 120_000)]);
    store.apply(Stream::Messages, log.entries.split_off(1)).await.expect("applies");
    assert_eq!(store.key(&name, &alice, &key("mine"), START).await.expect("reads"), None);
    assert_eq!(store.create_key(&alice, &key("make"), START).await.expect("reads"), None);
}

#[tokio::test]
async fn the_outbox_names_the_creator_first_and_goes_as_it_is_delivered() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[with_key(created("c", &["alice", "bob"], START), "make", false), left("c", 2, "alice", "bob", None)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    let rows = store.outbox(OutboxPosition::default(), 9).await.expect("reads");
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.position.offset.0, row.position.index, row.change.user.as_str(), row.change.joined))
        .collect();
    assert_eq!(seen, [(1, 0, "alice", true), (1, 1, "bob", true), (2, 0, "bob", false)]);
    assert_eq!(rows[0].change.create_key.as_ref().map(|key| key.key.as_ref()), Some("make"));
    assert_eq!(rows[1].change.create_key, None);
    assert_eq!(store.outbox(rows[0].position, 1).await.expect("reads"), rows[1..2]);
    log.entry(&[Record::OutboxProgress { upto: rows[1].position }]);
    store.apply(Stream::Messages, log.entries.split_off(1)).await.expect("applies");
    assert_eq!(store.outbox(OutboxPosition::default(), 9).await.expect("reads"), rows[2..]);
}

#[tokio::test]
async fn an_older_change_never_overwrites_a_newer_one_in_an_index() {
    let folder = folder();
    let records = [
        index("alice", "c", 5, true, None, START),
        index("alice", "d", 1, true, None, START),
        index("alice", "c", 5, false, None, START),
        index("alice", "c", 4, false, None, START),
        index("alice", "e", 1, true, None, START),
        index("alice", "e", 2, false, None, START),
        index("bob", "c", 1, true, None, START),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let item = |name: &str, seq, joined, version| IndexItem {
        conversation: conversation(name),
        seq: Seq(seq),
        joined,
        version: Offset(version),
    };
    let page = store.index_page(&user("alice"), None, 9).await.expect("reads");
    assert_eq!(page, [item("d", 1, true, 2), item("c", 5, true, 1)]);
    let page = store.index_page(&user("alice"), Some(Offset(2)), 9).await.expect("reads");
    assert_eq!(page, [item("c", 5, true, 1)]);
    let since = store.index_since(&user("alice"), Offset(1), 9).await.expect("reads");
    assert_eq!(since, [item("d", 1, true, 2), item("e", 2, false, 6)]);
}

#[tokio::test]
async fn watermarks_never_go_back_and_reading_delivers() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob"], START),
        joined("c", 2, "alice", &["carol"]),
        message("c", 3, "alice", 1, START),
        message("c", 4, "alice", 2, START),
    ];
    let receipts = [
        advance("c", START + 10, "bob", 0, 3),
        advance("c", START + 20, "bob", 2, 2),
        advance("c", START + 30, "bob", 4, 0),
        advance("c", START + 40, "bob", 4, 4),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let (name, at) = (conversation("c"), store.locate(id(1)).await.expect("reads").expect("there"));
    let marks = store.watermarks(&name, None, 9).await.expect("reads");
    let marks: Vec<_> =
        marks.iter().map(|mark| (mark.user.as_str(), mark.delivered_up_to.0, mark.read_up_to.0)).collect();
    assert_eq!(marks, [("alice", 0, 1), ("bob", 4, 4), ("carol", 0, 2)]);
    let marks = store.marks(&name).await.expect("reads");
    assert_eq!(marks, [Marks { user: user("bob"), delivered: Seq(4), read: Seq(4) }]);
    let receipts = store.receipts(id(1), &at, None, 9).await.expect("reads");
    let bob = receipts.iter().find(|receipt| receipt.user_id == user("bob")).expect("bob");
    assert_eq!((bob.delivered_at, bob.read_at, bob.ts), (Some(START + 10), Some(START + 10), Some(START + 10)));
    let at = store.locate(id(2)).await.expect("reads").expect("there");
    let receipts = store.receipts(id(2), &at, None, 9).await.expect("reads");
    let bob = receipts.iter().find(|receipt| receipt.user_id == user("bob")).expect("bob");
    assert_eq!((bob.delivered_at, bob.read_at, bob.ts), (Some(START + 30), Some(START + 40), Some(START + 40)));
}

// what must not happen: 11 (reading erases a reaction) and 12 (receipts of strangers)
#[tokio::test]
async fn receipts_and_their_view_name_each_participant_who_had_joined_but_the_sender() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob", "carol"], START),
        message("c", 2, "alice", 1, START),
        joined("c", 3, "alice", &["dave"]),
        left("c", 4, "carol", "carol", None),
    ];
    let receipts = [
        react("c", 1, "bob", Some(128_077)),
        advance("c", START + 10, "bob", 2, 2),
        react("c", 1, "carol", Some(1)),
        react("c", 1, "stranger", Some(2)),
        react("c", 1, "stranger", None),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let at = store.locate(id(1)).await.expect("reads").expect("there");
    let receipts = store.receipts(id(1), &at, None, 9).await.expect("reads");
    let expected = protocol_receipt("bob", Some(128_077), START + 10);
    assert_eq!(receipts, [expected]);
    assert_eq!(store.receipts(id(1), &at, Some(&user("bob")), 9).await.expect("reads"), []);
    let rows =
        sqlx::query("SELECT message_id, user_id, delivered, read, reaction, ts FROM receipts WHERE message_id = ?")
            .bind(id(1).as_bytes().as_slice())
            .fetch_all(store.readers())
            .await
            .expect("reads");
    assert_eq!(rows.len(), 1);
    let row: (&str, bool, bool, u32, i64) =
        (rows[0].get(1), rows[0].get(2), rows[0].get(3), rows[0].get(4), rows[0].get(5));
    assert_eq!(row, ("bob", true, true, 128_077, i64::try_from(START + 10).expect("fits")));
    let reactions = store.reactions(&[id(1), id(9)]).await.expect("reads");
    assert_eq!(reactions, [(id(1), user("bob"), 128_077), (id(1), user("carol"), 1)]);
}

fn protocol_receipt(who: &str, reaction: Option<u32>, ts: u64) -> crate::protocol::Receipt {
    crate::protocol::Receipt {
        message_id: id(1),
        user_id: user(who),
        delivered: true,
        read: true,
        reaction,
        delivered_at: Some(ts),
        read_at: Some(ts),
        ts: Some(ts),
    }
}

#[tokio::test]
async fn a_time_is_exact_for_thirty_days_and_then_not_earlier_than_true() {
    let folder = folder();
    let mut messages = vec![created("c", &["alice", "bob"], START)];
    messages.extend((2..=5).map(|seq| message("c", seq, "alice", seq, START)));
    let receipts = [
        advance("c", START, "bob", 2, 0),
        advance("c", START + DAY, "bob", 3, 0),
        advance("c", START + 20 * DAY, "bob", 4, 0),
        advance("c", START + 40 * DAY, "bob", 5, 0),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let mut times = Vec::new();
    for number in 2..=5 {
        let at = store.locate(id(number)).await.expect("reads").expect("there");
        times.push(store.receipts(id(number), &at, None, 9).await.expect("reads")[0].delivered_at.expect("delivered"));
    }
    assert_eq!(times, [START + DAY, START + DAY, START + 20 * DAY, START + 40 * DAY]);
}

#[tokio::test]
async fn summaries_count_what_others_wrote_after_the_reader_read_or_joined() {
    let folder = folder();
    let mut messages = vec![created("c", &["alice", "bob"], START), created("d", &["alice"], START)];
    messages.push(message("c", 2, "alice", 2, START));
    messages.push(joined("c", 3, "alice", &["carol"]));
    messages.push(message("c", 4, "alice", 4, START));
    messages.push(message("c", 5, "carol", 5, START));
    messages.push(message("c", 6, "alice", 6, START));
    let receipts = [advance("c", START, "bob", 4, 4), react("c", 6, "bob", Some(5)), react("c", 6, "carol", Some(5))];
    let store = one(folder.path(), &messages, &receipts).await;
    let names = [conversation("nowhere"), conversation("c"), conversation("d")];
    for (reader, unread) in [("alice", 1), ("bob", 2), ("carol", 2)] {
        let items = store.summaries(&names, &user(reader)).await.expect("reads");
        assert_eq!(items.len(), 3);
        assert!(items[0].is_none());
        assert_eq!(items[2].is_some(), reader == "alice", "only participants see it");
        let item = items[1].as_ref().expect("a participant");
        assert_eq!(item.unread, Some(unread), "{reader}");
        assert_eq!((item.conversation.last_seq, item.conversation.participants_count), (Seq(6), 3));
        let last = item.last_message.as_ref().expect("there is one");
        assert_eq!((last.core.id, last.core.text.as_str()), (id(6), "text 6"));
        assert_eq!(last.reactions.get(&5), Some(&2));
        assert_eq!(last.my_reaction, (reader != "alice").then_some(5));
    }
    let empty = store.summaries(&names[2..], &user("alice")).await.expect("reads");
    let empty = empty[0].as_ref().expect("a participant");
    assert_eq!((empty.unread, &empty.last_message), (Some(0), &None));
}

#[tokio::test]
async fn unread_counts_to_a_thousand() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice", "bob"], START)]);
    for page in 0..5_u64 {
        let seqs = page * 250 + 2..page * 250 + 252;
        log.entry(&seqs.map(|seq| message("c", seq, "alice", seq, START)).collect::<Vec<_>>());
    }
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    let items = store.summaries(&[conversation("c")], &user("bob")).await.expect("reads");
    assert_eq!(items[0].as_ref().expect("a participant").unread, Some(1_000));
}

// ---- durable -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn durable_follows_a_checkpoint_that_no_reader_held_back() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    assert_eq!(store.progress().durable[0], Tail::EMPTY, "committed is not durable");
    let mut reader = store.readers().begin().await.expect("a reader");
    sqlx::query("SELECT count(*) FROM messages").fetch_one(&mut *reader).await.expect("reads");
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    let held = store.checkpoint().await.expect("works as far as it can");
    assert_eq!(held.durable[0], Tail::EMPTY, "a reader still needs the WAL");
    drop(reader);
    let done = loop {
        let progress = store.checkpoint().await.expect("checkpoints");
        if progress.durable[0].offset > Offset(0) {
            break progress;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(done.durable[0], log.tail);
}

#[tokio::test]
async fn raw_entries_go_when_they_are_durable_and_old_by_record_time() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    log.entry(&[message("c", 2, "alice", 1, START + 61_000)]);
    store.apply(Stream::Messages, log.entries.clone()).await.expect("applies");
    store.checkpoint().await.expect("checkpoints");
    let kept = store.kept_entries(Stream::Messages, Offset(0), usize::MAX).await.expect("reads");
    assert_eq!(kept.len(), 2, "nothing was durable when the checkpoint began");
    let digest = store.digest().await.expect("reads");
    store.checkpoint().await.expect("checkpoints");
    let kept = store.kept_entries(Stream::Messages, Offset(0), usize::MAX).await.expect("reads");
    assert_eq!(kept.iter().map(|kept| kept.last).collect::<Vec<_>>(), [Offset(2)]);
    assert_eq!(store.digest().await.expect("reads"), digest, "raw entries are not part of the digest");
}

#[tokio::test]
async fn a_checkpoint_comes_by_itself_after_so_many_pages_or_so_long() {
    let folder = folder();
    let by_age = Config { checkpoint_every: Duration::from_millis(20), ..config() };
    let by_pages = Config { checkpoint_pages: 8, ..config() };
    for (name, config) in [("age.db", by_age), ("pages.db", by_pages)] {
        let store = Store::open(&folder.path().join(name), identity(), ShardId(3), config).await.expect("opens");
        let mut log = Written::default();
        log.entry(&[created("c", &["alice"], START)]);
        for seq in 2..40 {
            log.entry(&[message("c", seq, "alice", seq, START)]);
        }
        for entry in &log.entries {
            store.apply(Stream::Messages, vec![entry.clone()]).await.expect("applies");
        }
        let mut progress = store.watch_progress();
        let durable = progress.wait_for(|progress| progress.durable[0].offset > Offset(0));
        let waited = tokio::time::timeout(Duration::from_secs(20), durable).await;
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "{name}");
    }
}

// ---- every query is a range scan -----------------------------------------------------------------------------------

#[tokio::test]
async fn no_statement_scans_a_table() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut reader = store.readers().acquire().await.expect("a reader");
    let mut statements: Vec<String> = Vec::new();
    let reads = messages::READS.into_iter().flatten().chain(&receipts::READS).chain(&index::READS);
    statements.extend(reads.chain(&progress::READS).map(|read| (*read).to_owned()));
    statements.extend(
        [write_messages::LAST_SEQS, write_messages::JOINED, write_receipts::WATERMARKS, writer::KEPT]
            .map(str::to_owned),
    );
    statements.extend(write_messages::DELETING.map(str::to_owned));
    statements.extend(write_messages::FINDING.iter().chain(&write_receipts::FINDING).map(|multi| multi.text(4)));
    statements.push("SELECT * FROM receipts WHERE message_id = ?".to_owned());
    for statement in statements {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(&mut *reader).await;
        for step in plan.unwrap_or_else(|error| panic!("{statement}: {error}")) {
            let detail: String = step.get("detail");
            // What is scanned on purpose: the rows given with the statement itself.
            let given = detail.contains("VIRTUAL TABLE")
                || detail.starts_with("SCAN v")
                || detail.contains("CONSTANT ROW")
                || detail.contains("VALUES CLAUSE");
            let scans = detail.starts_with("SCAN") && !given;
            assert!(
                !scans && !detail.contains("AUTOMATIC") && !detail.contains("TEMP B-TREE"),
                "{detail}: {statement}"
            );
        }
    }
}
