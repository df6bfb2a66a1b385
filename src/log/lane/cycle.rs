//! The loop of one place: what waits is gathered into a cycle, the cycle goes to the log, and what
//! comes back in doubt is sent again. What holds between the steps is in [`Cycles`].

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::{Backoff, Pauses};
use crate::log::lane::copies::Copies;
use crate::log::lane::here::Here;
use crate::log::lane::job::{Definite, Job};
use crate::log::lane::standing::{Doubts, Standing};
use crate::log::{AppendError, AppendOutcome, Batch};
use crate::telemetry;

/// Batches waiting for a cycle of one place. A stream has at most one batch here, so this is
/// reached only with more than half as many shards; then shards wait for room.
pub(super) const QUEUE_MAX: usize = 4096;

/// First wait before an in-doubt batch is sent again; doubles up to [`RETRY_MAX`].
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), RETRY_MAX);
const RETRY_MAX: Duration = Duration::from_millis(100);

/// The cycles of one place, and what they share. Dropped in this order: whoever watches how the
/// place stands learns that it has ended once none of its batches is left.
struct Cycles {
    /// What has no definite answer, or waits for a proof: to be sent again, unchanged.
    doubtful: Vec<Job>,
    copies: Copies,
    doubts: Doubts,
    stands: watch::Sender<Standing>,
    jobs: mpsc::Receiver<Job>,
    here: Here,
    retries: Pauses,
    /// When what is in doubt is sent again.
    due: Instant,
    /// Nothing was answered when something was sent last.
    silent: bool,
}

/// Sends what comes to one place, cycle by cycle, until every handle is dropped and nothing is in
/// doubt.
pub(super) async fn run(
    here: Here,
    jobs: mpsc::Receiver<Job>,
    (stands, doubts): (watch::Sender<Standing>, Doubts),
    copies: Copies,
) {
    let mut cycles = Cycles {
        doubtful: Vec::new(),
        copies,
        doubts,
        stands,
        jobs,
        here,
        retries: BACKOFF.pauses(),
        due: Instant::now(),
        silent: false,
    };
    while let Some(gathered) = cycles.gather().await {
        cycles.go(gathered).await;
    }
}

impl Cycles {
    /// Waits until there is something to be done, and gives what has come fresh. `None`: every
    /// handle is dropped, and nothing is in doubt.
    async fn gather(&mut self) -> Option<Vec<Job>> {
        let mut cycle: Vec<Job> = Vec::new();
        if self.doubtful.is_empty() {
            self.copies.asked = JoinSet::new();
            if self.jobs.recv_many(&mut cycle, QUEUE_MAX).await == 0 {
                return None;
            }
            return Some(cycle);
        }

        // Fresh batches do not wait for the doubtful ones; these go again when their pause is over.
        tokio::select! {
            biased;
            Some(said) = self.copies.asked.join_next() => self.copies.take(said, &self.stands, self.doubtful.iter_mut()),
            () = tokio::time::sleep_until(self.due) => {}
            _ = self.jobs.recv_many(&mut cycle, QUEUE_MAX), if !self.jobs.is_closed() || !self.jobs.is_empty() => {}
        }
        Some(cycle)
    }

    /// One cycle with what has come fresh, and with what is in doubt when its pause is over.
    async fn go(&mut self, mut cycle: Vec<Job>) {
        let before = self.leave_ended();
        let again = self.doubtful.len();
        let is_retry = again > 0 && Instant::now() >= self.due;
        if is_retry {
            self.add_all(&mut cycle);
        }

        let (cycle, waits) = self.here.choose(cycle, self.silent);
        self.doubtful.extend(waits);
        if cycle.is_empty() {
            self.send_nothing(before, is_retry);
            return;
        }

        self.send(cycle).await;
        self.set_pause(again, is_retry);
    }

    /// Forgets what witnesses ended, and gives how the place stands then: when that was all,
    /// nothing is tried again now that would clear the place.
    fn leave_ended(&mut self) -> Standing {
        self.doubtful.retain(|job| job.answer.is_some());
        let before = if self.doubtful.is_empty() {
            Standing::Clear
        } else {
            *self.stands.borrow()
        };
        self.tell(before);
        before
    }

    /// Puts into this cycle what is in doubt, and all that waits in the queue at present.
    fn add_all(&mut self, cycle: &mut Vec<Job>) {
        cycle.append(&mut self.doubtful);
        while let Ok(job) = self.jobs.try_recv() {
            cycle.push(job);
        }
    }

