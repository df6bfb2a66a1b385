//! The view of a shard in its SQLite file: one writer, lazy readers. Rows, applied offsets and the
//! raw entries they came from are committed in one transaction, so the file always equals apply(log
//! up to its applied offsets).
//!
//! Kept in parts: what is read lies by subject in `messages`, `receipts`, `index` and `progress`;
//! what is written comes folded from `shard::file::apply` and goes through the one `writer` in
//! statements of many rows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::ids::{Epoch, ShardId};
use crate::log::record::Tail;
use crate::log::{Identity, PerStream, Stream};
use crate::sqlite::{self, Kind};

pub(in crate::shard) mod aside;

mod at_rest;

mod rows;

pub(crate) mod retained;

mod columns;

mod remembered;

mod script;

pub(in crate::shard) mod open;

mod writer;

mod checkpoint;

mod erasing;

mod space;

mod write_content;

mod write_messages;

mod write_receipts;

mod messages;

mod shown;

mod receipts;

mod index;

pub(in crate::shard) mod progress;

mod history;

mod seen;

#[cfg(test)]
pub(crate) mod tests;

pub use history::Past;
pub use rows::{
    ApplyEntry, HeadRow, HeldMessage, HistoryRead, KeptEntry, KeyRow, Located, Marks, Member,
    OutboxRow, ShownMessage, UsedKey,
};
pub(crate) use writer::mark;

/// Asks waiting for the writer. More wait to be queued: the workers, of which there is one per
/// stream.
const ASKS_MAX: usize = 4;
/// How long closing waits for reads that are under way.
const READS_END: Duration = Duration::from_secs(2);

/// Settings of a shard's file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Readers at the same time, each a thread; opened on demand.
    pub readers_max: u32,
    /// A reader is closed after this long without use, and so is the writer once all is
    /// checkpointed. The next use opens it again.
    pub rest_after: Duration,
    /// A checkpoint after this many pages of WAL …
    pub checkpoint_pages: u32,
    /// … or after this long, whichever is first.
    pub checkpoint_every: Duration,
    /// Raw entries are kept at least this long after they came …
    pub raw_floor: Duration,
    /// … but, above the durable offset, never more than this many bytes of them.
    pub raw_bytes_max: u64,
}

/// Why a shard's file is not opened. Each is one clear line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Of another cluster, another number of shards, or another shard.
    #[error(
        "{path}: this file belongs to {found}, not to {wanted}; start with the data folder of this \
         cluster"
    )]
    Foreign {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        found: String,
        #[expect(missing_docs, reason = "said in the text")]
        wanted: String,
    },
    /// SQLite is older than the fix of the WAL-reset corruption (3.51.3).
    #[error("SQLite {0} can corrupt a WAL; 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// SQLite says that it is damaged, when it was opened or in the check after an unclean end.
    #[error(
        "{path}: this file is damaged: {error}; restore it from a copy, or take it away where \
         another replica has one"
    )]
    Damaged {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        error: String,
    },
    /// Written by a newer version, or half made.
    #[error(
        "{path}: this file cannot be used: {error}; restore it from a copy, or start the version \
         that wrote it"
    )]
    Unusable {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        error: String,
    },
    /// SQLite refused, which may pass.
    #[error("{path}: {error}")]
    Sqlite {
        #[expect(missing_docs, reason = "said in the text")]
        path: String,
        #[expect(missing_docs, reason = "said in the text")]
        error: StoreError,
    },
}

/// A read or write of the file failed; after a failed write nothing of it is in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file will not mend: SQLite found it damaged.
    #[error("sqlite: {0}")]
    Damaged(String),
    /// Another connection is in the way, or every reader is taken. Passes by itself.
    #[error("sqlite: {0}")]
    Busy(String),
    /// The disk has no space for it.
    #[error("sqlite: {0}")]
    Full(String),
    /// The disk failed, and not for want of space as far as is known.
    #[error("sqlite: {0}")]
    Disk(String),
    /// The file was closed, or its worker has ended.
    #[error("sqlite: the file is closed")]
    Closed,
    /// Anything else; it may pass.
    #[error("sqlite: {0}")]
    Failed(String),
}

impl StoreError {
    /// Of that kind, in these words.
    fn of(kind: Kind, words: String) -> Self {
        match kind {
            Kind::Damaged => Self::Damaged(words),
            Kind::Busy => Self::Busy(words),
            Kind::Full => Self::Full(words),
            Kind::Closed => Self::Closed,
            Kind::Disk => Self::Disk(words),
            Kind::Refused | Kind::Failed => Self::Failed(words),
        }
    }

    /// Whether the file will not mend.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::of(sqlite::kind(&error), error.to_string())
    }
}

/// Where the file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Applied and committed.
    pub applied: PerStream<Tail>,
    /// Checkpointed: survives power loss.
    pub durable: PerStream<Tail>,
    /// Highest epoch of any record applied.
    pub max_epoch: Epoch,
}

/// One shard's file. Cheap to clone; the last clone dropped closes the file as it stands.
#[derive(Debug, Clone)]
pub struct Store {
    writer: mpsc::Sender<writer::Ask>,
    progress: watch::Receiver<Progress>,
    readers: SqlitePool,
    /// For a read of the whole file.
    apart: SqliteConnectOptions,
    /// Digests, one at a time.
    digests: Arc<Semaphore>,
    damaged: Arc<watch::Sender<Option<StoreError>>>,
    /// Its disk had no space at the last write.
    full: Arc<AtomicBool>,
}

