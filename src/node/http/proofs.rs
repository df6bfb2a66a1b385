//! When lists of conversations were last proven to lack nothing, to tell how old one may be that is
//! not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::ids::ShardId;
use crate::shard::command::Freshness;

/// By the shard of the users, as of this node. One entry for each shard.
#[derive(Debug)]
pub(super) struct Proofs {
    begun: Instant,
    last: Mutex<HashMap<ShardId, Instant>>,
}

impl Proofs {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            last: Mutex::default(),
        }
    }

    /// Everything acknowledged before `at` has arrived there.
    pub(super) fn note(&self, shard: ShardId, at: Instant) -> Freshness {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.entry(shard).or_insert(at);
        *last = at.max(*last);
        Freshness::Strict
    }

    /// How fresh a list is that is not proven now: as old as the last proof, or as this node where
    /// there was none.
    pub(super) fn unproven(&self, shard: ShardId, now: Instant) -> Freshness {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .copied();
        let age = now.saturating_duration_since(last.unwrap_or(self.begun));
        Freshness::Stale {
            ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_not_proven_is_as_old_as_the_last_proof_or_the_node() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let proofs = Proofs::new(begun);

        assert_eq!(
            proofs.unproven(ShardId(1), at(700)),
            Freshness::Stale { ms: 700 }
        );

        proofs.note(ShardId(1), at(800));
        proofs.note(ShardId(1), at(750));

        assert_eq!(
            proofs.unproven(ShardId(1), at(1_000)),
            Freshness::Stale { ms: 200 }
        );
        assert_eq!(
            proofs.unproven(ShardId(2), at(1_000)),
            Freshness::Stale { ms: 1_000 }
        );
        assert_eq!(
            proofs.unproven(ShardId(2), begun),
            Freshness::Stale { ms: 1 }
        );
    }
}
