//! The workers over a log in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::ids::{Epoch, Seq};
use crate::log::double::Double;
use crate::log::record::Record;
use crate::log::{LogError, PerStream, RawEntry};
use crate::shard::error::OpenError;
use crate::shard::file::store::retained::Mark;
use crate::shard::file::store::tests::{Written, conversation, created, message, open};
use crate::shard::file::store::{ApplyEntry, mark};

const START: u64 = 1_700_000_000_000;
const SHARD: ShardId = ShardId(3);

/// A log in memory: reads and trims; what is in it is put there by the test.
#[derive(Debug, Default)]
struct MemoryLog {
    entries: Mutex<PerStream<Vec<RawEntry>>>,
    reads: AtomicUsize,
    failing: AtomicUsize,
}

impl MemoryLog {
    fn set(&self, stream: Stream, written: &Written) {
        let raw = |entry: &ApplyEntry| RawEntry {
            last: entry.entry.tail.offset,
            bytes: entry.bytes.clone(),
        };
        self.entries.lock().expect("whole")[stream] = written.entries.iter().map(raw).collect();
    }

    fn first(&self, stream: Stream) -> Option<Offset> {
        self.entries.lock().expect("whole")[stream]
            .first()
            .map(|raw| raw.last)
    }
}

#[async_trait]
impl Double for MemoryLog {
    async fn read(
        &self,
        _: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self
            .failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            return Err(LogError::Failed("not now".to_owned()));
        }
        let mut bytes = 0;
        let entries = self.entries.lock().expect("whole");
        let page = entries[stream]
            .iter()
            .filter(|raw| raw.last > after)
            .take_while(|raw| {
                let fits = bytes < bytes_max;
                bytes += raw.bytes.len();
                fits
            });
        Ok(page.cloned().collect())
    }

    async fn trim(&self, stream: Stream, upto: Offset) -> Result<(), LogError> {
        self.entries.lock().expect("whole")[stream].retain(|raw| raw.last > upto);
        Ok(())
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    log: Arc<MemoryLog>,
    store: Store,
    written: Written,
    committed: PerStream<watch::Sender<Tail>>,
    workers: Workers,
}

impl Bench {
    async fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path(), "s3.db").await;
        let log = Arc::new(MemoryLog::default());
        let committed = PerStream::from_fn(|_stream| watch::Sender::new(Tail::EMPTY));
        let workers = Workers::spawn(Setup {
            shard: SHARD,
            log: Arc::clone(&log) as Arc<dyn ShardLog>,
            store: store.clone(),
            trimming: Some(trimming()),
            committed: committed.each_ref().map(watch::Sender::subscribe),
            config,
        });
        Self {
            _folder: folder,
            log,
            store,
            written: Written::default(),
            committed,
            workers,
        }
    }

    /// Appends an entry to the messages stream, without committing it.
    fn append(&mut self, records: &[Record]) -> Tail {
        self.written.entry(records);
        self.log.set(Stream::Messages, &self.written);
        self.written.tail
    }

    fn commit(&self, tail: Tail) {
        self.committed.messages.send_replace(tail);
    }

    async fn applied(&self, offset: Offset) {
        let mut applied = self.workers.applied(Stream::Messages);
        let reached = applied.wait_for(|tail| tail.offset >= offset);
        let _tail = tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("in time")
            .expect("runs");
    }
}

fn trimming() -> Trimming {
    let clock = Clock::manual(START);
    let standbys = Arc::new(watch::Sender::new(InSync::new(false, clock.since_boot())));
    Trimming {
        token: Token::new(Epoch(1)),
        standbys,
        clock,
        bytes_max: 128 * 1024 * 1024,
    }
}

fn config() -> Config {
    Config {
        tick: Duration::from_millis(2),
        records_max: 256,
        gather_max: Duration::from_millis(20),
        trim_floor: Duration::from_secs(60),
        trim_floor_bytes: 8 * 1024 * 1024,
    }
}

fn never_ticking() -> Config {
    Config {
        tick: Duration::from_secs(3_600),
        ..config()
    }
}

