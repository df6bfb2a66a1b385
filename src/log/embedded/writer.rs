//! The one writer of the file: gathers what waits into a cycle, decides it, commits it as one transaction with one
//! fsync, then answers.
//!
//! **After a failure.** A statement that failed before COMMIT for want of space or by a constraint is rolled back: surely
//! not written. Any other failure leaves the cycle in doubt: the connection is dropped, and until the file is opened
//! and proven again (see [`file::open`]) every answer is "in doubt", because a batch sent again may be there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::cycle::{Cycle, Effects, State};
use super::error_of;
use super::file::{self, Checkpoint, TRIM_STEP_ENTRIES};
use crate::ids::{Offset, ShardId};
use crate::log::{AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, LogError, Stream, Token};
use crate::sqlite::{self, Kind};
use crate::telemetry::{LOG_TRANSACTION_ENTRIES, LOG_TRANSACTION_SECONDS, LOG_TRANSACTIONS, LOG_WAL_PAGES};

/// A cycle takes no further request once it holds this many bytes of entries; the rest waits for the next one.
const CYCLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Nor once it holds this many requests.
const CYCLE_REQUESTS_MAX: usize = 1024;
/// The WAL is checkpointed after about this many written pages.
const CHECKPOINT_PAGES: usize = 1000;
/// At this size the WAL is checkpointed even if readers have to be waited for.
const WAL_PAGES_MAX: i64 = 16 * 1024;
/// Pause before requests are answered "in doubt" because the file cannot be opened: the pace of those who ask again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Answer to an append: one for each batch.
pub(super) type AppendAnswers = Vec<Result<AppendOutcome, AppendError>>;

/// A wish with the way back.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        batches: Vec<Batch>,
        answer: oneshot::Sender<AppendAnswers>,
    },
    Claim {
        claim: Claim,
        answer: oneshot::Sender<Result<ClaimOutcome, LogError>>,
    },
    Renew {
        holds: Vec<(ShardId, Token)>,
        answer: oneshot::Sender<Result<Vec<bool>, LogError>>,
    },
    /// One step; the answer is whether there is more to trim.
    Trim {
        target: Trim,
        answer: oneshot::Sender<Result<bool, LogError>>,
    },
    Swap {
        name: String,
        expected: u64,
        body: Bytes,
        answer: oneshot::Sender<Result<bool, LogError>>,
    },
    /// Run a statement on the writer's connection.
    #[cfg(test)]
    Execute {
        sql: &'static str,
        answer: oneshot::Sender<()>,
    },
}

/// What to trim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    pub(super) shard: ShardId,
    pub(super) token: Token,
    pub(super) stream: Stream,
    pub(super) upto: Offset,
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { batches, .. } => batches.iter().map(|batch| batch.bytes.len()).sum(),
            Self::Swap { body, .. } => body.len(),
            Self::Claim { .. } | Self::Renew { .. } | Self::Trim { .. } => 0,
            #[cfg(test)]
            Self::Execute { .. } => 0,
        }
    }
}

/// Why a cycle was not committed.
#[derive(Debug, Clone)]
struct Failure {
    in_doubt: bool,
    kind: Kind,
    reason: String,
}

impl Failure {
    /// Of a statement before the COMMIT. Those for which there is no space, or that break a rule, surely have no effect.
    fn of_statement(error: &sqlx::Error) -> Self {
        let kind = sqlite::kind(error);
        Self { in_doubt: !matches!(kind, Kind::Full | Kind::Refused), kind, reason: error.to_string() }
    }

    fn in_doubt(error: &sqlx::Error) -> Self {
        Self { in_doubt: true, kind: sqlite::kind(error), reason: error.to_string() }
    }

    fn of_append(&self) -> AppendError {
        let (reason, in_doubt) = (self.reason.clone(), self.in_doubt);
        match self.kind {
            Kind::Full => AppendError::Full { reason, in_doubt },
            _ if in_doubt => AppendError::Unanswered(reason),
            _ => AppendError::NotWritten(reason),
        }
    }

    /// Tells of it. For want of space every attempt fails, and those who append tell that once.
    fn tell(&self) {
        if self.kind == Kind::Full {
            debug!(reason = self.reason, in_doubt = self.in_doubt, "log transaction failed for want of space");
        } else {
            error!(reason = self.reason, in_doubt = self.in_doubt, "log transaction failed");
        }
    }

    /// The same with want of space found out, where the code alone does not say it.
    async fn on(self, path: &Path) -> Self {
        let kind = if self.kind == Kind::Disk && sqlite::is_full(path).await { Kind::Full } else { self.kind };
        Self { kind, ..self }
    }

    fn of_other(&self) -> LogError {
        error_of(self.kind, self.reason.clone())
    }
}