impl Store {
    /// Opens or creates the file, runs migrations, compares identity and shard. Blocking steps run
    /// on SQLite's threads.
    ///
    /// # Errors
    /// [`OpenError`]: nothing was changed.
    pub async fn open(
        path: &Path,
        identity: Identity,
        shard: ShardId,
        config: Config,
    ) -> Result<Self, OpenError> {
        let connection = open::open_writer(path, identity, shard, &config).await?;
        let readers = open::open_readers(path, shard, &config);
        let full = Arc::new(AtomicBool::new(false));
        let started = writer::Writer::start(connection, shard, config, Arc::clone(&full)).await;
        let (writer, progress) = started.map_err(|error| open::refused(path, error))?;
        let (sender, asked) = mpsc::channel(ASKS_MAX);
        tokio::spawn(writer.run(asked));
        let (apart, digests) = (open::apart(path, shard), Arc::new(Semaphore::new(1)));
        Ok(Self {
            writer: sender,
            progress,
            readers,
            apart,
            digests,
            damaged: Arc::default(),
            full,
        })
    }

    /// Applied and durable positions, as last committed.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Applied and durable positions, as they grow.
    #[must_use]
    pub fn watch_progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Applies whole entries of one stream, in order, in one transaction: rows, offset, chain, raw
    /// bytes. They must follow the applied tail; those that are in the file already are passed
    /// over. Returns how many records were quarantined.
    ///
    /// Not cancel-safe to *interpret*: dropped, the transaction may or may not commit.
    ///
    /// # Errors
    /// Nothing of it is in the file, or all of it, when SQLite could not say: the same call again
    /// is right in both cases.
    pub async fn apply(
        &self,
        stream: Stream,
        entries: impl Into<Arc<[ApplyEntry]>>,
    ) -> Result<u32, StoreError> {
        let entries = entries.into();
        self.ask(|reply| writer::Ask::Apply(stream, entries, reply))
            .await?
    }

    /// Checkpoints the WAL; afterwards `durable` is what was applied before: in the file, or, where
    /// a reader holds the WAL back, in a WAL that is on the disk.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn checkpoint(&self) -> Result<Progress, StoreError> {
        self.ask(writer::Ask::Checkpoint).await?
    }

    /// What raw entries the file keeps of a stream.
    pub(crate) async fn kept(&self, stream: Stream) -> Result<retained::Retained, StoreError> {
        self.ask(|reply| writer::Ask::Kept(stream, reply)).await
    }

    /// Copies the file as it stands at one moment, rows, progress and raw entries alike, to a new
    /// one. Writing and reading go on meanwhile; only the WAL cannot be emptied.
    ///
    /// # Errors
    /// SQLite refused.
    pub(in crate::shard) async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let path = path
            .to_str()
            .ok_or_else(|| StoreError::Failed("the path of a copy is no text".to_owned()))?;
        let mut apart = self.read(self.apart.connect()).await?;
        let copied = self
            .read(sqlx::query("VACUUM INTO ?").bind(path).execute(&mut apart))
            .await;
        apart.close().await?;
        copied.map(drop)
    }

    /// Whether its disk had no space when something was last written.
    pub(in crate::shard) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Where the file is.
    pub(in crate::shard) fn path(&self) -> &Path {
        self.apart.get_filename()
    }

    /// Checkpoints and closes the file. Reads that do not end within 2 s leave the WAL where it is.
    pub async fn close(&self) {
        let _slow = tokio::time::timeout(READS_END, self.readers.close()).await;
        let _closed = self.ask(writer::Ask::Close).await;
    }

    /// Takes every reader, as a slow disk or a snapshot would.
    #[cfg(test)]
    pub(in crate::shard) async fn hold_readers(
        &self,
    ) -> Vec<sqlx::pool::PoolConnection<sqlx::Sqlite>> {
        let mut held = Vec::new();
        for _ in 0..self.readers.options().get_max_connections() {
            held.push(self.readers.acquire().await.expect("a reader"));
        }
        held
    }

    /// One of its readers, in a read that goes on until it is dropped.
    #[cfg(test)]
    pub(in crate::shard) async fn endless_read(&self) -> sqlx::pool::PoolConnection<sqlx::Sqlite> {
        let mut reader = self.readers.acquire().await.expect("a reader");
        for statement in ["BEGIN", "SELECT count(*) FROM messages"] {
            sqlx::query(statement)
                .fetch_all(&mut *reader)
                .await
                .expect("reads");
        }
        reader
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The first damage that a read met; `None` as long as there is none.
    pub(in crate::shard) fn damaged(&self) -> watch::Receiver<Option<StoreError>> {
        self.damaged.subscribe()
    }

    /// What was read; when the file is found damaged, that concerns more than who reads.
    fn read<T, E: Into<StoreError>>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // Not awaited in a future of its own: that would hold what is asked twice.
        asked.map_err(|error| {
            let error = error.into();
            if error.is_damage() {
                self.damaged.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert_with(|| error.clone());
                    is_first
                });
            }
            error
        })
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> writer::Ask,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Closed;
        let (reply, answer) = oneshot::channel();
        self.writer.send(ask(reply)).await.ok().ok_or_else(closed)?;
        answer.await.ok().ok_or_else(closed)
    }
}
