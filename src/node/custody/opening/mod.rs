//! Keeps every shard of which the table names this node as it should be: one task a shard
//! ([`keeper`]) that owns it or stands by for it, as its row and its control record say, for as
//! long as the node lives.
//!
//! At most [`OPENING_MAX`] shards are being opened at once; takeovers have permits of their own and
//! wait for none of those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::cluster::claimed::Claimed;
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};
use crate::log::lane::Lane;
use crate::log::{Identity, ShardLog};
use crate::node::context::{Life, Setup};
use crate::node::custody::balancer::Balancer;
use crate::node::custody::observe::Observer;
use crate::node::custody::opening::handing::{Arriving, HANDING_MAX};
use crate::node::custody::shards::Shards;
use crate::node::folder::shards_of;
use crate::node::owners::Owners;
use crate::node::session::Hub;
use crate::node::standby::orphans;
use crate::node::standby::seed::Seeding;
use crate::shard::{Config, Opening};

mod files;

mod handing;

mod keeper;

mod standing;

mod surplus;

mod tries;

/// Shards being opened at the same time.
const OPENING_MAX: usize = 4;

/// Shards being taken over at the same time: each mostly waits for Redis and for its peers.
const TAKING_MAX: usize = 32;

/// What is told once of the first attempts at a shard.
type Told = oneshot::Sender<Result<(), String>>;

/// Keeps shards. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::node) struct Opener {
    inner: Arc<Inner>,
}

/// What an [`Opener`] reaches others by.
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
struct Inner {
    node: NodeId,
    identity: Identity,
    folder: PathBuf,
    log: Arc<dyn ShardLog>,
    lane: Lane,
    clock: Clock,
    config: Config,
    ways: Ways,
    life: Life,
    first_attempts_max: Option<u32>,
    /// Nodes that hold a shard; `None`: as many as its row has.
    replicas: Option<usize>,
    /// Shards that were ever claimed, as this node knows.
    claimed: Claimed,
    opening: Semaphore,
    taking: Semaphore,
    /// Shards that have a task.
    held: Mutex<BTreeSet<ShardId>>,
    /// Shards that cannot be opened or followed here until somebody mends what the line says.
    refused: Mutex<BTreeMap<ShardId, String>>,
    /// Shards that this node gives away at the same time.
    handing: Semaphore,
    /// Which they are.
    giving: Mutex<BTreeSet<ShardId>>,
    /// The tasks of shards that this node stands by for, and that may be given to it.
    gifts: Mutex<BTreeMap<ShardId, mpsc::Sender<Arriving>>>,
    /// This node is about to stop, and takes no shard any more.
    leaving: AtomicBool,
}

impl Opener {
    pub(in crate::node) fn new(setup: &Setup, ways: Ways, life: Life) -> Self {
        let inner = Inner {
            node: setup.id.clone(),
            identity: setup.identity,
            folder: shards_of(&setup.folder),
            log: Arc::clone(&setup.log),
            lane: Lane::spawn(Arc::clone(&setup.log)),
            clock: setup.clock.clone(),
            config: setup.config.shard.clone(),
            ways,
            life,
            first_attempts_max: setup.first_attempts_max,
            replicas: setup.config.replicas,
            claimed: setup.claimed.clone(),
            opening: Semaphore::new(OPENING_MAX),
            taking: Semaphore::new(TAKING_MAX),
            held: Mutex::default(),
            refused: Mutex::default(),
            handing: Semaphore::new(HANDING_MAX),
            giving: Mutex::default(),
            gifts: Mutex::default(),
            leaving: AtomicBool::new(false),
        };
        let inner = Arc::new(inner);
        let custody: Weak<Inner> = Arc::downgrade(&inner);
        inner.ways.owners.kept_by(custody);
        Self { inner }
    }

    /// Gives away the shards that are owned here, to standbys in sync, at most until `deadline`;
    /// see ADR 19. Takes none from now on, but by what a failover or a start makes its own.
    pub(in crate::node) async fn leave(&self, deadline: Instant) {
        self.inner.leave(deadline).await;
    }

