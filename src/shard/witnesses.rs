//! Who stands in for the second copy in the log while the log makes none: the standbys of a shard that are in sync. Each
//! says whether its *file* holds an entry, which it has read from the log.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::ids::{NodeId, ShardId};
use crate::shard::log::Stream;
use crate::shard::log::record::Tail;
use crate::shard::replicas::Replicas;

/// The witnesses of one shard.
#[async_trait]
pub trait Witnesses: fmt::Debug + Send + Sync + 'static {
    /// Whether there is one that could be asked now.
    fn any(&self) -> bool;

    /// True when all there are now, at least one, hold the stream up to exactly this tail; they are waited for, at most
    /// until `deadline`.
    async fn hold(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool;
}

/// The standbys of a shard that are in sync, whichever these are at the moment.
pub(super) struct StandbysInSync<F> {
    /// Of which shard.
    pub(super) shard: ShardId,
    /// The way to them.
    pub(super) replicas: Arc<dyn Replicas>,
    /// Which of them are in sync now.
    pub(super) in_sync: F,
}

impl<F> fmt::Debug for StandbysInSync<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandbysInSync").field("shard", &self.shard).finish_non_exhaustive()
    }
}

#[async_trait]
impl<F: Fn() -> Vec<NodeId> + Send + Sync + 'static> Witnesses for StandbysInSync<F> {
    fn any(&self) -> bool {
        !(self.in_sync)().is_empty()
    }

    async fn hold(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool {
        let standbys = (self.in_sync)();
        !standbys.is_empty() && self.replicas.hold(self.shard, &standbys, stream, tail, deadline).await
    }
}