// what must not happen: 26 (a read lags behind what was acknowledged)
#[tokio::test]
async fn committed_entries_are_applied_and_those_in_doubt_are_not() {
    let mut bench = Bench::new(config()).await;
    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.append(&[message("c", 2, "alice", 1, START)]);
    bench.commit(first);
    bench.applied(first.offset).await;
    assert_eq!(bench.store.progress().applied.messages, first);
    // Had the second been applied, this would find two events.
    let events = bench
        .store
        .events(&conversation("c"), Seq(0), 9)
        .await
        .expect("reads");
    assert_eq!(events.len(), 1);
    bench.commit(bench.written.tail);
    bench.applied(Offset(2)).await;
    assert_eq!(bench.store.progress().applied.messages, bench.written.tail);
}

#[tokio::test]
async fn whoever_hurries_a_worker_does_not_wait_for_its_tick() {
    let mut bench = Bench::new(never_ticking()).await;
    let tail = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(tail);
    bench.workers.hurry(Stream::Messages);
    bench.applied(tail.offset).await;
}

// what must not happen: 24 (a backlog that grows without bound)
#[tokio::test]
async fn a_full_transaction_does_not_wait_for_the_tick_either() {
    let mut bench = Bench::new(Config {
        records_max: 8,
        ..never_ticking()
    })
    .await;
    bench.append(&[created("c", &["alice"], START)]);
    for seq in 2..=40 {
        bench.append(&[message("c", seq, "alice", seq, START)]);
    }
    bench.commit(bench.written.tail);
    bench.applied(Offset(33)).await;
}

#[tokio::test]
async fn what_comes_little_by_little_is_gathered_into_one_transaction_over_several_ticks() {
    let mut bench = Bench::new(Config {
        tick: Duration::from_millis(300),
        ..config()
    })
    .await;
    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(first);
    bench.workers.hurry(Stream::Messages);
    bench.applied(first.offset).await;
    let reads = bench.log.reads.load(Ordering::SeqCst);
    for seq in 2..=40 {
        bench.append(&[message("c", seq, "alice", seq, START)]);
        bench.commit(bench.written.tail);
        tokio::task::yield_now().await;
    }
    bench.applied(Offset(40)).await;
    assert_eq!(
        bench.log.reads.load(Ordering::SeqCst),
        reads + 1,
        "one round of the worker"
    );
}

