//! Follows the table, and tells those who hold subscriptions when they may have missed pushes: the
//! link broke, or the shard is served elsewhere now.

use std::sync::{Arc, PoisonError};

use crate::ids::ShardId;
use crate::node::link::frame::Body;
use crate::node::owners::Owners;
use crate::node::owners::route::Route;
use crate::shard::command::Push;

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
