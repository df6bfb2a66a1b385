//! The log as its users hold it: asks the writer, and reads what is on disk.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::cycle::{self, Cell};
#[cfg(test)]
use super::faults::Faults;
use super::index::Located;
use super::load;
use super::moving::SWEEP_EVERY;
use super::request::{Request, Trim};
use super::segments::Segments;
use super::view::{Held, View};
use super::writer::Writer;
use crate::files::{beside, folder_of, sync_folder};
use crate::ids::{Offset, ShardId};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, Observed, RawEntry,
    ShardLog, Stream, Token,
};

/// Requests that may wait for the writer.
pub const QUEUE_REQUESTS_MAX: usize = 256;

/// The log of one process; see the head of this file.
#[derive(Debug)]
pub struct EmbeddedLog {
    requests: mpsc::Sender<Request>,
    view: Arc<View>,
    closed: AtomicBool,
    /// The writer has ended, and the lock is free.
    ended: CancellationToken,
    /// The lineage of this opening of the log.
    lineage: u64,
    /// Ends the thread that has the log swept.
    _open: std::sync::mpsc::Sender<()>,
    #[cfg(test)]
    faults: Arc<Faults>,
}

impl EmbeddedLog {
    /// Opens the log in the folder at `path`, creating it if it is missing; the folder around it
    /// must be there.
    ///
    /// # Errors
    /// One line for the operator: the log is open in another process, cannot be written, is
    /// damaged, or is not one of ours.
    pub async fn open(path: &Path) -> Result<Arc<Self>, String> {
        let folder = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open_blocking(&folder)).await;
        let opened =
            opened.map_err(|error| format!("cannot open the log {}: {error}", path.display()))?;
        let (lock, segments, view) = opened?;

        #[cfg(test)]
        let faults = segments.faults();
        let (sender, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let (view, ended) = (Arc::new(view), CancellationToken::new());
        let writer = Writer::new(
            path.to_owned(),
            lock,
            requests,
            (segments, Arc::clone(&view)),
        );
        let at_end = ended.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                writer.run();
                at_end.cancel();
            });
        thread.map_err(|error| {
            format!("cannot open the log {}: no thread: {error}", path.display())
        })?;
        let open = sweep_now_and_then(sender.downgrade()).map_err(|error| {
            format!("cannot open the log {}: no thread: {error}", path.display())
        })?;
        Ok(Arc::new(Self {
            requests: sender,
            view,
            closed: AtomicBool::new(false),
            ended,
            lineage: rand::random(),
            _open: open,
            #[cfg(test)]
            faults,
        }))
    }

    /// Finishes what is queued, closes the files and releases the lock. Later calls fail, appends
    /// "in doubt".
    pub async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Where it cannot be sent, the writer has ended or is about to.
        drop(self.requests.send(Request::Close).await);
        self.ended.cancelled().await;
    }

    /// A value of the table store, or `None` before its first swap.
    pub(crate) fn cell(&self, name: &str) -> Result<Option<Cell>, LogError> {
        Ok(self.view()?.look().state.cells.get(name).cloned())
    }

    /// Replaces a value of version `expected` (0: there is none) by the next one, on disk when this
    /// returns. False, and no effect, when another version is current.
    pub(crate) async fn swap_cell(
        &self,
        name: &str,
        expected: u64,
        body: Bytes,
    ) -> Result<bool, LogError> {
        let name = name.to_owned();
        self.ask(|answer| Request::Swap {
            name,
            expected,
            body,
            answer,
        })
        .await?
    }

    /// What tests let fail.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Has the writer look now what has to leave the disk.
    #[cfg(test)]
    pub(super) async fn sweep(&self) {
        self.requests
            .send(Request::Sweep)
            .await
            .expect("an open log");
    }

    /// How many requests wait for the writer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        QUEUE_REQUESTS_MAX - self.requests.capacity()
    }

    fn view(&self) -> Result<&View, LogError> {
        if self.closed.load(Ordering::SeqCst) {
            Err(LogError::Closed)
        } else {
            Ok(&self.view)
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, LogError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await.is_ok();
        let answered = if sent { answered.await.ok() } else { None };
        answered.ok_or(LogError::Closed)
    }
}

