//! The one-process cluster: a router and several nodes over the embedded log, with nothing beside it. Router, nodes and
//! links talk over real sockets on the loopback address, as they would between machines.
//!
//! Invariants: one process uses a data folder; a folder of another cluster or number of shards is refused before anything
//! is written; a stop takes at most [`STOP_MAX`], after which nothing acknowledged is lost, whatever was left undone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Verifier};
use crate::clock::Clock;
use crate::config::{CLUSTER_KEY, JWT_SECRET, Secret, Secrets, Settings, TokenSettings};
use crate::files;
use crate::ids::{ClusterId, NodeId, UserId};
use crate::node::folder::FolderLock;
use crate::node::table::{NodeAddresses, Table, TableStore};
use crate::node::watchdog::Watchdog;
use crate::node::{self, Listeners, Node, Setup};
use crate::operations::{self, Cluster, ClusterNode, Operations, Subject};
use crate::shard::log::{Identity, ShardLog};
use crate::telemetry;

/// A stop takes at most this long, the drain window within it.
pub const STOP_MAX: Duration = Duration::from_secs(9);

/// Of that, kept for closing the shards.
const CLOSE_SHARE: Duration = Duration::from_secs(3);

/// Longest wait until all nodes are registered.
const REGISTER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Exit code of a process that a second signal ends at once.
const EXIT_INTERRUPTED: i32 = 130;

/// Files of the data folder.
const LOG_FILE: &str = "log.sqlite";
const JWT_SECRET_FILE: &str = "jwt-secret";
const CLUSTER_KEY_FILE: &str = "cluster-key";

/// Shortest cluster key, in bytes.
const CLUSTER_KEY_BYTES_MIN: usize = 32;

/// Runs the cluster until a signal. `files` is how many files the process may open, if known.
///
/// # Errors
/// One clear line why it could not be started.
pub fn run(settings: &Settings, secrets: Secrets, files: Option<u64>) -> Result<(), String> {
    telemetry::start_logs(settings.process.log_format, &settings.process.log_level).map_err(|e| e.to_string())?;
    let metrics = telemetry::install().map_err(|e| e.to_string())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), files, "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let outcome = runtime.block_on(live(settings, secrets, metrics));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Prints a token.
///
/// # Errors
/// One clear line: there is no secret, or a bad one.
#[expect(clippy::print_stdout, reason = "the token is what the command is asked for")]
pub fn token(settings: &TokenSettings, secrets: Secrets) -> Result<(), String> {
    let file = settings.data.join(JWT_SECRET_FILE);
    let secret = match secrets.jwt {
        Some(secret) => secret,
        None => files::read_secret(&file)?
            .ok_or_else(|| format!("no secret: set {JWT_SECRET}, or start once to make {}", file.display()))?,
    };
    println!("{}", auth::issue(secret.expose(), &settings.user, settings.ttl, &Clock::system())?);
    Ok(())
}

