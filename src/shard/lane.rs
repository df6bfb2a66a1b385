//! The append lane of a node: one cycle to the log in flight, all shards' batches together. While it is away the next
//! batches gather, so batching grows with load by itself. An in-doubt batch is sent again, unchanged, in the next cycle,
//! until there is a definite answer; the others do not wait for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::shard::log::record::Tail;
use crate::shard::log::{AppendError, AppendOutcome, Batch, ShardLog, Token};
use crate::telemetry;

/// Batches waiting for a cycle. A stream has at most one batch here, so this is reached only with more than half as many
/// shards; then shards wait for room.
const QUEUE_MAX: usize = 4096;
/// First wait before an in-doubt batch is sent again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The definite end of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definite {
    /// In the log, at the commit level.
    Committed,
    /// Another token is current. `doubted`: an earlier attempt was in doubt, so the batch may stand in the log, written
    /// before the token changed; else it is surely not there.
    Fenced {
        /// The current token.
        current: Token,
        /// See above.
        doubted: bool,
    },
    /// The stream has another tail, under our own token.
    TailMismatch {
        /// The stream's tail.
        found: Tail,
    },
    /// Surely not in the log.
    NotWritten(String),
}

#[derive(Debug)]
struct Job {
    batch: Batch,
    answer: oneshot::Sender<Definite>,
    begun: Instant,
    doubted: bool,
}

/// The way to the lane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lane {
    queue: mpsc::Sender<Job>,
}

impl Lane {
    /// Starts the lane's loop; it ends when every handle is dropped and nothing is in doubt.
    #[must_use]
    pub fn spawn(log: Arc<dyn ShardLog>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        drop(tokio::spawn(run(log, jobs)));
        Self { queue }
    }

    /// Queues a batch; the receiver gets its definite end. A stream must have one batch here at a time.
    ///
    /// When the queue is full the batch waits for room in a task of its own. Dropping the receiver does not undo the
    /// append.
    #[must_use]
    pub fn append(&self, batch: Batch) -> oneshot::Receiver<Definite> {
        let (answer, end) = oneshot::channel();
        let job = Job { batch, answer, begun: Instant::now(), doubted: false };
        if let Err(error) = self.queue.try_send(job) {
            let queue = self.queue.clone();
            drop(tokio::spawn(async move { queue.send(error.into_inner()).await.ok() }));
        }
        end
    }
}

async fn run(log: Arc<dyn ShardLog>, mut jobs: mpsc::Receiver<Job>) {
    let mut doubtful: Vec<Job> = Vec::new();
    let (mut retry, mut due) = (RETRY_MIN, Instant::now());
    loop {
        let mut cycle: Vec<Job> = Vec::new();
        if doubtful.is_empty() {
            if jobs.recv_many(&mut cycle, QUEUE_MAX).await == 0 {
                return;
            }
        } else {
            // Fresh batches do not wait for the doubtful ones; these go again when their pause is over.
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => {}
                _ = jobs.recv_many(&mut cycle, QUEUE_MAX), if !jobs.is_closed() || !jobs.is_empty() => {}
            }
        }
        let again = doubtful.len();
        let is_retry = again > 0 && Instant::now() >= due;
        if is_retry {
            cycle.append(&mut doubtful);
            while let Ok(job) = jobs.try_recv() {
                cycle.push(job);
            }
        }
        // One batch of a stream at a time, also when the shard was lost and claimed again.
        let mut streams = HashSet::new();
        let (cycle, later): (Vec<Job>, Vec<Job>) =
            cycle.into_iter().partition(|job| streams.insert((job.batch.shard, job.batch.stream)));
        doubtful.extend(later);
        if cycle.is_empty() {
            continue;
        }
        let batches: Vec<Batch> = cycle.iter().map(|job| job.batch.clone()).collect();
        let results = log.append(&batches).await;
        doubtful.extend(cycle.into_iter().zip(results).filter_map(|(job, result)| settle(job, result)));
        if is_retry {
            retry = if doubtful.len() < again { RETRY_MIN } else { (retry * 2).min(RETRY_MAX) };
            due = Instant::now() + retry;
        } else if again == 0 {
            // The pause of what is in doubt since now.
            retry = RETRY_MIN;
            due = Instant::now() + retry;
        }
    }
}

/// Answers a job that has its definite end; gives it back when it is in doubt.
fn settle(mut job: Job, result: Result<AppendOutcome, AppendError>) -> Option<Job> {
    let (word, definite) = match result {
        Ok(AppendOutcome::Appended) => ("appended", Definite::Committed),
        Ok(AppendOutcome::AlreadyDone) => ("already_done", Definite::Committed),
        Ok(AppendOutcome::Fenced { current }) => ("fenced", Definite::Fenced { current, doubted: job.doubted }),
        Ok(AppendOutcome::TailMismatch { found }) => ("tail_mismatch", Definite::TailMismatch { found }),
        // After an attempt in doubt, "not written" speaks of the last attempt alone.
        Err(AppendError::NotWritten(reason)) if !job.doubted => ("not_written", Definite::NotWritten(reason)),
        Err(error) => {
            let (shard, stream) = (job.batch.shard, job.batch.stream.as_str());
            if !job.doubted {
                tracing::warn!(%shard, stream, %error, "append has no definite answer; sending the batch again");
            }
            telemetry::APPEND_OUTCOMES.add(1, &[("outcome", "in_doubt")]);
            job.doubted = true;
            return Some(job);
        }
    };
    telemetry::APPEND_OUTCOMES.add(1, &[("outcome", word)]);
    telemetry::APPEND_SECONDS.record(job.begun.elapsed().as_secs_f64(), &[]);
    // The shard may be gone; then no one needs the answer.
    job.answer.send(definite).ok();
    None
}