    /// Begins to keep all shards that the table names this node for, or that it has a file of, side
    /// by side. Done when those that it owns are open and the others are followed; one that has to
    /// wait for something that only another node can give (its file, its end) is not waited for
    /// when attempts are without limit, nor is one that is refused: that costs itself only.
    ///
    /// # Errors
    /// The line of the first shard that belongs to another cluster; where attempts have a limit, of
    /// the first refused.
    pub(in crate::node) async fn open_first(&self) -> Result<(), String> {
        let folder = &self.inner.folder;
        let of_folder =
            |error: std::io::Error| format!("data folder {}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(of_folder)?;
        self.inner.send_unsent(folder).map_err(of_folder)?;
        let mut shards = self.named();
        shards.extend(
            files::shards_in(folder)
                .into_iter()
                .filter(|shard| u32::from(shard.0) < self.inner.identity.shards),
        );
        let opening: Vec<_> = shards
            .into_iter()
            .filter_map(|shard| self.hold(shard))
            .collect();
        for opened in opening {
            opened
                .await
                .unwrap_or_else(|_ended| Err("the node ended while it started".to_owned()))?;
        }
        Ok(())
    }

    /// Keeps what later tables give to this node, until the node takes no more.
    pub(in crate::node) async fn follow(self) {
        let stop = self.inner.life.opening.clone();
        let mut table = self.inner.ways.table.clone();
        loop {
            // For good, also if a later table leaves it out.
            self.inner
                .claimed
                .add(table.borrow_and_update().claimed.iter().copied());
            for shard in self.named() {
                // How its first attempt ends concerns nobody: it is tried until it succeeds.
                drop(self.hold(shard));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = table.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The shards that are refused here, and why.
    pub(in crate::node) fn refused(&self) -> BTreeMap<ShardId, String> {
        self.inner.refused().clone()
    }

    /// Counts the shards that are refused here, whenever it is called.
    pub(in crate::node) fn counts_refused(&self) -> impl Fn() -> usize + Send + 'static {
        let inner = Arc::clone(&self.inner);
        move || inner.refused().len()
    }

    /// The shards of whose rows this node is one.
    fn named(&self) -> BTreeSet<ShardId> {
        let table = self.inner.ways.table.borrow();
        let rows = (0..=u16::MAX).map(ShardId).zip(&table.rows);
        rows.filter(|(_, row)| row.contains(&self.inner.node))
            .map(|(shard, _)| shard)
            .collect()
    }

    /// Starts the task of a shard, unless it has one. The receiver is told how the first attempts
    /// ended.
    fn hold(&self, shard: ShardId) -> Option<oneshot::Receiver<Result<(), String>>> {
        if !self
            .inner
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard)
        {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.inner
            .life
            .tasks
            .spawn(keeper::keep(Arc::clone(&self.inner), shard, sender));
        Some(receiver)
    }
}

impl Inner {
    fn path(&self, shard: ShardId) -> PathBuf {
        files::path_of(&self.folder, shard)
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<ShardId, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files of shards in this node's folder, and files that were put aside and have messages that
    /// are still to be sent again. Whatever the table that is followed here says: it may be a
    /// moment old.
    fn files(&self) -> usize {
        // What cannot be read is not known to be of no use.
        files::shards_in(&self.folder).len()
            + files::unsent_in(&self.folder).map_or(1, |unsent| unsent.len())
    }

    /// Goes on with what a former process was to send again.
    fn send_unsent(&self, folder: &Path) -> std::io::Result<()> {
        for (shard, aside) in files::unsent_in(folder)? {
            if u32::from(shard.0) < self.identity.shards {
                self.send_orphans(shard, aside);
            }
        }
        Ok(())
    }

    /// Sends the orphans of a file that was put aside, beside everything else.
    fn send_orphans(&self, shard: ShardId, aside: PathBuf) {
        let (owners, log) = (self.ways.owners.clone(), Arc::clone(&self.log));
        self.life
            .spawn(async move { orphans::resubmit(&owners, log.as_ref(), shard, &aside).await });
    }

    fn opening(&self, shard: ShardId) -> Opening {
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
    fn is_draining(&self) -> bool {
        self.ways.table.borrow().is_draining(&self.node)
    }

    /// Waits until the row of a shard does not name this node.
    async fn dropped(&self, shard: ShardId) {
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
    fn was_claimed(&self, shard: ShardId) -> bool {
        if self.ways.table.borrow().claimed.contains(&shard) {
            self.claimed.add([shard]);
        }
        self.claimed.has(shard)
    }

    /// The row of a shard as followed now.
    fn row(&self, shard: ShardId) -> Vec<NodeId> {
        self.ways
            .table
            .borrow()
            .rows
            .get(usize::from(shard.0))
            .cloned()
            .unwrap_or_default()
    }
}
