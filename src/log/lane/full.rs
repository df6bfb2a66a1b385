//! A log without space: since when, and when it is tried again. Every write that is sent there
//! meanwhile would fail alike, each after its own wait; so writes are refused at once, and one of
//! them is let through now and then to look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::log::lane::job::Job;
use crate::log::{AppendError, AppendOutcome, Batch};

/// How often a log without space is tried.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long nothing may have failed for want of space before the log counts as having some again: a
/// small batch may find a place where a large one has just found none.
const QUIET_FOR: Duration = Duration::from_millis(500);

/// What is known of the space at one place of the log. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fullness(Arc<Mutex<Option<Full>>>);

/// A place without space.
#[derive(Debug)]
struct Full {
    since: Instant,
    /// When a batch last failed for want of space.
    failed: Instant,
    /// When a write was last let through to look.
    looked: Instant,
    /// A batch is in doubt for want of space. It is sent again and again, which is look enough:
    /// another one would only be in doubt as well.
    doubted: bool,
}

impl Fullness {
    /// Takes in the results of a cycle. To be told before its ends are: whoever hears one must find
    /// it here.
    pub(super) fn note(&self, cycle: &[Batch], results: &[Result<AppendOutcome, AppendError>]) {
        let mut full = self.lock();
        let now = Instant::now();
        let results = || cycle.iter().zip(results);
        let failed = results().find_map(|(batch, result)| match result {
            Err(error @ AppendError::Full { .. }) => Some((batch, error)),
            _ => None,
        });
        if let Some((batch, error)) = failed {
            if full.is_none() {
                let (shard, stream) = (batch.shard, batch.stream.as_str());
                tracing::warn!(%shard, stream, %error, "the log has no space left; writes are refused until it has some");
            }
            let known = full.get_or_insert(Full {
                since: now,
                failed: now,
                looked: now,
                doubted: false,
            });
            known.failed = now;
            return;
        }

        let written = results().find(|(_, result)| is_written(result));
        let Some((batch, _)) = written else { return };
        if let Some(known) = full.take_if(|known| known.failed + QUIET_FOR <= now) {
            let (shard, stream, seconds) = (
                batch.shard,
                batch.stream.as_str(),
                known.since.elapsed().as_secs_f64(),
            );
            tracing::info!(%shard, stream, seconds, "the log has space again; writes are taken");
        }
    }

    /// Takes in what is to be sent again.
    pub(super) fn doubted(&self, doubtful: &[Job]) {
        if let Some(full) = self.lock().as_mut() {
            full.doubted = doubtful.iter().any(|job| job.full);
        }
    }

    /// How long to wait before batches in doubt are sent again, of which the usual pause is this.
    pub(super) fn pause(&self, usual: Duration) -> Duration {
        if self.lock().as_ref().is_some_and(|full| full.doubted) {
            LOOK_EVERY
        } else {
            usual
        }
    }

    /// Whether there was no space when it was last tried.
    pub(super) fn is_full(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether a write must not be sent there now. False also for the one that is to look, once in
    /// a while.
    pub(super) fn refuses(&self) -> bool {
        let mut full = self.lock();
        let Some(known) = full.as_mut() else {
            return false;
        };
        let now = Instant::now();
        if known.doubted || now < known.looked + LOOK_EVERY {
            return true;
        }
        known.looked = now;
        false
    }

    fn lock(&self) -> MutexGuard<'_, Option<Full>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_written(result: &Result<AppendOutcome, AppendError>) -> bool {
    matches!(
        result,
        Ok(AppendOutcome::Appended | AppendOutcome::AlreadyDone)
    )
}
