//! The life of a node: it locks its folder, announces itself, follows the table, serves, opens the
//! shards that the table gives it, and goes away in the opposite order.
//!
//! Invariants: a node serves a shard only through a handle that was opened here; it is ready only
//! between the opening of its shards and its drain; every task it starts ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;

use crate::cluster::table::reach::Reach;
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{NodeId, ShardId};
use crate::link::front::server::FrontServer;
use crate::node::audit::Audit;
use crate::node::context::{Life, Setup};
use crate::node::custody::gauges;
use crate::node::custody::observe::Observer;
use crate::node::custody::opening::{Opener, Ways};
use crate::node::custody::rows::Rows;
use crate::node::custody::shards::Shards;
use crate::node::folder::FolderLock;
use crate::node::link::handing::NodeStanding;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::listeners::Listeners;
use crate::node::owners::Owners;
use crate::node::session::Hub;
use crate::node::standby::seed::Seeding;
use crate::node::steering::Steering;
use crate::node::{agreed, parts};
use crate::shard::replicas::ReplicaDigest;
use crate::shard::{ShardHandle, ShardStatus};
use crate::telemetry;

/// Longest wait of [`Node::start`] for a table that names the node under its present addresses.
const TABLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Time for closing again what a failed start has opened.
const CLOSE_AFTER_FAILURE_MAX: Duration = Duration::from_secs(5);

/// A running node. Dropping it does not stop its tasks: [`Node::drain`] it, then [`Node::close`]
/// it.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    addresses: NodeAddresses,
    hub: Arc<Hub>,
    front: Arc<FrontServer>,
    owners: Owners,
    table: Receiver<Arc<Table>>,
    shards: Shards,
    opener: Opener,
    observer: Observer,
    steering: Steering,
    audit: Audit,
    life: Life,
    ready: AtomicBool,
    // Held until the node is closed.
    lock: FolderLock,
}

impl Node {
    /// Starts a node and opens the shards that the table gives it. Answers when it serves all of
    /// them.
    ///
    /// Not cancel-safe: dropped, it leaves tasks behind.
    ///
    /// # Errors
    /// One clear line: the folder is in use or cannot be written, there is no table in time, a
    /// shard is refused.
    pub async fn start(setup: Setup, listeners: Listeners) -> Result<Self, String> {
        let lock = FolderLock::take(&setup.folder)?;
        let node = Self::begin(setup, lock, listeners, Some(TABLE_WAIT_MAX)).await?;
        match node.open().await {
            Ok(()) => Ok(node),
            Err(why) => {
                node.close(Instant::now() + CLOSE_AFTER_FAILURE_MAX).await;
                Err(why)
            }
        }
    }

    /// Starts a node on its locked folder: announces it, waits for a table that names it, at most
    /// `table_wait` if that is given, and serves. No shard is open yet: [`Node::open`].
    ///
    /// Not cancel-safe: dropped, it leaves tasks behind.
    ///
    /// # Errors
    /// One clear line: there is no table in time.
    pub async fn begin(
        mut setup: Setup,
        lock: FolderLock,
        listeners: Listeners,
        table_wait: Option<Duration>,
    ) -> Result<Self, String> {
        let addresses = listeners
            .addresses()
            .map_err(|error| format!("{}: no listener: {error}", setup.id))?;
        let life = Life::default();

        telemetry::start_node(&setup.id.0);
        let reach = Arc::<Reach>::default();
        let table = parts::announce(&setup, &addresses, table_wait, (&life, &reach)).await?;
        setup.config.shard.common.agreed = agreed::follow(&setup, table.clone(), &life);
        let parts::Faces { owners, hub, front } =
            parts::serve(&setup, listeners, table.clone(), &life, Arc::clone(&reach))?;
        let shards = Shards::default();

        let observer = Observer::new(&setup, table.clone(), Arc::clone(&reach));
        life.spawn(observer.clone().run());
        parts::measure(&setup, &life, (&shards, &observer), (&table, &reach));
        life.spawn(Rows::new(&setup, addresses.clone(), shards.clone(), table.clone()).run());
        let balancer = parts::coordinate(&setup, &owners, &life);
        parts::keep_proven(&setup, &life, &shards, (&owners, &hub), &reach)?;

        let ways = Ways {
            owners: owners.clone(),
            seeding: Seeding::new(
                owners.clone(),
                setup.identity,
                setup.config.seeding.snapshot_rate,
            ),
            shards: shards.clone(),
            observer: observer.clone(),
            table: table.clone(),
            hub: Arc::clone(&hub),
            balancer,
        };
        let opener = Opener::new(&setup, ways, life.clone());
        life.spawn(gauges::of_refused(
            setup.id.clone(),
            opener.counts_refused(),
        ));

        Ok(Self {
            steering: Steering::new(&setup, &owners),
            audit: Audit::new(&setup, &owners),
            id: setup.id,
            addresses,
            hub,
            front,
            owners,
            table,
            shards,
            opener,
            observer,
            life,
            ready: AtomicBool::new(false),
            lock,
        })
    }

    /// Opens the shards that the table gives this node, and begins to follow those that it stands
    /// by for; ready when it has answered. A standby that has to be seeded is not waited for, nor
    /// is a shard that is refused. Later tables are followed from then on. To be called once;
    /// dropped, it goes on opening until the node is closed, which is not ready then.
    ///
    /// # Errors
    /// The line of the first shard that belongs to another cluster, or is refused where attempts
    /// have a limit.
    pub async fn open(&self) -> Result<(), String> {
        self.opener.open_first().await?;
        self.life.tasks.spawn(self.opener.clone().follow());
        self.ready.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// How it is reached.
    #[must_use]
    pub fn addresses(&self) -> &NodeAddresses {
        &self.addresses
    }

    /// Started, not draining, and not cut off. It has a table from its start on.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && !self.cut_off()
    }

