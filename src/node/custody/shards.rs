//! The shards that are open on a node, for all its parts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::ids::ShardId;
use crate::shard::ShardHandle;

/// The shards that are open on this node.
#[derive(Debug, Clone, Default)]
pub(in crate::node) struct Shards(Arc<Open>);

#[derive(Debug, Default)]
struct Open {
    handles: Mutex<BTreeMap<ShardId, ShardHandle>>,
    changed: Notify,
}

impl Shards {
    pub(in crate::node) fn insert(&self, shard: ShardId, handle: ShardHandle) {
        self.0
            .handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, handle);
        self.0.changed.notify_one();
    }

    pub(in crate::node) fn remove(&self, shard: ShardId) {
        self.0
            .handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&shard);
    }

    /// All of them, also those that have ended and are not taken out yet.
    pub(in crate::node) fn handles(&self) -> Vec<ShardHandle> {
        self.0
            .handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Those that have not ended.
    pub(in crate::node) fn open(&self) -> Vec<ShardHandle> {
        self.handles()
            .into_iter()
            .filter(|handle| !handle.is_closed())
            .collect()
    }

    /// Waits for the next shard that is opened, or one since the last call. For one caller.
    pub(in crate::node) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
