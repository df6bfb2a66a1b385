//! The life of `rookery node`: the operations port from the first second; then lock, cluster,
//! table, shards, each waited for as long as it takes, and told; then serving, until a signal.
//!
//! What can never come right by waiting (another cluster's folder or log, another number of shards)
//! ends the process with one clear line. Redis gone is no such thing, neither at the start nor
//! later; nor is one shard that is refused: the others are served, and log, `/readyz` and
//! `/cluster` name it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::cluster::claimed::Claimed;
use crate::cluster::folder::Folder;
use crate::cluster::identify::{Wish, identify};
use crate::cluster::placement::Placement;
use crate::cluster::table::redis::RedisTable;
use crate::cluster::table::{NodeAddresses, TableStore};
use crate::cluster::waiting::{Waiting, Watched};
use crate::config::cluster::NodeSettings;
use crate::config::secrets::Secrets;
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::log::redis::servers::Servers;
use crate::log::redis::{RedisLog, suits};
use crate::node::folder::FolderLock;
use crate::node::link::handing::BalancePlan;
use crate::node::link::replica::ReplicaAsk;
use crate::node::{self, Beside, Listeners, Node, Renewing, Setup};
use crate::operations::control::Change;
use crate::operations::{self, Backing, Cluster, ClusterNode, Digesting, Operations, Subject};
use crate::output;
use crate::process::advertise::{advertised, node_id};
use crate::process::{
    self, CLOSE_SHARE, Running, STOP_MAX, bind, cluster_key, serve_operations, shared_verifier,
    within, write_ready,
};
use crate::watchdog::Watchdog;

/// A node that stops gives its shards away for so long at most, before everything else that a stop
/// does.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(8);

/// Each node tells how it stands within this time, or is not waited for.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait for what somebody asks to be changed, such as a shard that is to be moved.
const CHANGED_WITHIN: Duration = Duration::from_secs(15);

/// What a node says that cannot change anything yet.
const NOT_BEGUN: &str = "this node has not begun yet";

/// Runs a node until a signal. `files` is how many files the process may open, if known.
///
/// # Errors
/// One clear line why it could not be started.
pub fn run(settings: &NodeSettings, secrets: &Secrets, files: Option<u64>) -> Result<(), String> {
    process::run(&settings.run, files, |metrics| {
        process::live(
            NodeProcess::start(settings, secrets, metrics),
            settings.run.drain_window,
        )
    })
}

struct NodeProcess {
    node: Arc<Node>,
    subject: Arc<NodeSubject>,
    operations: Operations,
    ready_file: Option<PathBuf>,
    stop: CancellationToken,
}

/// The node as its operations port tells it.
struct NodeSubject {
    id: NodeId,
    addresses: NodeAddresses,
    store: Arc<Watched>,
    waiting: Waiting,
    node: OnceLock<Arc<Node>>,
    draining: AtomicBool,
    key: ClusterKey,
}