    /// Cut off from the log while others reach it: its sessions are sent away.
    #[must_use]
    pub fn cut_off(&self) -> bool {
        self.owners.reach().is_cut_off()
    }

    /// The table as followed now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// Its way in for routers of this process.
    #[must_use]
    pub fn front(&self) -> Arc<FrontServer> {
        Arc::clone(&self.front)
    }

    /// How many sessions are live here.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.hub.sessions()
    }

    /// How the shards stand that are open here.
    #[must_use]
    pub fn statuses(&self) -> Vec<ShardStatus> {
        self.shards.open().iter().map(ShardHandle::status).collect()
    }

    /// The shards that cannot be opened or followed here until somebody mends what the line says.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<ShardId, String> {
        self.opener.refused()
    }

    /// How many shards are followed here that another node owns.
    #[must_use]
    pub fn standbys(&self) -> usize {
        self.observer.count()
    }

    /// Digest of this node's replica of a shard, with the word for what it is: `owner` or
    /// `standby`. `None` when it has none. Reads the whole file.
    ///
    /// # Errors
    /// One sentence: it cannot be read.
    pub async fn digest(
        &self,
        shard: ShardId,
    ) -> Result<Option<(&'static str, ReplicaDigest)>, String> {
        let Some(own) = self.owners.own(shard) else {
            return Ok(None);
        };
        match own.digest().await {
            Ok(digest) => Ok(Some((own.role(), digest))),
            Err(error) => Err(format!("shard {shard}: {error}")),
        }
    }

    /// The same of the replica of another node, which is asked over its link.
    ///
    /// # Errors
    /// One sentence: it cannot be read, or the node does not answer in time.
    pub async fn digest_at(
        &self,
        shard: ShardId,
        node: &NodeId,
        deadline: Instant,
    ) -> Result<Option<(&'static str, ReplicaDigest)>, String> {
        if *node == self.id {
            return self.digest(shard).await;
        }
        let role = if self.owners.owner_of(shard).as_ref() == Some(node) {
            "owner"
        } else {
            "standby"
        };

        match self
            .owners
            .ask_replica(node, shard, ReplicaAsk::Digest, deadline)
            .await
        {
            Some(ReplicaAnswer::Digest(digest)) => Ok(Some((role, digest))),
            Some(ReplicaAnswer::Failed(why)) => Err(format!("{node}: {why}")),
            _ => Err(format!(
                "{node} has no replica of shard {shard}, or does not answer in time"
            )),
        }
    }

    /// What the owner of a shard, whichever node that is, answers to what a backup asks.
    ///
    /// # Errors
    /// One sentence: the table has no such shard, or its owner does not answer in time.
    pub async fn backup(
        &self,
        shard: ShardId,
        ask: ReplicaAsk,
        deadline: Instant,
    ) -> Result<ReplicaAnswer, String> {
        self.owners.backup(shard, ask, deadline).await
    }

    /// How each node that the table names stands; `None` for one that does not answer in time.
    pub async fn standings(&self, deadline: Instant) -> BTreeMap<NodeId, Option<NodeStanding>> {
        self.owners.standings(deadline).await
    }

    /// Compares what is kept in several places, by way of this node.
    #[must_use]
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What may be asked of the cluster by way of this node.
    #[must_use]
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Is not ready from now on, and gives its shards to standbys in sync, at most until
    /// `deadline`: see ADR 19. It goes on serving what nobody took.
    pub async fn hand_over(&self, deadline: Instant) {
        self.ready.store(false, Ordering::SeqCst);
        self.opener.leave(deadline).await;
    }

    /// Is not ready from now on, and sends its sessions away over `window`; other requests are
    /// still served.
    pub async fn drain(&self, window: Duration, reason: &'static str) {
        self.ready.store(false, Ordering::SeqCst);
        self.hub.drain(window, reason).await;
    }

    /// Takes no more requests and finishes those that are begun, at most until `deadline`. Links
    /// still serve other nodes.
    pub async fn finish_requests(&self, deadline: Instant) {
        self.ready.store(false, Ordering::SeqCst);
        self.life.opening.cancel();
        drop(tokio::time::timeout_at(deadline.into(), self.front.finish_calls()).await);
    }

    /// Closes the shards: applies and checkpoints what is committed, at most until `deadline`.
    pub async fn close_shards(&self, deadline: Instant) {
        self.life.opening.cancel();
        let mut closing = JoinSet::new();
        for handle in self.shards.handles() {
            closing.spawn(async move { handle.close(deadline).await });
        }
        let all = async { while closing.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline.into(), all).await.is_err() {
            tracing::warn!(node = %self.id, "shards were not closed in time; what is left is applied at the next start");
        }
    }

    /// Ends the node: requests, shards, then links and everything else, at most until `deadline`;
    /// gives its folder free.
    pub async fn close(&self, deadline: Instant) {
        self.finish_requests(deadline).await;
        self.close_shards(deadline).await;
        self.life.all.cancel();
        self.life.tasks.close();
        drop(tokio::time::timeout_at(deadline.into(), self.life.tasks.wait()).await);
        self.lock.release();
    }
}
