//! What a fault did, as the table at the end has it.

use std::time::{Duration, Instant};

use crate::chaos::checker::Counts;
use crate::chaos::wire::say;

/// What a fault did.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) fault: &'static str,
    /// Operations that ended meanwhile.
    pub(crate) operations: u64,
    /// Of those, without a sure outcome at the end of all attempts, or sure only after a retry.
    pub(crate) unknown: u64,
    /// The longest time without an acknowledged message in a conversation with senders.
    pub(crate) longest: Duration,
    /// The longest time that a session waited for a change which others had.
    pub(crate) deaf: Duration,
    /// How long it took, once all processes ran, until every shard had all its replicas in sync.
    pub(crate) in_sync: Duration,
    /// What is wrong.
    pub(crate) violations: u64,
    /// It could not be done, and why.
    pub(crate) skipped: Option<String>,
}

impl Row {
    /// One of a fault that this machine cannot do.
    pub(crate) fn skipped(fault: &'static str, why: String) -> Self {
        Self::of(fault, Counts::default(), Counts::default(), Some(why))
    }

    /// What was counted from `before` to `now`.
    pub(crate) fn of(
        fault: &'static str,
        before: Counts,
        now: Counts,
        skipped: Option<String>,
    ) -> Self {
        Self {
            fault,
            operations: now.operations - before.operations,
            unknown: now.unknown + now.retried - before.unknown - before.retried,
            longest: Duration::ZERO,
            deaf: Duration::ZERO,
            in_sync: Duration::ZERO,
            violations: now.violations - before.violations,
            skipped,
        }
    }

    /// Tells that all is well again after the fault, `at` seconds into the run.
    pub(crate) fn tell_well(&self, at: f64, begun: Instant) {
        say(&format!(
            "{:>8.1}s    well again after {:.1}s: {} operations, {} in doubt, longest without an \
             acknowledged message {:.2}s, a session without what others had {:.2}s, replicas in \
             sync {:.1}s after all ran{}",
            at,
            begun.elapsed().as_secs_f64(),
            self.operations,
            self.unknown,
            self.longest.as_secs_f64(),
            self.deaf.as_secs_f64(),
            self.in_sync.as_secs_f64(),
            if self.violations > 0 {
                format!("; {} VIOLATIONS", self.violations)
            } else {
                String::new()
            },
        ));
    }
}
