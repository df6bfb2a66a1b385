//! The handle of one shard's file: its writer, its readers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::ids::ShardId;
use crate::log::{Identity, Stream};
use crate::shard::file::store::{
    ApplyEntry, Config, OpenError, Progress, StoreError, open, retained, writer,
};

/// Asks waiting for the writer. More wait to be queued: the workers, of which there is one per
/// stream.
const ASKS_MAX: usize = 4;

/// How long closing waits for reads that are under way.
const READS_END: Duration = Duration::from_secs(2);

/// One shard's file. Cheap to clone; the last clone dropped closes the file as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(super) writer: mpsc::Sender<writer::Ask>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) readers: SqlitePool,
    /// For a read of the whole file.
    pub(super) apart: SqliteConnectOptions,
    /// Digests, one at a time.
    pub(super) digests: Arc<Semaphore>,
    pub(super) damaged: Arc<watch::Sender<Option<StoreError>>>,
    /// Its disk had no space at the last write.
    pub(super) full: Arc<AtomicBool>,
}

impl Store {
    /// Opens or creates the file, runs migrations, compares identity and shard. Blocking steps run
    /// on SQLite's threads.
    ///
    /// # Errors
    /// [`OpenError`]: nothing was changed.
    pub(crate) async fn open(
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
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Applied and durable positions, as they grow.
    #[must_use]
    pub(crate) fn watch_progress(&self) -> watch::Receiver<Progress> {
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
    pub(crate) async fn apply(
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
    pub(crate) async fn checkpoint(&self) -> Result<Progress, StoreError> {
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
    pub(crate) async fn close(&self) {
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

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The first damage that a read met; `None` as long as there is none.
    pub(in crate::shard) fn damaged(&self) -> watch::Receiver<Option<StoreError>> {
        self.damaged.subscribe()
    }

    /// What was read; when the file is found damaged, that concerns more than who reads.
    pub(super) fn read<T, E: Into<StoreError>>(
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

    pub(super) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> writer::Ask,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Closed;
        let (reply, answer) = oneshot::channel();
        self.writer.send(ask(reply)).await.ok().ok_or_else(closed)?;
        answer.await.ok().ok_or_else(closed)
    }
}
