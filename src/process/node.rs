//! The life of `rookery node`: the operations port from the first second; then lock, cluster,
//! table, shards, each waited for as long as it takes, and told; then serving, until a signal.
//!
//! What can never come right by waiting (another cluster's folder or log, another number of shards)
//! ends the process with one clear line. Redis gone is no such thing, neither at the start nor
//! later; nor is one shard that is refused: the others are served, and log, `/readyz` and
//! `/cluster` name it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

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
use crate::ids::NodeId;
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::log::redis::servers::Servers;
use crate::log::redis::{RedisLog, suits};
use crate::node::folder::FolderLock;
use crate::node::{self, Beside, Listeners, Node, Renewing, Setup};
use crate::operations::{Operations, Subject};
use crate::output;
use crate::process::advertise::{advertised, node_id};
use crate::process::subject::NodeSubject;
use crate::process::{
    self, CLOSE_SHARE, Running, STOP_MAX, bind, cluster_key, serve_operations, shared_verifier,
    within, write_ready,
};
use crate::watchdog::Watchdog;

/// A node that stops gives its shards away for so long at most, before everything else that a stop
/// does. On a machine at its speed 90 shards take 2 s; on one with three times the work that it has
/// processors for, one takes up to 0.3 s, and what is left is unwritten until it is taken over.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(30);

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

    /// What a node is started with.
    fn setup(
        self,
        id: NodeId,
        identity: Identity,
        (settings, table, claimed): (&NodeSettings, Arc<dyn TableStore>, Claimed),
        watchdog: Watchdog,
    ) -> Setup {
        Setup {
            id,
            identity,
            folder: settings.node.data.clone(),
            log: RedisLog::new(self.servers),
            renewing: Some(self.renewing),
            table,
            claimed,
            verifier: self.verifier,
            cluster_key: self.cluster_key,
            clock: Clock::system(),
            watchdog,
            config: self.config,
            first_attempts_max: None,
            beside: Beside::default(),
        }
    }
}

/// Looks in the background whether the servers of the log are set as takeovers need them, and tells
/// what is not.
fn tell_unsuited(given: &Given) {
    if let Some(watch) = given.config.shard.takeover_watch {
        let servers = Arc::clone(&given.servers);
        drop(tokio::spawn(
            async move { suits::tell(&servers, watch).await },
        ));
    }
}

/// The claims that the last table knew. One that cannot be read says nothing here; where it is
/// needed, that is told.
fn claimed_in(folder: &Folder) -> Claimed {
    let claimed = Claimed::default();
    claimed.add(
        folder
            .last_table()
            .ok()
            .flatten()
            .into_iter()
            .flat_map(|last| last.claimed),
    );
    claimed
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
        tell_unsuited(&given);
        subject
            .waiting
            .change("a table", "this node tells where it is".to_owned());
        let claimed = claimed_in(&folder);
        let placement = Placement {
            store: Arc::<Watched>::clone(&store),
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

        let setup = given.setup(id, identity, (settings, store, claimed), watchdog);
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
