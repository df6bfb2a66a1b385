//! Where this node's subscriptions are, so that those who hold them are told when pushes may have
//! been missed: the link broke, or the shard is served elsewhere now.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::{NodeId, ShardId};
use crate::node::link::frame::Body;
use crate::node::owners::Owners;
use crate::node::owners::attempt::Route;
use crate::shard::command::Push;

/// By shard, the place where this node subscribed last. When that is another than before, what was
/// subscribed there is due: the one who subscribes next may know of a new owner before [`follow`]
/// does, and must not hide from it that the others are still where they were. A shard stays marked
/// after its last interest ended: then one needless `Resubscribe` may follow, and does nothing.
/// Bounded by the number of shards.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    wake: Notify,
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

    fn note(&self, shard: ShardId, route: &Route) {
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

    fn lost(&self, is_lost: impl Fn(ShardId, &Route) -> bool) {
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

    fn take_due(&self) -> BTreeSet<ShardId> {
        std::mem::take(&mut self.state().due)
    }
}

impl Owners {
    /// A request is about to go there, and may subscribe. Also where nobody is known to serve the
    /// shard: by the time of the answer somebody does, and a subscription that stands nowhere in
    /// the books would never be renewed.
    pub(super) fn note_asked(&self, body: &Body, route: &Route) {
        match body {
            Body::SubscribeIndex { shard, .. } => self.inner.places.note(*shard, route),
            Body::Subscribe { parts } => parts
                .iter()
                .for_each(|(shard, _)| self.inner.places.note(*shard, route)),
            Body::Presence { parts, watch: true } => {
                parts
                    .iter()
                    .for_each(|(shard, _)| self.inner.places.note(*shard, route));
            }
            _ => {}
        }
    }

    /// A request was served there for these shards. If it subscribed, and a shard has moved
    /// meanwhile, that is not worth much.
    pub(super) fn note_answered(&self, body: &Body, served: &[ShardId], route: &Route) {
        let subscribes = matches!(
            body,
            Body::Subscribe { .. }
                | Body::SubscribeIndex { .. }
                | Body::Presence { watch: true, .. }
        );
        if !subscribes {
            return;
        }
        for shard in served {
            self.inner.places.note(*shard, route);
            if self.route(*shard) != *route {
                self.inner.places.lost_shard(*shard);
            }
        }
    }

    /// Looks again where the shards are served at which this node subscribed: a lease may have
    /// ended.
    pub(in crate::node) fn look_at_routes(&self) {
        self.inner
            .places
            .lost(|shard, route| self.route(shard) != *route);
    }

    fn table_moved(&self) {
        self.look_at_routes();
        let table = self.table();
        let mut links = self
            .inner
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        links.retain(|node, (_, stop)| {
            let known = table.addresses(node).is_some();
            if !known {
                stop.cancel();
            }
            known
        });
    }
}

/// Follows the table, and tells of what may have been missed, until this node ends.
pub(super) async fn follow(owners: Owners) {
    let inner = Arc::clone(&owners.inner);
    let mut table = inner.setup.table.clone();
    let telling = async {
        loop {
            tokio::select! {
                () = inner.places.wake.notified() => {}
                changed = table.changed() => match changed {
                    Ok(()) => owners.table_moved(),
                    // Whoever followed the table is gone; links may still break.
                    Err(_) => inner.places.wake.notified().await,
                },
            }
            for shard in inner.places.take_due() {
                if inner
                    .setup
                    .pushes
                    .send(Push::Resubscribe { shard })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = telling => {}
        () = inner.stop.cancelled() => {}
    }
}