/// How a cycle ended: how many entries each of its trim steps deleted.
type End = Result<Vec<u64>, Failure>;

/// Answers one request, once it is known how the cycle ended.
type Settle = Box<dyn FnOnce(&End) + Send>;

/// The connection and what it is known to hold.
#[derive(Debug)]
struct Open {
    connection: SqliteConnection,
    state: State,
}

/// The task.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    requests: mpsc::Receiver<Request>,
    /// `None` after a failure in doubt, until the file is proven again.
    open: Option<Open>,
    /// The last attempt to open the file failed, and was logged.
    shut_out: bool,
    /// Pages written since the last checkpoint, about.
    pages: usize,
    /// Held for as long as the file is open; released last.
    lock: std::fs::File,
}

impl Writer {
    /// Opens the file; `lock` is held for it already.
    pub(super) async fn open(
        path: PathBuf,
        lock: std::fs::File,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self, sqlx::Error> {
        let (connection, state) = file::open(&path).await?;
        Ok(Self { path, requests, open: Some(Open { connection, state }), shut_out: false, pages: 0, lock })
    }

    /// Serves until every sender is gone or `closing` fires; then finishes what is queued and closes the file.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                first = self.requests.recv() => first,
            };
            let Some(first) = first else { break };
            #[cfg(test)]
            let Some(first) = self.execute(first).await else { continue };
            self.cycle(first).await;
        }
        self.requests.close();
        while let Some(first) = self.requests.recv().await {
            self.cycle(first).await;
        }
        if let Some(open) = self.open.take()
            && let Err(error) = open.connection.close().await
        {
            warn!(%error, "log file did not close cleanly");
        }
        drop(self.lock);
    }

    /// Runs a statement of a test; gives back any other request.
    #[cfg(test)]
    async fn execute(&mut self, request: Request) -> Option<Request> {
        let Request::Execute { sql, answer } = request else { return Some(request) };
        if let Some(Open { connection, .. }) = &mut self.open {
            sqlx::raw_sql(sql).execute(connection).await.expect("a statement of a test works");
        }
        answer.send(()).ok();
        None
    }

    async fn cycle(&mut self, first: Request) {
        let requests = self.gather(first);
        let open = match self.opened().await {
            Ok(open) => open,
            Err(failure) => return refuse(requests, failure),
        };
        let mut cycle = Cycle::new(&open.state);
        let settles: Vec<Settle> = requests.into_iter().map(|request| decide(&mut cycle, request)).collect();
        let effects = cycle.into_effects();
        let end = self.carry_out(open, effects).await;
        settles.into_iter().for_each(|settle| settle(&end));
        if self.pages >= CHECKPOINT_PAGES {
            self.pages = 0;
            self.checkpoint().await;
        }
    }

    /// `first` and what else waits.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = first.bytes();
        let mut requests = vec![first];
        while bytes < CYCLE_BYTES_MAX && requests.len() < CYCLE_REQUESTS_MAX {
            let Ok(next) = self.requests.try_recv() else { break };
            bytes += next.bytes();
            requests.push(next);
        }
        requests
    }

    /// Commits the effects; keeps the connection unless the outcome is in doubt.
    async fn carry_out(&mut self, mut open: Open, effects: Effects) -> End {
        if effects.is_empty() {
            self.open = Some(open);
            return Ok(Vec::new());
        }
        let end = match commit(&mut open.connection, &effects).await {
            Ok(trimmed) => Ok(trimmed),
            Err(failure) => Err(failure.on(&self.path).await),
        };
        match &end {
            Ok(_) => {
                self.pages += pages_of(&effects);
                open.state.controls.extend(effects.controls);
                open.state.cells.extend(effects.cells);
                self.open = Some(open);
            }
            Err(failure) => {
                failure.tell();
                if !failure.in_doubt {
                    self.open = Some(open);
                }
            }
        }
        end
    }

    /// The connection, opened and proven again if need be.
    async fn opened(&mut self) -> Result<Open, Failure> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        match file::open(&self.path).await {
            Ok((connection, state)) => {
                if std::mem::take(&mut self.shut_out) {
                    info!("log file is open again");
                }
                Ok(Open { connection, state })
            }
            Err(error) => Err(self.shut_out(Failure::in_doubt(&error)).await),
        }
    }

    /// The file cannot be opened: tells that once, and waits a little.
    async fn shut_out(&mut self, failure: Failure) -> Failure {
        let failure = failure.on(&self.path).await;
        if failure.kind != Kind::Full && !std::mem::replace(&mut self.shut_out, true) {
            error!(reason = failure.reason, "log file cannot be opened again; trying until it can");
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
        failure
    }

    async fn checkpoint(&mut self) {
        let Some(Open { connection, .. }) = &mut self.open else { return };
        match checkpoint(connection).await {
            Ok(pages) => LOG_WAL_PAGES.set(f64::from(i32::try_from(pages).unwrap_or(i32::MAX)), &[]),
            // Nothing is lost: the WAL keeps the pages, and the next checkpoint moves them.
            Err(error) => warn!(%error, "log checkpoint failed"),
        }
    }
}

