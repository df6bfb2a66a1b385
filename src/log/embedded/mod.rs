//! The log of one process: one `SQLite` file in WAL mode with `synchronous=FULL`, for every shard.
//!
//! **Commit level.** An answer follows the fsync of the transaction that holds it. What waits while one transaction is
//! away becomes the next one, whoever asked: one fsync for all. One task writes (`writer`); readers have read-only
//! connections of their own and see only what is on disk.
//!
//! **One process.** An exclusive lock on a file beside it (`<file>.lock`) is held as long as the log is open.
//!
//! **Full.** Out of space before the commit is "not written"; at the commit it is "in doubt", and stays so until there is
//! space again; either way the answer says that space is what is missing. Requests queue up to [`QUEUE_REQUESTS_MAX`]; then their senders wait.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::writer::{Request, Trim, Writer};
use crate::ids::{Offset, ShardId};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, Observed, RawEntry, ShardLog, Stream,
    Token,
};
use crate::sqlite::{self, Kind};

mod cycle;
mod file;
mod writer;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

pub(crate) use self::cycle::Cell;

/// Requests that may wait for the writer.
pub const QUEUE_REQUESTS_MAX: usize = 256;
/// Connections, each with a thread, that read; further readers wait for one, up to [`READER_WAIT`].
const READERS_MAX: u32 = 4;
const READER_WAIT: Duration = Duration::from_secs(5);
const READER_IDLE: Duration = Duration::from_secs(60);

/// The log of one process; see the head of this file.
#[derive(Debug)]
pub struct EmbeddedLog {
    requests: mpsc::Sender<Request>,
    readers: SqlitePool,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Of this opening of the file.
    lineage: u64,
}

impl EmbeddedLog {
    /// Opens the file at `path`, creating it if it is missing; its folder must be there.
    ///
    /// # Errors
    /// One line for the operator: the file is open in another process, cannot be written, or is not one of ours.
    pub async fn open(path: &Path) -> Result<Arc<Self>, String> {
        let lock = lock(path)?;
        let (sender, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let writer = Writer::open(path.to_owned(), lock, requests).await;
        let writer = writer.map_err(|error| format!("cannot open the log {}: {error}", path.display()))?;
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(READERS_MAX)
            .acquire_timeout(READER_WAIT)
            .idle_timeout(READER_IDLE)
            .connect_lazy_with(file::reading(path));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(writer.run(closing.clone()));
        tasks.close();
        Ok(Arc::new(Self { requests: sender, readers, closing, tasks, lineage: rand::random() }))
    }

    /// Finishes what is queued, closes the file and releases its lock. Later calls fail, appends "in doubt".
    pub async fn close(&self) {
        self.readers.close().await;
        self.closing.cancel();
        self.tasks.wait().await;
    }

    /// A value of the table store, or `None` before its first swap.
    pub(crate) async fn cell(&self, name: &str) -> Result<Option<Cell>, LogError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT version, body FROM cell WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| read_error(&error))?;
        Ok(row.map(|(version, body)| Cell { version: version.cast_unsigned(), body: Bytes::from(body) }))
    }

    /// Replaces a value of version `expected` (0: there is none) by the next one, on disk when this returns. False, and
    /// no effect, when another version is current.
    pub(crate) async fn swap_cell(&self, name: &str, expected: u64, body: Bytes) -> Result<bool, LogError> {
        let name = name.to_owned();
        self.ask(|answer| Request::Swap { name, expected, body, answer }).await?
    }

    /// Runs a statement on the writer's connection; to be called while nothing else is asked.
    #[cfg(test)]
    pub(crate) async fn execute(&self, sql: &'static str) {
        self.ask(|answer| Request::Execute { sql, answer }).await.expect("an open log");
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, LogError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await.is_ok();
        let answered = if sent { answered.await.ok() } else { None };
        answered.ok_or(LogError::Closed)
    }
}

/// Takes the lock of the file, for as long as what is returned lives.
fn lock(path: &Path) -> Result<File, String> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error: &dyn std::fmt::Display| format!("cannot lock the log {}: {error}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(&"another process has it open")),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

fn read_error(error: &sqlx::Error) -> LogError {
    error_of(sqlite::kind(error), error.to_string())
}

/// What a failure of that kind means to those who ask.
fn error_of(kind: Kind, words: String) -> LogError {
    match kind {
        Kind::Full => LogError::Full(words),
        Kind::Busy => LogError::Unanswered(words),
        Kind::Closed => LogError::Closed,
        Kind::Damaged | Kind::Refused | Kind::Disk | Kind::Failed => LogError::Failed(words),
    }
}

#[async_trait]
impl ShardLog for EmbeddedLog {
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        let mut select = file::select_control(shard);
        let row = select.build_query_as().fetch_optional(&self.readers).await.map_err(|error| read_error(&error))?;
        let control = row.map(file::control_of).transpose().map_err(|error| read_error(&error))?;
        Ok(control.map(|(_, control)| control))
    }

    async fn observe(&self, shards: &[ShardId]) -> Vec<Result<Observed, LogError>> {
        let mut seen = Vec::with_capacity(shards.len());
        for &shard in shards {
            let control = self.control(shard).await;
            seen.push(control.map(|control| Observed { control, lineage: self.lineage }));
        }
        seen
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        self.ask(|answer| Request::Claim { claim, answer }).await?
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let answers = self.ask(|answer| Request::Append { batches: cycle.to_vec(), answer }).await;
        // A closed log took no batch now, but one that is sent again may be there from before.
        answers.unwrap_or_else(|closed| vec![Err(AppendError::Unanswered(closed.to_string())); cycle.len()])
    }

    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        let answers = self.ask(|answer| Request::Renew { holds: holds.to_vec(), answer }).await;
        match answers.flatten() {
            Ok(current) => current.into_iter().map(Ok).collect(),
            // One file has them all.
            Err(error) => vec![Err(error); holds.len()],
        }
    }

    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        let select = "SELECT last_offset, bytes FROM log WHERE stream = ? AND last_offset > ? ORDER BY last_offset";
        let mut rows = sqlx::query_as::<_, (i64, Vec<u8>)>(select)
            .bind(cycle::stream_key(shard, stream))
            .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
            .fetch(&self.readers);
        let (mut entries, mut size) = (Vec::new(), 0);
        while let Some((last, bytes)) = rows.try_next().await.map_err(|error| read_error(&error))? {
            size += bytes.len();
            entries.push(RawEntry { last: Offset(last.cast_unsigned()), bytes: Bytes::from(bytes) });
            if size >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    async fn trim(&self, shard: ShardId, token: Token, stream: Stream, upto: Offset) -> Result<(), LogError> {
        let target = Trim { shard, token, stream, upto };
        while self.ask(|answer| Request::Trim { target, answer }).await?? {}
        Ok(())
    }
}