/// Has the writer look now and then what has to leave the disk, until what is returned is dropped.
/// A thread, and no timer of the runtime: a test that turns the clock of its runtime means none of
/// this.
fn sweep_now_and_then(
    writer: mpsc::WeakSender<Request>,
) -> std::io::Result<std::sync::mpsc::Sender<()>> {
    let (open, closed) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("log-sweep".to_owned())
        .spawn(move || {
            while closed.recv_timeout(SWEEP_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(writer) = writer.upgrade() else {
                    return;
                };
                // A queue that is full is looked through by the cycles that empty it.
                drop(writer.try_send(Request::Sweep));
            }
        })?;
    Ok(open)
}

/// Takes the lock, reads the segments and begins the next one.
fn open_blocking(folder: &Path) -> Result<(File, Segments, View), String> {
    let failed = |reason: &dyn std::fmt::Display| {
        format!("cannot open the log {}: {reason}", folder.display())
    };
    let lock = lock(folder)?;
    if !folder.exists() {
        DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(&error))?;
        sync_folder(folder_of(folder)).map_err(|error| failed(&error))?;
    }

    let loaded = load::load(folder).map_err(|reason| failed(&reason))?;
    let held = Held {
        state: loaded.state,
        index: loaded.index,
    };
    let segments = Segments::begin(folder, loaded.end, &held.state, held.index.oldest());
    let segments = segments.map_err(|failure| failed(&failure.reason))?;
    Ok((lock, segments, View::new(held)))
}

/// Takes the lock of the log, for as long as what is returned lives.
fn lock(path: &Path) -> Result<File, String> {
    let name = beside(path, ".lock");
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot lock the log {}: {error}", path.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(&"another process has it open")),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

#[async_trait]
impl ShardLog for EmbeddedLog {
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        Ok(self.view()?.look().state.controls.get(&shard).cloned())
    }

    async fn observe(&self, shards: &[ShardId]) -> Vec<Result<Observed, LogError>> {
        let mut seen = Vec::with_capacity(shards.len());
        for &shard in shards {
            let control = self.control(shard).await;
            seen.push(control.map(|control| Observed {
                control,
                lineage: self.lineage,
            }));
        }
        seen
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        self.ask(|answer| Request::Claim { claim, answer }).await?
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let answers = self
            .ask(|answer| Request::Append {
                batches: cycle.to_vec(),
                answer,
            })
            .await;
        // A closed log took no batch now, but one that is sent again may be there from before.
        answers.unwrap_or_else(|closed| {
            vec![Err(AppendError::Unanswered(closed.to_string())); cycle.len()]
        })
    }

    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        let answers = self
            .ask(|answer| Request::Renew {
                holds: holds.to_vec(),
                answer,
            })
            .await;
        match answers.flatten() {
            Ok(current) => current.into_iter().map(Ok).collect(),
            // One log has them all.
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
        let stream = cycle::stream_key(shard, stream);
        let found = self.view()?.look().index.after(stream, after, bytes_max);
        let recent: Option<Vec<RawEntry>> = found.iter().map(Located::recent).collect();
        if let Some(entries) = recent {
            return Ok(entries);
        }

        // On a thread of its own: a disk that hangs holds up nothing else.
        let read = tokio::task::spawn_blocking(move || found.iter().map(Located::read).collect());
        let entries: std::io::Result<Vec<RawEntry>> = read
            .await
            .map_err(|error| LogError::Failed(error.to_string()))?;
        entries.map_err(|error| LogError::Failed(format!("an entry cannot be read: {error}")))
    }

    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        let target = Trim {
            shard,
            token,
            stream,
            upto,
        };
        self.ask(|answer| Request::Trim { target, answer }).await?
    }
}
