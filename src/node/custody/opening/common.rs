//! What the tasks of all shards of a node have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot, watch};

use crate::clock::Clock;
use crate::cluster::claimed::Claimed;
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};
use crate::log::lane::Lane;
use crate::log::{Identity, ShardLog};
use crate::node::context::Life;
use crate::node::custody::balancer::Balancer;
use crate::node::custody::observe::Observer;
use crate::node::custody::opening::files;
use crate::node::custody::opening::gifts::Awaited;
use crate::node::custody::opening::turns::Turns;
use crate::node::custody::shards::Shards;
use crate::node::owners::Owners;
use crate::node::session::Hub;
use crate::node::standby::orphans;
use crate::node::standby::seed::Seeding;
use crate::shard::{Config, Opening};

/// Shards being opened at the same time.
pub(super) const OPENING_MAX: usize = 4;

/// Shards being taken over at the same time: each mostly waits for Redis and for its peers.
pub(super) const TAKING_MAX: usize = 32;

/// What is told once of the first attempts at a shard.
pub(super) type Told = oneshot::Sender<Result<(), String>>;

/// What an [`Opener`](crate::node::custody::opening::Opener) reaches others by.
#[derive(Debug)]
pub(in crate::node) struct Ways {
    /// Requests come by them.
    pub(in crate::node) owners: Owners,
    /// Brings the files of standbys that have none of use.
    pub(in crate::node) seeding: Seeding,
    /// What is open here.
    pub(in crate::node) shards: Shards,
    /// Looks at the shards stood by for.
    pub(in crate::node) observer: Observer,
    /// The table as this node follows it.
    pub(in crate::node) table: watch::Receiver<Arc<Table>>,
    /// The sessions of this node.
    pub(in crate::node) hub: Arc<Hub>,
    /// Moves shards while this node leads, if nodes look after the table.
    pub(in crate::node) balancer: Option<Balancer>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) node: NodeId,
    pub(super) identity: Identity,
    pub(super) folder: PathBuf,
    pub(super) log: Arc<dyn ShardLog>,
    pub(super) lane: Lane,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) ways: Ways,
    pub(super) life: Life,
    pub(super) first_attempts_max: Option<u32>,
    /// Nodes that hold a shard; `None`: as many as its row has.
    pub(super) replicas: Option<usize>,
    /// Shards that were ever claimed, as this node knows.
    pub(super) claimed: Claimed,
    pub(super) opening: Semaphore,
    pub(super) taking: Semaphore,
    /// Shards that have a task.
    pub(super) held: Mutex<BTreeSet<ShardId>>,
    /// Shards that cannot be opened or followed here until somebody mends what the line says.
    pub(super) refused: Mutex<BTreeMap<ShardId, String>>,
    /// Shards that this node gives away.
    pub(super) giving: Turns,
    /// Shards that may be given to it.
    pub(super) awaited: Arc<Awaited>,
    /// This node is about to stop, and takes no shard any more.
    pub(super) leaving: AtomicBool,
}

impl Inner {
    pub(super) fn path(&self, shard: ShardId) -> PathBuf {
        files::path_of(&self.folder, shard)
    }

    pub(super) fn refused(&self) -> MutexGuard<'_, BTreeMap<ShardId, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files of shards in this node's folder, and files that were put aside and have messages that
    /// are still to be sent again. Whatever the table that is followed here says: it may be a
    /// moment old.
    pub(super) fn files(&self) -> usize {
        // What cannot be read is not known to be of no use.
        files::shards_in(&self.folder).len()
            + files::unsent_in(&self.folder).map_or(1, |unsent| unsent.len())
    }

    /// Goes on with what a former process was to send again.
    pub(super) fn send_unsent(&self, folder: &Path) -> std::io::Result<()> {
        for (shard, aside) in files::unsent_in(folder)? {
            if u32::from(shard.0) < self.identity.shards {
                self.send_orphans(shard, aside);
            }
        }
        Ok(())
    }

    /// Sends the orphans of a file that was put aside, beside everything else.
    pub(super) fn send_orphans(&self, shard: ShardId, aside: PathBuf) {
        let (owners, log) = (self.ways.owners.clone(), Arc::clone(&self.log));
        self.life
            .spawn(async move { orphans::resubmit(&owners, log.as_ref(), shard, &aside).await });
    }

    pub(super) fn opening(&self, shard: ShardId) -> Opening {
        Opening {
            shard,
            identity: self.identity,
            node: self.node.clone(),
            path: self.path(shard),
            log: Arc::clone(&self.log),
            lane: self.lane.clone(),
            replicas: self.ways.owners.replicas(),
            claimed: self.was_claimed(shard),
            clock: self.clock.clone(),
            config: self.config.clone(),
        }
    }

    /// Whether this node is to be taken away for good.
    pub(super) fn is_draining(&self) -> bool {
        self.ways.table.borrow().is_draining(&self.node)
    }

    /// Waits until the row of a shard does not name this node.
    pub(super) async fn dropped(&self, shard: ShardId) {
        let (mut table, place) = (self.ways.table.clone(), usize::from(shard.0));
        let dropped = table.wait_for(|table| {
            table
                .rows
                .get(place)
                .is_none_or(|row| !row.contains(&self.node))
        });
        if dropped.await.is_err() {
            // Nobody follows the table any more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a shard was ever claimed, as far as this node, or the table that it follows, knows.
    pub(super) fn was_claimed(&self, shard: ShardId) -> bool {
        if self.ways.table.borrow().claimed.contains(&shard) {
            self.claimed.add([shard]);
        }
        self.claimed.has(shard)
    }

    /// The row of a shard as followed now.
    pub(super) fn row(&self, shard: ShardId) -> Vec<NodeId> {
        self.ways
            .table
            .borrow()
            .rows
            .get(usize::from(shard.0))
            .cloned()
            .unwrap_or_default()
    }
}