impl fmt::Debug for NodeSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSubject")
            .field("id", &self.id)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Subject for NodeSubject {
    /// Once it is started it stays ready while Redis is gone: reads go on, and an outage must not
    /// take every node out. One that is cut off alone is not ready.
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        let node = self.node.get();
        if node.is_some_and(|node| node.ready()) {
            return Ok(());
        }
        if node.is_some_and(|node| node.cut_off()) {
            return Err(
                "cut off from Redis while others reach it; its sessions are sent away".to_owned(),
            );
        }
        if let Some(failure) = self.store.failure() {
            return Err(format!("Redis: {failure}"));
        }
        let Some(node) = node else {
            return Err(self.waiting.sentence());
        };
        let (open, given) = (
            node.statuses().len(),
            node.table().owned_by(&self.id).count(),
        );
        let (following, named) = (node.standbys(), node.table().stood_by_for(&self.id).count());
        Err(format!(
            "opening shards: {open} of {given} are open, {following} of {named} standbys follow"
        ))
    }

    fn refused(&self) -> Vec<String> {
        self.node
            .get()
            .map(|node| node.refused().into_values().collect())
            .unwrap_or_default()
    }

    fn cluster(&self) -> Cluster {
        let peer = self.addresses.peer.clone();
        let node = self.node.get();
        let (sessions, ready) = (node.map_or(0, |node| node.sessions()), self.ready().is_ok());
        let told = ClusterNode {
            sessions: Some(sessions),
            ready: Some(ready),
            cut_off: node.map(|node| node.cut_off()),
            ..ClusterNode::at(&peer)
        };
        let statuses = node.map(|node| node.statuses()).unwrap_or_default();
        let table = node.map(|node| node.table());
        let refused = node.map(|node| node.refused()).unwrap_or_default();
        Cluster::of(
            table.as_deref(),
            BTreeMap::from([(self.id.clone(), told)]),
            &statuses,
        )
        .with_refused(refused)
    }

    fn whole(&self) -> BoxFuture<'static, Cluster> {
        let (node, here) = (self.node.get().cloned(), self.cluster());
        let whole = async move {
            let Some(node) = node else { return here };
            Cluster::whole(
                &node.table(),
                node.standings(Instant::now() + ASKED_WITHIN).await,
            )
        };
        whole.boxed()
    }

    fn change(&self, change: Change) -> BoxFuture<'static, Result<String, String>> {
        let node = self.node.get().cloned();
        let changed = async move {
            let here = node.ok_or(NOT_BEGUN)?;
            let (steering, deadline) = (here.steering(), Instant::now() + CHANGED_WITHIN);
            match change {
                Change::Move { shard, to } => {
                    steering.move_shard(shard, &to, deadline).await?;
                    Ok(format!("{to} owns shard {shard}"))
                }
                Change::Drain { node: of, by } => steering.drain(&of, &by, deadline).await,
                Change::Undrain { node: of } => steering.undrain(&of, deadline).await,
            }
        };
        changed.boxed()
    }

    fn balance(&self, by: Option<String>) -> BoxFuture<'static, Result<BalancePlan, String>> {
        let node = self.node.get().cloned();
        let told = async move {
            let node = node.ok_or(NOT_BEGUN)?;
            node.steering()
                .balance(by.as_deref(), Instant::now() + CHANGED_WITHIN)
                .await
        };
        told.boxed()
    }

    fn backup(&self, shard: ShardId, ask: ReplicaAsk) -> Backing {
        operations::backup::ask_of(self.node.get().cloned(), shard, ask)
    }

    fn key(&self) -> Option<ClusterKey> {
        Some(self.key.clone())
    }

    fn digest(&self, shard: ShardId, of: Option<NodeId>) -> Digesting {
        let node = self.node.get().cloned();
        match of {
            Some(of) => operations::digest_at(node, shard, of),
            None => operations::digest_of(node, shard),
        }
    }
}

/// What is the same for all nodes of a cluster, given and checked before anything is touched.
struct Given {
    verifier: Verifier,
    cluster_key: ClusterKey,
    servers: Arc<Servers>,
    renewing: Renewing,
    config: node::Config,
}

impl Given {
    fn of(settings: &NodeSettings, secrets: &Secrets) -> Result<Self, String> {
        let verifier = shared_verifier(&settings.auth, secrets.jwt.as_ref())?;
        let cluster_key = cluster_key(secrets)?;
        let servers = Servers::new(settings.redis(secrets)?)?;
        // Connects when it is first used, on the runtime that uses it.
        let by = Servers::new(settings.redis(secrets)?)?;
        let renewing: Renewing = Arc::new(move || RedisLog::new(Arc::clone(&by)));
        Ok(Self {
            verifier,
            cluster_key,
            servers,
            renewing,
            config: settings.node()?,
        })
    }
}

