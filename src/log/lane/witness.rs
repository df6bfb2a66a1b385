//! What the lane asks of those who stand in for the second copy in the log while the log makes
//! none.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use crate::ids::ShardId;
use crate::log::Stream;
use crate::log::record::Tail;

/// The witnesses of one shard.
#[async_trait]
pub(crate) trait Witnesses: fmt::Debug + Send + Sync + 'static {
    /// Whether there is one that could be asked now.
    fn any(&self) -> bool;

    /// Whether they are asked as soon as a second copy is missing, though it may be for a moment
    /// only.
    fn at_once(&self) -> bool {
        false
    }

    /// True when all there are now, at least one, hold the stream up to exactly this tail; they are
    /// waited for, at most until `deadline`.
    async fn hold(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool;
}

/// The witnesses of each shard that has some.
pub(super) type Registry = Arc<Mutex<HashMap<ShardId, Arc<dyn Witnesses>>>>;

/// Shards whose witnesses did not confirm when they were asked last.
pub(super) type Unwitnessed = Arc<Mutex<HashSet<ShardId>>>;

/// Ends what [`Lane::witnessed_by`](crate::log::lane::Lane::witnessed_by) began, when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Witnessed {
    pub(super) shard: ShardId,
    pub(super) witnesses: Arc<dyn Witnesses>,
    pub(super) registry: Registry,
}

impl Drop for Witnessed {
    fn drop(&mut self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever opened the shard since then has others.
        if registry
            .get(&self.shard)
            .is_some_and(|known| Arc::ptr_eq(known, &self.witnesses))
        {
            registry.remove(&self.shard);
        }
    }
}

/// The witnesses of a shard, if there is one that could be asked.
pub(super) fn witnesses_of(registry: &Registry, shard: ShardId) -> Option<Arc<dyn Witnesses>> {
    let known = registry
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&shard)
        .cloned();
    known.filter(|witnesses| witnesses.any())
}
