//! How appends of a place stand, and how that looks to one of its shards: what is in doubt for one
//! shard alone holds up no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::ShardId;
use crate::log::lane::full::Fullness;
use crate::log::lane::job::Job;
use crate::log::lane::witness::{Registry, Unwitnessed, witnesses_of};
use crate::log::{AppendError, AppendOutcome};

/// How appends of a place stand: whether it answered its last cycle, with second copies where those
/// are asked for; or those of one shard: whether something of it is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is missing.
    Clear,
    /// Nothing answered the last cycle, nor those before it; or the shard has a batch in doubt.
    InDoubt {
        /// End of the first such cycle.
        since: Instant,
    },
    /// As above, and all that is missing now is a second copy.
    NotReplicated {
        /// End of the first cycle that was not clear.
        since: Instant,
    },
}

impl Standing {
    /// The standing of a place after a cycle with these results. One answer shows that the place
    /// answers: what is in doubt beside it is so for its own shard.
    pub(super) fn after(self, results: &[Result<AppendOutcome, AppendError>]) -> Self {
        let since = self.since().unwrap_or_else(Instant::now);
        let is_silent = |result: &Result<_, _>| {
            matches!(
                result,
                Err(AppendError::Unanswered(_) | AppendError::Full { in_doubt: true, .. })
            )
        };
        let is_short = |result: &Result<_, _>| matches!(result, Err(AppendError::NotReplicated(_)));
        if !results.is_empty() && results.iter().all(is_silent) {
            Self::InDoubt { since }
        } else if results.iter().any(is_short) {
            Self::NotReplicated { since }
        } else {
            Self::Clear
        }
    }

    /// Since when it is not clear.
    pub(super) fn since(self) -> Option<Instant> {
        match self {
            Self::Clear => None,
            Self::InDoubt { since } | Self::NotReplicated { since } => Some(since),
        }
    }

    /// Both hold: the worse of the two, since the first of them.
    fn and(self, other: Self) -> Self {
        let Some(since) = self.since().into_iter().chain(other.since()).min() else {
            return Self::Clear;
        };
        let in_doubt = [self, other]
            .iter()
            .any(|one| matches!(one, Self::InDoubt { .. }));
        if in_doubt {
            Self::InDoubt { since }
        } else {
            Self::NotReplicated { since }
        }
    }
}

/// How those shards stand that have a batch without a definite answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubts(Arc<Mutex<HashMap<ShardId, Standing>>>);

impl Doubts {
    /// Takes in what waits to be sent again. True when something is told otherwise than before.
    pub(super) fn note(&self, doubtful: &[Job]) -> bool {
        let mut now = HashMap::new();
        for job in doubtful.iter().filter(|job| job.answer.is_some()) {
            let Some(since) = job.doubted_since else {
                continue;
            };
            let its = if job.short {
                Standing::NotReplicated { since }
            } else {
                Standing::InDoubt { since }
            };
            let shard = now.entry(job.batch.shard).or_insert(Standing::Clear);
            *shard = shard.and(its);
        }

        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != now;
        *known = now;
        changed
    }

    fn of(&self, shard: ShardId) -> Standing {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&shard).copied().unwrap_or(Standing::Clear)
    }
}

/// How a shard stands: its place, and what of its own is in doubt. While its witnesses confirm, a
/// missing second copy is nothing that it would lack.
#[derive(Debug, Clone)]
pub(crate) struct Standings {
    pub(super) shard: ShardId,
    pub(super) place: watch::Receiver<Standing>,
    pub(super) doubts: Doubts,
    pub(super) fullness: Fullness,
    pub(super) unwitnessed: Unwitnessed,
    pub(super) witnesses: Registry,
}

impl Standings {
    /// Now.
    #[must_use]
    pub(crate) fn now(&self) -> Standing {
        let place = *self.place.borrow();
        match place.and(self.doubts.of(self.shard)) {
            Standing::NotReplicated { .. } if self.is_witnessed() => Standing::Clear,
            other => other,
        }
    }

    /// Whether the place had no space when it was last tried.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.fullness.is_full()
    }

    /// Whether a write must not be sent there now, for want of space. Asked once for each write:
    /// one of them is let through now and then, to look.
    #[must_use]
    pub(crate) fn refuses(&self) -> bool {
        self.fullness.refuses()
    }

    /// Waits until it may be another one. Cancel-safe.
    ///
    /// # Errors
    /// The lane has ended.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.place.changed().await
    }

    fn is_witnessed(&self) -> bool {
        let failed = self
            .unwitnessed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&self.shard);
        !failed && witnesses_of(&self.witnesses, self.shard).is_some()
    }
}
