//! The one-process cluster: a router and several nodes over the embedded log, with nothing beside it. Router, nodes and
//! links talk over real sockets on the loopback address, as they would between machines.
//!
//! Invariants: one process uses a data folder; a folder of another cluster or number of shards is refused before anything
//! is written; a stop takes at most [`STOP_MAX`], after which nothing acknowledged is lost, whatever was left undone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Verifier};
use crate::clock::Clock;
use crate::config::secrets::{CLUSTER_KEY, JWT_SECRET, Secret, Secrets};
use crate::config::settings::{Settings, TokenSettings};
use crate::dev::front::Front;
use crate::dev::nodes::Process;
use crate::ids::ClusterId;
use crate::node::folder::FolderLock;
use crate::node::link::proof::ClusterKey;
use crate::node::table::TableStore;
use crate::node::table::embedded::EmbeddedTable;
use crate::node::watchdog::Watchdog;
use crate::operations::{self, Operations, Subject};
use crate::shard::log::Identity;
use crate::shard::log::embedded::EmbeddedLog;
use crate::telemetry;

mod example;

mod files;

mod front;

mod nodes;

/// A stop takes at most this long, the drain window within it.
pub const STOP_MAX: Duration = Duration::from_secs(9);

/// Of that, kept for closing the shards.
const CLOSE_SHARE: Duration = Duration::from_secs(3);

/// Exit code of a process that a second signal ends at once.
const EXIT_INTERRUPTED: i32 = 130;

/// Files of the data folder.
const LOG_FILE: &str = "log.sqlite";
const JWT_SECRET_FILE: &str = "jwt-secret";
const CLUSTER_KEY_FILE: &str = "cluster-key";

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
    let started = tokio::select! {
        started = DevCluster::start(settings, secrets, metrics) => Some(started?),
        // Nothing was acknowledged yet that is not in the log.
        () = signals.next() => None,
    };
    let Some(cluster) = started else { return Ok(()) };
    signals.next().await;
    stop_unless_asked_again(cluster, settings.process.drain_window, signals).await;
    Ok(())
}

async fn stop_unless_asked_again(cluster: DevCluster, window: Duration, mut signals: Signals) {
    tracing::info!(?window, "stopping");
    let impatient = async {
        signals.next().await;
        std::process::exit(EXIT_INTERRUPTED)
    };
    tokio::select! {
        () = cluster.stop(window) => tracing::info!("stopped"),
        () = impatient => {}
    }
}

/// Waits for an act until a deadline; then goes on without it, and says so.
async fn within(deadline: Instant, act: impl Future<Output = ()>, late: &'static str) {
    if tokio::time::timeout_at(deadline.into(), act).await.is_err() {
        tracing::warn!(late, "not everything was finished in time");
    }
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
    log: Arc<EmbeddedLog>,
    table: Arc<dyn TableStore>,
    verifier: Verifier,
    cluster_key: ClusterKey,
    watchdog: Watchdog,
}

/// The running cluster.
struct DevCluster {
    process: Arc<Process>,
    front: Front,
    log: Arc<EmbeddedLog>,
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
        let nodes = nodes::start(settings, &shared).await?;
        let (front, router) = Front::start(settings, &shared, client, &stop).await?;
        let running = Arc::new(Process::new(nodes, router));
        let subject: Arc<dyn Subject> = Arc::<Process>::clone(&running);
        let setup = operations::Setup { metrics, watchdog: shared.watchdog.clone(), subject };
        let unpolled = operations_listener.into_std().map_err(|error| format!("operations port: {error}"))?;
        let operations = Operations::serve(unpolled, setup)?;
        telemetry::BUILD_INFO.set(1.0, &[("version", env!("CARGO_PKG_VERSION"))]);
        let started = Self { process: running, front, log: shared.log, operations, folder, stop };
        started.announce(settings, &jwt)?;
        Ok(started)
    }

    /// Tells that it serves: log line, ready file, example.
    fn announce(&self, settings: &Settings, jwt: &Secret) -> Result<(), String> {
        let (client, operations) = (self.front.address(), self.operations.address());
        tracing::info!(%client, %operations, nodes = settings.process.nodes, "serving");
        example::print(client, operations, jwt)?;
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
        self.process.begin_draining();
        let sessions = self.process.each(move |node| async move { node.drain(window, "the node stops").await });
        let drained = async {
            tokio::join!(self.front.drain(), sessions);
        };
        within(requests_until, drained, "sessions and requests").await;
        self.process.each(move |node| async move { node.finish_requests(requests_until).await }).await;
        // All shards of all nodes first: an outbox still delivers to another node's shards while its own is closed.
        self.process.each(move |node| async move { node.close_shards(deadline).await }).await;
        self.process.each(move |node| async move { node.close(deadline).await }).await;
        self.stop.cancel();
        within(deadline, self.log.close(), "the log").await;
        drop(self.operations);
        self.folder.release();
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
    let cluster_key = ClusterKey::new(cluster_key.expose().as_bytes());
    let cluster_key = cluster_key.map_err(|error| format!("{CLUSTER_KEY}: {error}"))?;
    let verifier = Verifier::new(settings.auth(jwt), Clock::system())?;
    let log = EmbeddedLog::open(&data.join(LOG_FILE)).await?;
    let table: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
    let identity = identify(table.as_ref(), settings.process.shards, data).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::ids::NodeId;
    use crate::node::table::{NodeAddresses, Table, TableError};

    #[derive(Debug, Default)]
    struct MemoryTable(Mutex<Option<Identity>>);

    #[async_trait]
    impl TableStore for MemoryTable {
        async fn identity(&self) -> Result<Option<Identity>, TableError> {
            Ok(*self.0.lock().expect("unpoisoned"))
        }

        async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
            Ok(*self.0.lock().expect("unpoisoned").get_or_insert(identity))
        }

        async fn load(&self) -> Result<Option<Table>, TableError> {
            Ok(None)
        }

        async fn swap(&self, _expected: u64, _table: Table) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn register(&self, _node: &NodeId, _addresses: &NodeAddresses) -> Result<(), TableError> {
            Ok(())
        }

        async fn nodes(&self) -> Result<std::collections::BTreeMap<NodeId, NodeAddresses>, TableError> {
            Ok(std::collections::BTreeMap::new())
        }
    }

    #[tokio::test]
    async fn another_number_of_shards_than_the_folder_was_made_with_is_refused_in_one_line() {
        let table = MemoryTable::default();
        let made = identify(&table, 16, Path::new("data")).await.expect("new");
        assert_eq!(identify(&table, 16, Path::new("data")).await, Ok(made));
        let refused = identify(&table, 32, Path::new("data")).await.expect_err("another S");
        assert!(refused.contains("was made with 16 shards, not 32") && !refused.contains('\n'), "{refused}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_in_one_line_that_names_the_flag() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").await.expect("a free port");
        let address = taken.local_addr().expect("bound");
        let refused = bind(address, "--listen").await.expect_err("taken");
        assert!(refused.contains(&address.to_string()) && refused.contains("--listen"), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }
}
