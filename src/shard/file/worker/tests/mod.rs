//! The workers over a log in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::ids::{Epoch, Offset, ShardId};
use crate::log::double::Double;
use crate::log::record::{Record, Tail};
use crate::log::{LogError, PerStream, RawEntry, ShardLog, Stream, Token};
use crate::shard::file::store::tests::{Written, open};
use crate::shard::file::store::{ApplyEntry, Store};
use crate::shard::file::worker::{Config, Setup, Trimming, Workers};
use crate::shard::insync::InSync;

mod rounds;

mod trimming;

mod catching_up;

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