    /// All that was in doubt here has gone elsewhere, or is held. Then nothing is tried that would
    /// clear the place: whoever is proven by now has to find out.
    fn send_nothing(&mut self, before: Standing, is_retry: bool) {
        let now = if is_retry || self.doubtful.is_empty() {
            Standing::Clear
        } else {
            before
        };
        self.tell(now);
        if is_retry {
            self.due = Instant::now() + RETRY_MAX;
        }
    }

    /// Sends a cycle to the log, answers what has its definite end, keeps what is in doubt, and
    /// tells how the place stands then.
    async fn send(&mut self, mut cycle: Vec<Job>) {
        let batches: Vec<Batch> = cycle.iter().map(|job| job.batch.clone()).collect();
        let begun = Instant::now();
        let mut appending = self.here.log.append(&batches);
        let results = loop {
            tokio::select! {
                results = &mut appending => break results,
                Some(said) = self.copies.asked.join_next() => self.copies.take(said, &self.stands, cycle.iter_mut().chain(&mut self.doubtful)),
            }
        };
        drop(appending);

        let after = self.stands.borrow().after(&results);
        self.silent = matches!(after, Standing::InDoubt { .. });
        let is_told = self.copies.missing.is_some();
        self.copies.note(&results, begun);
        self.here.fullness.note(&batches, &results);
        self.doubtful.extend(
            cycle
                .into_iter()
                .zip(results)
                .filter_map(|(job, result)| settle(job, result, is_told)),
        );
        self.here.fullness.doubted(&self.doubtful);
        self.copies.ask(&mut self.doubtful);

        let standing = if self.doubtful.is_empty() {
            Standing::Clear
        } else {
            after
        };
        self.tell(standing);
    }

    /// Sets the pause of what is in doubt since now, or that has become less than the `again` jobs
    /// that were in doubt before.
    fn set_pause(&mut self, again: usize, is_retry: bool) {
        if again == 0 || is_retry && self.doubtful.len() < again {
            self.retries.reset();
        }
        if again == 0 || is_retry {
            self.due = Instant::now() + self.here.fullness.pause(self.retries.next());
        }
    }

    /// Tells how the place stands now; and whoever watches it, when a shard of it stands otherwise.
    fn tell(&self, standing: Standing) {
        let otherwise = self.doubts.note(&self.doubtful);
        self.stands.send_if_modified(|before| {
            std::mem::replace(before, standing) != standing || otherwise
        });
    }
}

/// Answers a job that has its definite end; gives it back when it is in doubt. `is_told`: that its
/// place makes no second copy is in the log already, and each batch would say it again.
fn settle(mut job: Job, result: Result<AppendOutcome, AppendError>, is_told: bool) -> Option<Job> {
    // Else witnesses were faster.
    job.answer.as_ref()?;

    let (word, definite) = match result {
        Ok(AppendOutcome::Appended) => ("appended", Definite::Committed),
        Ok(AppendOutcome::AlreadyDone) => ("already_done", Definite::Committed),
        Ok(AppendOutcome::Fenced { current }) => (
            "fenced",
            Definite::Fenced {
                current,
                doubted: job.doubted_since.is_some(),
            },
        ),
        Ok(AppendOutcome::TailMismatch { found }) => {
            ("tail_mismatch", Definite::TailMismatch { found })
        }
        // After an attempt in doubt, "not written" speaks of the last attempt alone.
        Err(
            AppendError::NotWritten(reason)
            | AppendError::Full {
                reason,
                in_doubt: false,
            },
        ) if job.doubted_since.is_none() => ("not_written", Definite::NotWritten(reason)),
        Err(error) => {
            let (shard, stream) = (job.batch.shard, job.batch.stream.as_str());
            job.full = matches!(error, AppendError::Full { .. });
            let is_known = job.full || is_told && matches!(error, AppendError::NotReplicated(_));
            if !(job.doubted_since.is_some() || is_known) {
                tracing::warn!(%shard, stream, %error, "append has no definite answer; sending the batch again");
            }
            telemetry::APPEND_OUTCOMES.add(1, &[("outcome", "in_doubt")]);
            job.doubted_since.get_or_insert_with(Instant::now);
            job.short = matches!(error, AppendError::NotReplicated(_));
            return Some(job);
        }
    };

    job.end(word, definite);
    None
}
