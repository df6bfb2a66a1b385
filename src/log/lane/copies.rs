//! Second copies of what is appended: since when a place makes none, and the witnesses that are
//! asked instead.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::log::lane::job::{Definite, Job};
use crate::log::lane::standing::Standing;
use crate::log::lane::witness::{Registry, Unwitnessed, witnesses_of};
use crate::log::{AppendError, AppendOutcome, Batch};

/// How long a place makes no second copy before witnesses are asked.
const WITNESSED_AFTER: Duration = Duration::from_secs(1);
/// How long they are waited for before they are asked again; a standby looks at the log four times
/// a second.
const WITNESSED_WITHIN: Duration = Duration::from_millis(1500);

/// What is known of second copies at a place, and the witnesses that are being asked for those that
/// are missing.
#[derive(Debug)]
pub(super) struct Copies {
    /// Since when none is made.
    pub(super) missing: Option<Instant>,
    pub(super) asked: JoinSet<(Batch, bool)>,
    pub(super) witnesses: Registry,
    pub(super) unwitnessed: Unwitnessed,
}

impl Copies {
    /// Takes in the results of a cycle that was begun then.
    pub(super) fn note(&mut self, results: &[Result<AppendOutcome, AppendError>], begun: Instant) {
        let made = |result: &Result<_, _>| {
            matches!(
                result,
                Ok(AppendOutcome::Appended | AppendOutcome::AlreadyDone)
            )
        };
        // A batch that is in doubt beside others that were answered says nothing about copies.
        let without = |result: &Result<_, _>| {
            matches!(
                result,
                Err(AppendError::NotReplicated(_) | AppendError::Unanswered(_))
            )
        };

        if results.iter().any(made) {
            if let Some(since) = self.missing.take() {
                tracing::info!(
                    seconds = since.elapsed().as_secs_f64(),
                    "the log makes second copies again"
                );
            }
            self.unwitnessed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        } else if results.iter().any(without) {
            // Also while nothing answers: a server that was promoted has had no replica since
            // before it was.
            self.missing.get_or_insert(begun);
        }
    }

    /// Puts to their witnesses the batches that lack only a second copy.
    pub(super) fn ask(&mut self, doubtful: &mut [Job]) {
        let Some(missing) = self.missing else { return };
        for job in doubtful.iter_mut().filter(|job| job.short && !job.asked) {
            let Some(witnesses) = witnesses_of(&self.witnesses, job.batch.shard) else {
                continue;
            };
            if witnesses.at_once() {
                // Those that follow it would begin the wait anew.
                self.missing = Instant::now()
                    .checked_sub(WITNESSED_AFTER)
                    .map(|since| missing.min(since));
            } else if job
                .doubted_since
                .map_or(missing, |since| since.min(missing))
                .elapsed()
                < WITNESSED_AFTER
            {
                // Perhaps at another place before.
                continue;
            }
            job.asked = true;
            let (batch, deadline) = (job.batch.clone(), Instant::now() + WITNESSED_WITHIN);
            self.asked.spawn(async move {
                let holding = witnesses.hold(batch.stream, batch.tail, deadline.into());
                let held = tokio::time::timeout_at(deadline, holding)
                    .await
                    .unwrap_or(false);
                (batch, held)
            });
        }
    }

    /// Takes in what witnesses said; theirs may be among `jobs`.
    pub(super) fn take<'a>(
        &self,
        said: Result<(Batch, bool), JoinError>,
        stands: &watch::Sender<Standing>,
        jobs: impl Iterator<Item = &'a mut Job>,
    ) {
        let Ok((batch, held)) = said else { return };
        let Some(job) = jobs
            .into_iter()
            .find(|job| job.batch == batch && job.answer.is_some())
        else {
            return;
        };

        job.asked = false;
        let mut unwitnessed = self
            .unwitnessed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = if held {
            unwitnessed.remove(&batch.shard)
        } else {
            unwitnessed.insert(batch.shard)
        };
        drop(unwitnessed);
        if held {
            job.end("witnessed", Definite::Committed);
        }

        // For that shard.
        stands.send_if_modified(|_| changed);
    }
}
