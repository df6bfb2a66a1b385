//! The shards that were ever claimed, as far as this node knows: from tables that it followed,
//! control records that it saw, shards that it opened, and what its folder remembers of earlier
//! runs. It only grows: a shard with a history never becomes one without, whatever Redis has lost
//! meanwhile (ADR 17).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::ShardId;

/// What a node knows of claimed shards. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Claimed(Arc<Mutex<BTreeSet<ShardId>>>);

impl Claimed {
    /// Also these were.
    pub fn add(&self, shards: impl IntoIterator<Item = ShardId>) {
        self.shards().extend(shards);
    }

    /// Whether this one was.
    #[must_use]
    pub fn has(&self, shard: ShardId) -> bool {
        self.shards().contains(&shard)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeSet<ShardId> {
        self.shards().clone()
    }

    fn shards(&self) -> MutexGuard<'_, BTreeSet<ShardId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