// what must not happen: 3 and 6 (persistence never resumes; a batch that fails is lost)
#[tokio::test]
async fn what_the_log_or_the_file_refuses_is_tried_again_until_it_works() {
    let mut bench = Bench::new(config()).await;
    bench.log.failing.store(3, Ordering::SeqCst);
    bench.store.execute("PRAGMA max_page_count = 1").await;
    let mut records = vec![created("c", &["alice"], START)];
    records.extend((2..=250).map(|seq| message("c", seq, "alice", seq, START)));
    bench.append(&records);
    bench.commit(bench.written.tail);
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.log.reads.load(Ordering::SeqCst) < 6 {
        assert!(Instant::now() < deadline, "tried again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.store.progress().applied.messages, Tail::EMPTY);
    bench.store.execute("PRAGMA max_page_count = 1000000").await;
    bench.applied(Offset(250)).await;
    let head = bench
        .store
        .head(&conversation("c"))
        .await
        .expect("reads")
        .expect("there");
    assert_eq!(head.last_seq, Seq(250));
}

// what must not happen: 7 (one malformed record: never acked, the loop spins)
#[tokio::test]
async fn a_malformed_record_neither_stops_the_worker_nor_makes_it_spin() {
    let mut bench = Bench::new(config()).await;
    bench.append(&[
        created("c", &["alice"], START),
        Record::decode(bytes::Bytes::from_static(b"\xff")),
    ]);
    bench.append(&[message("c", 2, "alice", 1, START)]);
    bench.commit(bench.written.tail);
    bench.applied(Offset(3)).await;
    let reads = bench.log.reads.load(Ordering::SeqCst);
    bench.append(&[message("c", 3, "alice", 2, START)]);
    bench.commit(bench.written.tail);
    bench.applied(Offset(4)).await;
    assert!(
        bench.log.reads.load(Ordering::SeqCst) <= reads + 1,
        "one entry, one read"
    );
}

#[tokio::test]
async fn a_log_that_does_not_link_stops_its_stream_and_not_the_other() {
    let mut bench = Bench::new(config()).await;
    let mut other = Written::default();
    other.entry(&[created("d", &["bob"], START)]);
    other.entry(&[message("d", 2, "bob", 1, START)]);
    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(first);
    bench.applied(first.offset).await;
    bench.log.set(Stream::Messages, &other);
    bench.commit(other.tail);
    let mut receipts = Written::default();
    receipts.entry(&[Record::EpochStart {
        epoch: Epoch(1),
        node: "n".into(),
        ts: START,
    }]);
    bench.log.set(Stream::Receipts, &receipts);
    bench.committed.receipts.send_replace(receipts.tail);
    let mut applied = bench.workers.applied(Stream::Receipts);
    let reached = applied.wait_for(|tail| *tail == receipts.tail);
    assert!(
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .is_ok_and(|seen| seen.is_ok())
    );
    bench
        .workers
        .finish(Instant::now() + Duration::from_secs(20))
        .await;
    assert_eq!(
        bench.store.progress().applied.messages,
        first,
        "nothing of the other history is in the file"
    );
}

// what must not happen: 27 (streams are never trimmed); I8: never beyond what is durable
#[tokio::test]
async fn the_log_is_trimmed_behind_what_is_durable_when_there_is_no_floor() {
    let mut bench = Bench::new(Config {
        trim_floor: Duration::ZERO,
        ..config()
    })
    .await;
    bench.append(&[created("c", &["alice"], START)]);
    bench.append(&[message("c", 2, "alice", 1, START)]);
    let tail = bench.append(&[message("c", 3, "alice", 2, START)]);
    bench.commit(tail);
    bench.applied(tail.offset).await;
    assert_eq!(
        bench.log.first(Stream::Messages),
        Some(Offset(1)),
        "applied is not durable"
    );
    let mut trimmed = bench.workers.trimmed();
    bench.store.checkpoint().await.expect("checkpoints");
    let reached = trimmed.wait_for(|offsets| offsets.messages > Offset(0));
    let offsets = *tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .expect("in time")
        .expect("runs");
    assert_eq!(
        offsets,
        PerStream {
            messages: Offset(3),
            receipts: Offset(0)
        }
    );
    assert_eq!(bench.log.first(Stream::Messages), None);
    assert_eq!(
        *bench.workers.durable().borrow(),
        PerStream {
            messages: Offset(3),
            receipts: Offset(0)
        }
    );
}

// I8: whatever the floor and its bytes say, nothing goes that a loss of power could take from the
// file
#[tokio::test]
async fn nothing_is_trimmed_that_is_not_durable() {
    let mut bench = Bench::new(config()).await;
    let kept = PerStream::from_fn(|_stream| Arc::new(Mutex::new(Retained::default())));
    for _ in 0..4 {
        bench.append(&[Record::EpochStart {
            epoch: Epoch(1),
            node: "n".into(),
            ts: START,
        }]);
    }
    let now = tokio::time::Instant::now();
    for (entry, ago) in bench.written.entries.iter().zip([300, 200, 100, 0]) {
        let since = now
            .checked_sub(Duration::from_secs(ago))
            .expect("the machine runs for a while");
        lock(&kept.messages).push(Mark {
            since,
            ..mark(&entry.entry, &entry.bytes)
        });
    }
    let (committed, config) = (
        bench.committed.each_ref().map(watch::Sender::subscribe),
        config(),
    );
    let (log, store) = (
        Arc::clone(&bench.log) as Arc<dyn ShardLog>,
        bench.store.clone(),
    );
    let setup = Setup {
        shard: SHARD,
        log,
        store,
        trimming: Some(trimming()),
        committed,
        config,
    };
    let (durable, trimmed) = (
        watch::Sender::new(PerStream::both(Offset(0))),
        watch::Sender::new(PerStream::both(Offset(0))),
    );
    let (stood, opened_at, stop) = (
        Arc::default(),
        PerStream::both(Offset(0)),
        CancellationToken::new(),
    );
    let trim = Trim {
        setup,
        retained: kept,
        durable,
        trimmed,
        stood,
        opened_at,
        stop,
    };
    assert!(!trim.trim(&trimming(), Stream::Messages, Offset(2)).await);
    assert_eq!(bench.log.first(Stream::Messages), Some(Offset(3)));
    assert!(trim.trim(&trimming(), Stream::Messages, Offset(4)).await);
    assert_eq!(
        bench.log.first(Stream::Messages),
        Some(Offset(4)),
        "the newest is young"
    );
}

// what must not happen: 8 (no graceful shutdown of the workers)
#[tokio::test]
async fn finishing_applies_all_that_is_committed_and_makes_it_durable() {
    let mut bench = Bench::new(never_ticking()).await;
    let tail = bench.append(&[
        created("c", &["alice"], START),
        message("c", 2, "alice", 1, START),
    ]);
    bench.commit(tail);
    bench
        .workers
        .finish(Instant::now() + Duration::from_secs(20))
        .await;
    assert_eq!(bench.store.progress().applied.messages, tail);
    assert_eq!(bench.store.progress().durable.messages, tail);
}

async fn catch_up_to(log: &MemoryLog, store: &Store, tail: Tail) -> Result<(), OpenError> {
    catch_up(
        SHARD,
        log,
        store,
        PerStream {
            messages: tail,
            receipts: Tail::EMPTY,
        },
        &config(),
    )
    .await
}

#[tokio::test]
async fn catching_up_applies_the_whole_log_and_is_done_when_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, store) = (MemoryLog::default(), open(folder.path(), "s3.db").await);
    let mut written = Written::default();
    written.entry(&[created("c", &["alice"], START)]);
    for page in 0..4_u64 {
        let seqs = page * 200 + 2..page * 200 + 202;
        written.entry(
            &seqs
                .map(|seq| message("c", seq, "alice", seq, START))
                .collect::<Vec<_>>(),
        );
    }
    log.set(Stream::Messages, &written);
    catch_up_to(&log, &store, written.tail)
        .await
        .expect("catches up");
    assert_eq!(store.progress().applied.messages, written.tail);
    let reads = log.reads.load(Ordering::SeqCst);
    catch_up_to(&log, &store, written.tail)
        .await
        .expect("nothing to do");
    assert_eq!(log.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test]
async fn a_log_that_does_not_belong_to_the_file_is_refused_with_one_clear_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, store) = (MemoryLog::default(), open(folder.path(), "s3.db").await);
    let mut written = Written::default();
    written.entry(&[created("c", &["alice"], START)]);
    store
        .apply(Stream::Messages, written.entries.clone())
        .await
        .expect("applies");
    let before = store.digest().await.expect("reads");
    written.entry(&[message("c", 2, "alice", 1, START)]);
    written.entry(&[message("c", 3, "alice", 2, START)]);
    let mut trimmed = written.clone();
    trimmed.entries.drain(..2);
    let mut empty = written.clone();
    empty.entries.clear();
    let mut foreign = Written::default();
    foreign.entry(&[created("d", &["bob"], START)]);
    let short = foreign.clone();
    foreign.entry(&[message("d", 2, "bob", 1, START)]);
    let cases = [
        (&trimmed, trimmed.tail, "was trimmed"),
        (&empty, empty.tail, "has nothing after o1"),
        (&foreign, foreign.tail, "does not link"),
        (&short, short.tail, "does not link"),
        (
            &Written::default(),
            Tail::EMPTY,
            "the log was lost or replaced",
        ),
    ];
    for (log_of, tail, expected) in cases {
        log.set(Stream::Messages, log_of);
        let refused = catch_up_to(&log, &store, tail).await.expect_err(expected);
        let kind = match &refused {
            OpenError::Behind(_) => "was trimmed",
            OpenError::Diverged(_) => "does not link",
            OpenError::Refused(_) => expected,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, expected);
        let refused = refused.to_string();
        assert!(
            refused.contains(expected) && refused.contains("s3") && !refused.contains('\n'),
            "{refused}"
        );
        assert_eq!(store.digest().await.expect("reads"), before, "{expected}");
    }
}