async fn live(settings: &Settings, secrets: Secrets, metrics: PrometheusHandle) -> Result<(), String> {
    let mut signals = Signals::new()?;
    let cluster = tokio::select! {
        started = DevCluster::start(settings, secrets, metrics) => started?,
        // Nothing was acknowledged yet that is not in the log.
        () = signals.next() => return Ok(()),
    };
    signals.next().await;
    tracing::info!(window = ?settings.process.drain_window, "stopping");
    tokio::select! {
        () = cluster.stop(settings.process.drain_window) => {}
        () = signals.next() => std::process::exit(EXIT_INTERRUPTED),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Signals that ask for a stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let wait = |kind| signal(kind).map_err(|error| format!("no signals: {error}"));
        Ok(Self { terminate: wait(SignalKind::terminate())?, interrupt: wait(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What the router and all nodes share.
struct Shared {
    identity: Identity,
    log: Arc<dyn ShardLog>,
    table: Arc<dyn TableStore>,
    verifier: Verifier,
    cluster_key: Arc<str>,
    watchdog: Watchdog,
}

/// The running cluster.
struct DevCluster {
    process: Arc<Process>,
    router: joints::Router,
    operations: Operations,
    folder: FolderLock,
    stop: CancellationToken,
}

impl DevCluster {
    async fn start(settings: &Settings, secrets: Secrets, metrics: PrometheusHandle) -> Result<Self, String> {
        let process = &settings.process;
        let client = bind(process.listen, "--listen").await?;
        let operations_listener = bind(process.operations_listen, "--operations-listen").await?;
        let folder = FolderLock::take(&process.data)?;
        let jwt = files::secret(secrets.jwt, &process.data.join(JWT_SECRET_FILE))?;
        let stop = CancellationToken::new();
        let shared = open_shared(settings, secrets.cluster_key, &jwt, &stop).await?;
        let nodes = start_nodes(settings, &shared).await?;
        let router = joints::Router::start(settings, &shared, client, &stop).await?;
        let running = Arc::new(Process { nodes, draining: AtomicBool::new(false) });
        let subject: Arc<dyn Subject> = running.clone();
        let setup = operations::Setup { metrics, watchdog: shared.watchdog.clone(), subject };
        let unpolled = operations_listener.into_std().map_err(|error| format!("operations port: {error}"))?;
        let operations = Operations::serve(unpolled, setup)?;
        telemetry::BUILD_INFO.set(1.0, &[("version", env!("CARGO_PKG_VERSION"))]);
        let started = Self { process: running, router, operations, folder, stop };
        started.announce(settings, &jwt)?;
        Ok(started)
    }

    /// Tells that it serves: log line, ready file, example.
    fn announce(&self, settings: &Settings, jwt: &Secret) -> Result<(), String> {
        let (client, operations) = (self.router.address(), self.operations.address());
        tracing::info!(%client, %operations, nodes = self.process.nodes.len(), "serving");
        print_example(client, operations, jwt)?;
        if let Some(path) = &settings.process.ready_file {
            let ready = serde_json::json!({
                "client": client.to_string(), "operations": operations.to_string(), "pid": std::process::id(),
            });
            files::write_whole(path, ready.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Takes no more requests, sends the sessions away over `window`, finishes what is begun, applies, checkpoints.
    async fn stop(self, window: Duration) {
        let deadline = Instant::now() + STOP_MAX;
        let requests_until = deadline.checked_sub(CLOSE_SHARE).unwrap_or(deadline);
        self.process.draining.store(true, Ordering::SeqCst);
        let sessions = self.process.each(move |node| async move { node.drain(window, "the node stops").await });
        let drained = async { tokio::join!(self.router.drain(window), sessions) };
        if tokio::time::timeout_at(requests_until.into(), drained).await.is_err() {
            tracing::warn!("not every session and request was finished in time");
        }
        self.process.each(move |node| async move { node.finish_requests(requests_until).await }).await;
        // All shards of all nodes first: an outbox still delivers to another node's shards while its own is closed.
        self.process.each(move |node| async move { node.close_shards(deadline).await }).await;
        self.process.each(move |node| async move { node.close(deadline).await }).await;
        self.stop.cancel();
        drop(self.operations);
        self.folder.release();
    }
}

/// The nodes of this process, as its operations port tells them.
#[derive(Debug)]
struct Process {
    nodes: Vec<Arc<Node>>,
    draining: AtomicBool,
}

impl Process {
    /// Does something with all nodes side by side.
    async fn each<F, T>(&self, act: F)
    where
        F: Fn(Arc<Node>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut acts: JoinSet<()> = self.nodes.iter().cloned().map(act).collect();
        while acts.join_next().await.is_some() {}
    }
}

impl Subject for Process {
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        match self.nodes.iter().find(|node| !node.ready()) {
            Some(node) => Err(format!("{} is not ready", node.id())),
            None => Ok(()),
        }
    }

    fn cluster(&self) -> Cluster {
        let told = |node: &Arc<Node>| {
            let NodeAddresses { http, peer } = node.addresses().clone();
            let told = ClusterNode { http, peer, sessions: Some(node.sessions()), ready: Some(node.ready()) };
            (node.id().clone(), told)
        };
        let table = self.nodes.iter().map(|node| node.table()).max_by_key(|table| table.version);
        let statuses: Vec<_> = self.nodes.iter().flat_map(|node| node.statuses()).collect();
        Cluster::of(table.as_deref(), self.nodes.iter().map(told).collect(), &statuses)
    }
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}; choose another address with {flag}"))
}

async fn open_shared(
    settings: &Settings,
    cluster_key: Option<Secret>,
    jwt: &Secret,
    stop: &CancellationToken,
) -> Result<Shared, String> {
    let data = &settings.process.data;
    let cluster_key = files::secret(cluster_key, &data.join(CLUSTER_KEY_FILE))?;
    if cluster_key.expose().len() < CLUSTER_KEY_BYTES_MIN {
        return Err(format!("{CLUSTER_KEY} is shorter than {CLUSTER_KEY_BYTES_MIN} bytes"));
    }
    let verifier = Verifier::new(settings.auth(jwt), Clock::system())?;
    let (log, table) = joints::open_stores(&data.join(LOG_FILE)).await?;
    let identity = identify(table.as_ref(), settings.process.shards, data).await?;
    let cluster_key = Arc::from(cluster_key.expose());
    let watchdog = Watchdog::spawn(stop.clone());
    Ok(Shared { identity, log, table, verifier, cluster_key, watchdog })
}

/// The identity of the data folder's cluster, created if it is new.
async fn identify(table: &dyn TableStore, shards: u32, data: &Path) -> Result<Identity, String> {
    let found = match table.identity().await.map_err(|e| e.to_string())? {
        Some(found) => found,
        None => {
            let new = Identity { cluster: ClusterId::random(), shards };
            table.create(new).await.map_err(|e| e.to_string())?
        }
    };
    if found.shards != shards {
        let (data, made) = (data.display(), found.shards);
        return Err(format!(
            "data folder {data} was made with {made} shards, not {shards}; give --shards {made} or another --data"
        ));
    }
    Ok(found)
}

async fn start_nodes(settings: &Settings, shared: &Shared) -> Result<Vec<Arc<Node>>, String> {
    let config = node::Config {
        session: settings.session(),
        shard: settings.shard(),
        requests_per_second: settings.client.requests_per_second,
        request_burst: settings.client.request_burst,
    };
    let mut expected = BTreeMap::new();
    let mut starting = JoinSet::new();
    for number in 1..=settings.process.nodes {
        let name = format!("node-{number}");
        let listeners = Listeners::bind(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
        let addresses = listeners.addresses().map_err(|error| format!("{name}: no listener: {error}"))?;
        let setup = Setup {
            id: NodeId::from(name.as_str()),
            identity: shared.identity,
            folder: settings.process.data.join(&name),
            log: Arc::clone(&shared.log),
            table: Arc::clone(&shared.table),
            verifier: shared.verifier.clone(),
            cluster_key: Arc::clone(&shared.cluster_key),
            clock: Clock::system(),
            watchdog: shared.watchdog.clone(),
            config: config.clone(),
        };
        expected.insert(setup.id.clone(), addresses);
        starting.spawn(Node::start(setup, listeners));
    }
    // Nodes wait for the table; the table waits for the nodes to register. A node that cannot start ends both.
    let placed = place(shared.table.as_ref(), shared.identity, &expected);
    let mut nodes = Vec::new();
    let started = async {
        while let Some(started) = starting.join_next().await {
            nodes.push(Arc::new(started.map_err(|error| format!("a node ended: {error}"))??));
        }
        Ok::<_, String>(())
    };
    tokio::try_join!(placed, started)?;
    nodes.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(nodes)
}

/// Waits until all nodes are registered, then writes the first table, or the next one with their present addresses.
async fn place(
    store: &dyn TableStore,
    identity: Identity,
    expected: &BTreeMap<NodeId, NodeAddresses>,
) -> Result<(), String> {
    let registered = async {
        loop {
            let nodes = store.nodes().await.map_err(|e| e.to_string())?;
            if expected.iter().all(|(id, addresses)| nodes.get(id) == Some(addresses)) {
                return Ok::<_, String>(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seconds = REGISTER_WAIT_MAX.as_secs();
    let waited = tokio::time::timeout(REGISTER_WAIT_MAX, registered).await;
    waited.map_err(|_late| format!("not all nodes registered within {seconds} s"))??;
    let current = store.load().await.map_err(|e| e.to_string())?;
    let next = match &current {
        None => joints::first_table(identity, expected),
        Some(current) => next_table(current, expected)?,
    };
    let version = current.map_or(0, |table| table.version);
    match store.swap(version, next).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("another process writes the table of this data folder".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The same rows, with the nodes where they are now.
fn next_table(current: &Table, nodes: &BTreeMap<NodeId, NodeAddresses>) -> Result<Table, String> {
    let mut owners = current.rows.iter().flatten();
    if let Some(missing) = owners.find(|owner| !nodes.contains_key(owner)) {
        return Err(format!(
            "{missing} owns shards of this data folder; give --nodes at least the number it was made with"
        ));
    }
    Ok(Table { version: current.version + 1, nodes: nodes.clone(), ..current.clone() })
}

#[expect(clippy::print_stdout, reason = "the example is for the person who started it, not for the log")]
fn print_example(client: SocketAddr, operations: SocketAddr, jwt: &Secret) -> Result<(), String> {
    let token = |name: &str| {
        let user = UserId::parse(name).map_err(|error| error.to_string())?;
        auth::issue(jwt.expose(), &user, Duration::from_secs(24 * 3600), &Clock::system())
    };
    let (alice, bob) = (token("alice")?, token("bob")?);
    let at = reachable(client);
    println!(
        r#"
Rookery serves on http://{at} (operations: http://{operations}). To try it, paste:

  TOKEN_ALICE={alice}

  # alice creates a conversation with bob, and writes to him
  curl -sS http://{at}/v1/conversations -H "Authorization: Bearer $TOKEN_ALICE" \
    -H 'Content-Type: application/json' -H 'Idempotency-Key: example' -d '{{"name":"example","participants":["bob"]}}'
  curl -sS http://{at}/v1/conversations/example/messages -H "Authorization: Bearer $TOKEN_ALICE" \
    -H 'Content-Type: application/json' -d '{{"text":"hello, bob"}}'

In a second terminal bob reads, live (with npx, or with websocat):

  TOKEN_BOB={bob}
  npx --yes wscat -c ws://{at}/v1/ws -H "Authorization: Bearer $TOKEN_BOB"
  websocat ws://{at}/v1/ws -H "Authorization: Bearer $TOKEN_BOB"

The tokens are good for 24 hours; `rookery token <user>` makes others.
"#
    );
    Ok(())
}

/// An address that this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Where the parts of others are joined; nothing is decided here.
mod joints {
    use super::{Arc, BTreeMap, CancellationToken, Duration, Identity, NodeAddresses, NodeId, Path, Settings};
    use super::{ShardLog, Shared, SocketAddr, Table, TableStore, TcpListener};

    /// Opens the embedded log and the table beside it.
    pub(super) async fn open_stores(path: &Path) -> Result<(Arc<dyn ShardLog>, Arc<dyn TableStore>), String> {
        std::future::ready(()).await;
        Err(format!("{}: not joined yet", path.display()))
    }

    /// The first table, without standbys.
    pub(super) fn first_table(identity: Identity, nodes: &BTreeMap<NodeId, NodeAddresses>) -> Table {
        Table { version: 1, identity, nodes: nodes.clone(), rows: Vec::new() }
    }

    /// The running router.
    pub(super) struct Router {
        address: SocketAddr,
    }

    impl Router {
        /// Starts it on a bound listener.
        pub(super) async fn start(
            settings: &Settings,
            shared: &Shared,
            listener: TcpListener,
            stop: &CancellationToken,
        ) -> Result<Self, String> {
            drop((settings.clone(), Arc::clone(&shared.table), stop.clone()));
            std::future::ready(()).await;
            let address = listener.local_addr().map_err(|error| format!("client port: {error}"))?;
            Ok(Self { address })
        }

        pub(super) fn address(&self) -> SocketAddr {
            self.address
        }

        /// Takes no more connections, finishes requests, cuts spliced sockets over the window.
        pub(super) async fn drain(&self, window: Duration) {
            tokio::time::sleep(window.min(Duration::ZERO)).await;
        }
    }
}
