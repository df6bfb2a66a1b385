//! Where this node's subscriptions are, and which of them are due to be told that they may have
//! missed pushes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::{NodeId, ShardId};
use crate::node::owners::route::Route;

/// By shard, the place where this node subscribed last. When that is another than before, what was
/// subscribed there is due: the one who subscribes next may know of a new owner before the one who
/// follows the table does, and must not hide from it that the others are still where they were. A
/// shard stays marked after its last interest ended: then one needless `Resubscribe` may follow,
/// and does nothing. Bounded by the number of shards.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    at: HashMap<ShardId, Route>,
    due: BTreeSet<ShardId>,
}

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, shard: ShardId, route: &Route) {
        let mut state = self.state();
        let before = state.at.insert(shard, route.clone());
        if before.is_some_and(|before| before != *route) {
            state.due.insert(shard);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// What was subscribed at this node may have been missed, and so may what was asked for when
    /// nobody was known to serve it: it may have been this node that answered.
    pub(super) fn lost_node(&self, node: &NodeId) {
        self.lost(|_, route| match route {
            Route::Node(at) => at == node,
            Route::Nowhere => true,
            Route::Here => false,
        });
    }

    /// What was subscribed at this shard may have been missed.
    pub(super) fn lost_shard(&self, shard: ShardId) {
        self.lost(|of, _| of == shard);
    }

    pub(super) fn lost(&self, is_lost: impl Fn(ShardId, &Route) -> bool) {
        let mut state = self.state();
        let lost: Vec<_> = state
            .at
            .extract_if(|shard, route| is_lost(*shard, route))
            .map(|(shard, _)| shard)
            .collect();
        state.due.extend(lost);
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn take_due(&self) -> BTreeSet<ShardId> {
        std::mem::take(&mut self.state().due)
    }
}