impl NodeProcess {
    async fn start(
        settings: &NodeSettings,
        secrets: &Secrets,
        metrics: PrometheusHandle,
    ) -> Result<Self, String> {
        let given = Given::of(settings, secrets)?;
        let id = node_id(settings.node.node_id.as_ref())?;
        let listeners = listen(settings).await?;
        let addresses = listeners
            .addresses()
            .map_err(|error| format!("{id}: no listener: {error}"))?;
        let operations_listener =
            bind(settings.node.operations_listen, "--operations-listen").await?;
        let stop = CancellationToken::new();
        let watchdog = Watchdog::spawn(stop.clone());
        let store = Watched::new(Arc::new(RedisTable::new(Arc::clone(&given.servers))));
        let subject = Arc::new(NodeSubject {
            id: id.clone(),
            addresses: addresses.clone(),
            store: Arc::clone(&store),
            waiting: Waiting::on("Redis"),
            node: OnceLock::new(),
            draining: AtomicBool::new(false),
            key: given.cluster_key.clone(),
        });
        let told: Arc<dyn Subject> = Arc::<NodeSubject>::clone(&subject);
        let operations = serve_operations(operations_listener, metrics, watchdog.clone(), told)?;
        tracing::info!(node = %id, operations = %operations.address(), "serving operations");
        let lock = FolderLock::take(&settings.node.data)?;
        let mut folder = Folder::open(&settings.node.data, &id)?;
        let wish = Wish {
            shards: settings.cluster.shards,
            adopt_local: settings.node.adopt_local,
        };
        let identity = identify(store.as_ref(), &mut folder, &wish, &subject.waiting).await?;
        if let Some(watch) = given.config.shard.takeover_watch {
            let servers = Arc::clone(&given.servers);
            drop(tokio::spawn(
                async move { suits::tell(&servers, watch).await },
            ));
        }
        subject
            .waiting
            .change("a table", "this node tells where it is".to_owned());
        let table: Arc<dyn TableStore> = store;
        let claimed = Claimed::default();
        // One that cannot be read says nothing here; where it is needed, that is told.
        claimed.add(
            folder
                .last_table()
                .ok()
                .flatten()
                .into_iter()
                .flat_map(|last| last.claimed),
        );
        let placement = Placement {
            store: Arc::clone(&table),
            identity,
            node: id.clone(),
            addresses,
            expected: settings.cluster.expect_nodes.into(),
            replicas: settings.cluster.replicas.into(),
            folder,
            claimed: claimed.clone(),
            waiting: subject.waiting.clone(),
        };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(placement.run()).await });
        let setup = Setup {
            id,
            identity,
            folder: settings.node.data.clone(),
            log: RedisLog::new(given.servers),
            renewing: Some(given.renewing),
            table,
            claimed,
            verifier: given.verifier,
            cluster_key: given.cluster_key,
            clock: Clock::system(),
            watchdog,
            config: given.config,
            first_attempts_max: None,
            beside: Beside::default(),
        };
        let node = Arc::new(Node::begin(setup, lock, listeners, None).await?);
        // Set once: nobody else sets it.
        drop(subject.node.set(Arc::clone(&node)));
        Ok(Self {
            node,
            subject,
            operations,
            ready_file: settings.run.ready_file.clone(),
            stop,
        })
    }

    async fn serve(&self) -> Result<(), String> {
        self.node.open().await?;
        let peer = self.node.addresses().peer.clone();
        let operations = self.operations.address();
        let shards = self.node.table().owned_by(self.node.id()).count();
        tracing::info!(node = %self.node.id(), peer, %operations, shards, "serving");
        self.print(shards);
        let addresses = [("peer", peer), ("operations", operations.to_string())];
        write_ready(self.ready_file.as_deref(), &addresses)
    }

    fn print(&self, shards: usize) {
        let (id, table, addresses) = (self.node.id(), self.node.table(), self.node.addresses());
        output::announce(format!(
            "Rookery's {id} serves {shards} of the {} shards of cluster {}\n  routers and nodes reach it at {}\n  \
             operations: http://{}\n",
            table.identity.shards,
            table.identity.cluster,
            addresses.peer,
            self.operations.address(),
        ));
    }
}

/// Binds the port of a node.
async fn listen(settings: &NodeSettings) -> Result<Listeners, String> {
    let place = &settings.node;
    let peer = bind(place.peer_listen, "--peer-listen").await?;
    let at = peer
        .local_addr()
        .map_err(|error| format!("no port: {error}"))?;
    let told = advertised(place.advertise_peer.as_deref(), at, "--advertise-peer")?;
    let zone = place.zone.clone().unwrap_or_default();
    Ok(Listeners {
        peer,
        advertised: Some(NodeAddresses {
            zone,
            ..NodeAddresses::of_peer(told)
        }),
    })
}

impl Running for NodeProcess {
    async fn carry_on(&self) -> String {
        match self.serve().await {
            Ok(()) => std::future::pending().await,
            Err(why) => why,
        }
    }

    /// Gives the shards away, sends the sessions away over `window`, finishes requests, closes what
    /// nobody took: applied, checkpointed.
    async fn stop(self, window: Duration) {
        self.subject.draining.store(true, Ordering::SeqCst);
        self.node.hand_over(Instant::now() + HAND_OVER_MAX).await;
        let deadline = Instant::now() + STOP_MAX;
        let requests_until = deadline.checked_sub(CLOSE_SHARE).unwrap_or(deadline);
        within(
            requests_until,
            self.node.drain(window, "the node stops"),
            "sessions",
        )
        .await;
        self.node.finish_requests(requests_until).await;
        self.node.close(deadline).await;
        self.stop.cancel();
        drop(self.operations);
    }
}
