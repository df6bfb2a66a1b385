//! Shards that may be given to this node: the gifts on their way to the tasks of those shards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::ids::ShardId;
use crate::shard::Gift;

/// A gift on its way to the task of its shard.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) gift: Gift,
    /// Told when the shard is served here, or why it is not.
    pub(super) served: oneshot::Sender<Result<(), String>>,
}

/// The tasks of shards that this node stands by for, and that may be given to it.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<BTreeMap<ShardId, mpsc::Sender<Arriving>>>);

impl Awaited {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ShardId, mpsc::Sender<Arriving>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the shard may be given to this node.
    pub(super) fn has(&self, shard: ShardId) -> bool {
        self.all().contains_key(&shard)
    }

    /// The way of a gift to the task of its shard.
    pub(super) fn way_to(&self, shard: ShardId) -> Option<mpsc::Sender<Arriving>> {
        self.all().get(&shard).cloned()
    }
}

/// Takes gifts of one shard, as long as this node stands by for it.
#[derive(Debug)]
pub(super) struct Gifts {
    awaited: Arc<Awaited>,
    shard: ShardId,
    arriving: mpsc::Receiver<Arriving>,
}

impl Gifts {
    /// From now on the shard may be given to this node.
    pub(super) fn of(awaited: &Arc<Awaited>, shard: ShardId) -> Self {
        let (sender, arriving) = mpsc::channel(1);
        awaited.all().insert(shard, sender);
        Self {
            awaited: Arc::clone(awaited),
            shard,
            arriving,
        }
    }

    /// Waits for one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Arriving {
        match self.arriving.recv().await {
            Some(arriving) => arriving,
            // Not so: its sender is kept as long as this is.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Gifts {
    fn drop(&mut self) {
        self.awaited.all().remove(&self.shard);
    }
}
