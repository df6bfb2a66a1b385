//! Who stands in for the second copy in the log while the log makes none: the standbys of a shard
//! that are in sync. Each says whether its *file* holds an entry, which it has read from the log.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::ids::{NodeId, Offset, ShardId};
use crate::log::lane::Witnesses;
use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::insync::InSync;
use crate::shard::replicas::Replicas;

/// The standbys of an owned shard that are in sync and were heard of just now, whichever these are
/// at the moment. While none has reported to a new owner and its epoch is not committed, those that
/// answered it when it opened; if none did, all of the row as it is then: one that comes back, or
/// is new in the row, confirms as soon as it follows.
#[derive(Debug)]
pub(in crate::shard) struct StandbysInSync {
    /// Of which shard.
    pub(in crate::shard) shard: ShardId,
    /// The way to them.
    pub(in crate::shard) replicas: Arc<dyn Replicas>,
    /// What is known of them.
    pub(in crate::shard) standbys: Arc<watch::Sender<InSync>>,
    /// What of the streams is committed.
    pub(in crate::shard) committed: PerStream<Arc<watch::Sender<Tail>>>,
    /// Where the streams ended when the shard was opened.
    pub(in crate::shard) begun: PerStream<Offset>,
    /// Who answered then that it follows.
    pub(in crate::shard) answered: Vec<NodeId>,
    /// The time.
    pub(in crate::shard) clock: Clock,
}

impl StandbysInSync {
    fn now(&self) -> Vec<NodeId> {
        let committed = self.committed.each_ref().map(|tail| tail.borrow().offset);
        let in_sync = self
            .standbys
            .borrow()
            .witnesses(committed, self.clock.since_boot());
        if !in_sync.is_empty() || self.is_announced() {
            return in_sync;
        }

        let row = self.replicas.others(self.shard);
        let answered: Vec<NodeId> = self
            .answered
            .iter()
            .filter(|node| row.contains(node))
            .cloned()
            .collect();
        if answered.is_empty() { row } else { answered }
    }

    /// The epoch of this owner is committed in both streams.
    fn is_announced(&self) -> bool {
        self.committed
            .each_ref()
            .zip(self.begun)
            .all(|(tail, begun)| tail.borrow().offset > begun)
    }
}

#[async_trait]
impl Witnesses for StandbysInSync {
    fn any(&self) -> bool {
        !self.now().is_empty()
    }

    /// The shard takes no write until its epoch is committed.
    fn at_once(&self) -> bool {
        !self.is_announced()
    }

    async fn hold(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool {
        let standbys = self.now();
        !standbys.is_empty()
            && self
                .replicas
                .hold(self.shard, &standbys, stream, tail, deadline)
                .await
    }
}
