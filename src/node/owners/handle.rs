//! The handle by which owners are reached: what is behind it, what it knows, and the shards of this
//! node itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{ConversationName, NodeId, ShardId};
use crate::node::link::client::Link;
use crate::node::link::{Asker, Serve};
use crate::node::owners::line::Lines;
use crate::node::owners::local::LocalShards;
use crate::node::owners::places::Places;
use crate::node::owners::setup::Setup;
use crate::shard::{ShardHandle, Standby};

/// Reaches owners. Cheap to clone.
///
/// Pushes of everything subscribed through it, local or remote, arrive in the one channel given at
/// its construction. A broken link, a dropped push and a moved shard all arrive there as
/// `Push::Resubscribe` for the shards concerned. An answer and a push come by different ways, so
/// either may be seen first.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) setup: Setup,
    pub(super) local: Arc<LocalShards>,
    /// Serves requests for our own shards, ours and those of peers: `local`, but in tests.
    pub(super) service: Arc<dyn Serve>,
    /// This node as one that asks its own shards.
    pub(super) asker: Asker,
    pub(super) links: Mutex<HashMap<NodeId, (Link, CancellationToken)>>,
    pub(super) places: Arc<Places>,
    /// The order of sends that are under way.
    pub(super) lines: Arc<Lines>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Owners {
    /// The map of slots to shards.
    #[must_use]
    pub(crate) fn map(&self) -> ShardMap {
        self.inner.setup.map
    }

    /// This node.
    #[must_use]
    pub(crate) fn node(&self) -> &NodeId {
        &self.inner.setup.credentials.id
    }

    /// The table as followed now.
    #[must_use]
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.inner.setup.table.borrow())
    }

    /// To watch the table as it is followed.
    pub(in crate::node) fn watch_table(&self) -> watch::Receiver<Arc<Table>> {
        self.inner.setup.table.clone()
    }

    /// What is known of this node's way to the log.
    pub(in crate::node) fn reach(&self) -> &Arc<Reach> {
        &self.inner.setup.reach
    }

    pub(super) fn shard_of(&self, name: &ConversationName) -> ShardId {
        self.inner.setup.map.shard_of(name.slot())
    }

    /// The shard, if it is served here now: see `LocalShards::here`.
    #[must_use]
    pub(crate) fn local(&self, shard: ShardId) -> Option<ShardHandle> {
        self.inner.local.here(shard)
    }

    /// From now on the shard is served here.
    pub(crate) fn insert_local(&self, shard: ShardHandle) {
        self.inner.local.insert(shard);
    }

    /// From now on the shard is not served here; to be called before it is closed. Sessions of this
    /// node are told to subscribe again; those of other nodes are by the shard itself or by their
    /// own view of the table.
    pub(crate) fn remove_local(&self, shard: ShardId) -> Option<ShardHandle> {
        let removed = self.inner.local.remove(shard);
        if removed.is_some() {
            self.inner.places.lost_shard(shard);
        }
        removed
    }

    /// From now on this node's standby of a shard answers its other replicas.
    pub(crate) fn insert_standby(&self, standby: Standby) {
        self.inner.local.insert_standby(standby);
    }

    /// From now on it does not; to be called before it is closed or takes the shard over.
    pub(crate) fn remove_standby(&self, shard: ShardId) -> Option<Standby> {
        self.inner.local.remove_standby(shard)
    }

    /// Every standby of this node.
    #[must_use]
    pub(crate) fn standbys(&self) -> Vec<Standby> {
        self.inner.local.standbys()
    }
}