/// Moves pages to the main file, waiting for readers if the WAL is too large. How many pages the WAL holds.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_, pages) = file::checkpoint(connection, Checkpoint::Passive).await?;
    if pages <= WAL_PAGES_MAX {
        return Ok(pages);
    }
    let (held_up, left) = file::checkpoint(connection, Checkpoint::Truncate).await?;
    if held_up {
        warn!(pages = left, "log checkpoint is held up by a reader");
    }
    Ok(left)
}

/// About how many pages a transaction wrote.
fn pages_of(effects: &Effects) -> usize {
    let entries: usize = effects.entries.iter().map(|entry| 2 + entry.bytes.len() / 4096).sum();
    entries + effects.controls.len().min(8) + 64 * effects.trims.len()
}

/// Answers requests of which nothing is known.
fn refuse(requests: Vec<Request>, failure: Failure) {
    let (nothing, end) = (State::default(), Err(failure));
    let mut cycle = Cycle::new(&nothing);
    requests.into_iter().for_each(|request| decide(&mut cycle, request)(&end));
}

/// Decides one request. What comes back answers it.
fn decide(cycle: &mut Cycle<'_>, request: Request) -> Settle {
    match request {
        Request::Append { batches, answer } => {
            let outcomes: Vec<AppendOutcome> = batches.iter().map(|batch| cycle.append(batch)).collect();
            Box::new(move |end| {
                let one = |outcome| end.as_ref().map(|_| outcome).map_err(Failure::of_append);
                drop(answer.send(outcomes.into_iter().map(one).collect()));
            })
        }
        Request::Claim { claim, answer } => settle(answer, cycle.claim(&claim)),
        Request::Renew { holds, answer } => {
            settle(answer, holds.into_iter().map(|(shard, token)| cycle.renew(shard, token)).collect())
        }
        Request::Swap { name, expected, body, answer } => settle(answer, cycle.swap(&name, expected, &body)),
        #[cfg(test)]
        Request::Execute { answer, .. } => Box::new(move |_| drop(answer)),
        Request::Trim { target: Trim { shard, token, stream, upto }, answer } => {
            let step = cycle.trim(shard, token, stream, upto);
            Box::new(move |end| {
                let deleted = |trimmed: &Vec<u64>| step.and_then(|step| trimmed.get(step)).copied().unwrap_or(0);
                let more = end.as_ref().map(|trimmed| deleted(trimmed) >= TRIM_STEP_ENTRIES);
                drop(answer.send(more.map_err(Failure::of_other)));
            })
        }
    }
}

fn settle<T: Send + 'static>(answer: oneshot::Sender<Result<T, LogError>>, outcome: T) -> Settle {
    Box::new(move |end| drop(answer.send(end.as_ref().map(|_| outcome).map_err(Failure::of_other))))
}

/// One transaction, one fsync.
async fn commit(connection: &mut SqliteConnection, effects: &Effects) -> End {
    let begun = Instant::now();
    let end = transaction(connection, effects).await;
    let result = match &end {
        Ok(_) => "committed",
        Err(failure) if failure.in_doubt => "in_doubt",
        Err(_) => "refused",
    };
    LOG_TRANSACTIONS.add(1, &[("result", result)]);
    LOG_TRANSACTION_ENTRIES.record(f64::from(u32::try_from(effects.entries.len()).unwrap_or(u32::MAX)), &[]);
    LOG_TRANSACTION_SECONDS.record(begun.elapsed().as_secs_f64(), &[]);
    end
}

async fn transaction(connection: &mut SqliteConnection, effects: &Effects) -> End {
    let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await;
    begun.map_err(|error| Failure::of_statement(&error))?;
    let trimmed = match file::write(connection, effects).await {
        Ok(trimmed) => trimmed,
        Err(error) => {
            // SQLite may have rolled back by itself. If neither did, the next BEGIN fails and the file is opened anew.
            if let Err(rollback) = sqlx::raw_sql("ROLLBACK").execute(connection).await {
                warn!(error = %rollback, "log transaction was not rolled back by us");
            }
            return Err(Failure::of_statement(&error));
        }
    };
    let committed = sqlx::raw_sql("COMMIT").execute(connection).await;
    committed.map_err(|error| Failure::in_doubt(&error))?;
    Ok(trimmed)
}
