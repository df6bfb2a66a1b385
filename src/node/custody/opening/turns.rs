//! Which shards this node gives away at the same time: each once, and few of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ids::ShardId;

/// Shards that this node gives away at the same time. More take as long together, and each of them
/// longer: at 8 half of the shards took no write for 117 ms on two busy cores.
const HANDING_MAX: usize = 2;

/// The shards that are being given away.
#[derive(Debug)]
pub(super) struct Turns {
    permits: Semaphore,
    under_way: Mutex<BTreeSet<ShardId>>,
}

impl Turns {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            permits: Semaphore::new(HANDING_MAX),
            under_way: Mutex::default(),
        }
    }

    /// Waits for the permit to give one away.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed: there always is one in the end.
        self.permits.acquire().await.ok()
    }

    /// The turn of a shard, unless it is being given away already.
    pub(super) fn begin(&self, shard: ShardId) -> Option<Turn<'_>> {
        let begins = self.under_way().insert(shard);
        begins.then_some(Turn(self, shard))
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<ShardId>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard that is being given away now; no second attempt begins meanwhile.
pub(super) struct Turn<'a>(&'a Turns, ShardId);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.under_way().remove(&self.1);
    }
}
