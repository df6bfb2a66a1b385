//! How appends of a place stand, and how that looks to one of its shards.

use std::sync::PoisonError;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::ShardId;
use crate::shard::lane::copies::{Registry, Unwitnessed, witnesses_of};
use crate::shard::log::{AppendError, AppendOutcome};

/// How appends of a place stand: whether its last cycle had a definite answer for every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It had.
    Clear,
    /// It had not, for whatever reason; nor had those before it.
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
    /// The standing after a cycle with these results.
    pub(super) fn after(self, results: &[Result<AppendOutcome, AppendError>]) -> Self {
        let open = |error: &&AppendError| match error {
            AppendError::InDoubt(_) | AppendError::NotReplicated(_) => true,
            // The log answers; that an earlier attempt at this batch is in doubt concerns its shard alone.
            AppendError::NotWritten(_) => false,
        };
        let open: Vec<&AppendError> = results.iter().filter_map(|result| result.as_ref().err()).filter(open).collect();
        let since = match self {
            Self::Clear => Instant::now(),
            Self::InDoubt { since } | Self::NotReplicated { since } => since,
        };
        if open.is_empty() {
            Self::Clear
        } else if open.iter().all(|error| matches!(error, AppendError::NotReplicated(_))) {
            Self::NotReplicated { since }
        } else {
            Self::InDoubt { since }
        }
    }
}

/// How the place of a shard stands, as far as it concerns that shard: while its witnesses confirm, a missing second copy
/// does not.
#[derive(Debug, Clone)]
pub struct Standings {
    pub(super) shard: ShardId,
    pub(super) place: watch::Receiver<Standing>,
    pub(super) unwitnessed: Unwitnessed,
    pub(super) witnesses: Registry,
}

impl Standings {
    /// Now.
    #[must_use]
    pub fn now(&self) -> Standing {
        let standing = *self.place.borrow();
        match standing {
            Standing::NotReplicated { .. } if self.is_witnessed() => Standing::Clear,
            other => other,
        }
    }

    /// Waits until it may be another one. Cancel-safe.
    ///
    /// # Errors
    /// The lane has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.place.changed().await
    }

    fn is_witnessed(&self) -> bool {
        let failed = self.unwitnessed.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.shard);
        !failed && witnesses_of(&self.witnesses, self.shard).is_some()
    }
}
