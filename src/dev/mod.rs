//! The one-process cluster: a router and several nodes over the embedded log, with nothing beside
//! it. The router's links to the nodes are within the process; nodes talk to each other over real
//! sockets on the loopback address.
//!
//! Invariants: one process uses a data folder; a folder of another cluster or number of shards is
//! refused before anything is written; a stop takes at most [`STOP_MAX`], after which nothing
//! acknowledged is lost, whatever was left undone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Verifier};
use crate::clock::Clock;
use crate::cluster::table::TableStore;
use crate::cluster::table::embedded::EmbeddedTable;
use crate::config::secrets::{CLUSTER_KEY, JWT_SECRET, Secret, Secrets};
use crate::config::settings::{Settings, TokenSettings};
use crate::dev::nodes::Process;
use crate::ids::ClusterId;
use crate::link;
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::log::embedded::{self, EmbeddedLog};
use crate::node::Node;
use crate::node::folder::FolderLock;
use crate::operations::{Operations, Subject};
use crate::output;
use crate::process::front::Front;
use crate::process::{
    self, CLOSE_SHARE, Running, STOP_MAX, bind, files, serve_operations, within, write_ready,
};
use crate::router::Router;
use crate::router::directory::{self, Directory};
use crate::router::links::{Links, Ways};
use crate::watchdog::Watchdog;

mod example;

mod nodes;

/// The secret of clients' tokens in the data folder.
const JWT_SECRET_FILE: &str = "jwt-secret";

/// Runs the cluster until a signal. `files` is how many files the process may open, if known.
///
/// # Errors
/// One clear line why it could not be started.
pub fn run(settings: &Settings, secrets: Secrets, files: Option<u64>) -> Result<(), String> {
    process::run(&settings.run, files, |metrics| {
        process::live(
            DevCluster::start(settings, secrets, metrics),
            settings.run.drain_window,
        )
    })
}

/// Prints a token.
///
/// # Errors
/// One clear line: there is no secret, or a bad one.
pub fn token(settings: &TokenSettings, secrets: Secrets) -> Result<(), String> {
    let file = settings.data.join(JWT_SECRET_FILE);
    let secret = match secrets.jwt {
        Some(secret) => secret,
        None => files::read_secret(&file)?.ok_or_else(|| {
            format!(
                "no secret: set {JWT_SECRET}, or start once to make {}",
                file.display()
            )
        })?,
    };
    let token = auth::issue(
        secret.expose(),
        &settings.user,
        settings.ttl,
        &Clock::system(),
    )?;
    output::print(&format!("{token}\n"));
    Ok(())
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
    settings: Settings,
    jwt: Secret,
}

impl DevCluster {
    async fn start(
        settings: &Settings,
        secrets: Secrets,
        metrics: PrometheusHandle,
    ) -> Result<Self, String> {
        let dev = &settings.dev;
        let client = bind(dev.listen, "--listen").await?;
        let operations_listener = bind(dev.operations_listen, "--operations-listen").await?;
        let folder = FolderLock::take(&dev.data)?;
        let jwt = files::secret(secrets.jwt, &dev.data.join(JWT_SECRET_FILE))?;
        let stop = CancellationToken::new();
        let shared = open_shared(settings, secrets.cluster_key, &jwt, &stop).await?;
        let nodes = nodes::start(settings, &shared).await?;
        let router = start_router(settings, &shared, &nodes, &stop).await?;
        let front = Front::serve(router.clone(), client, shared.watchdog.clone())?;
        let running = Arc::new(Process::new(nodes, router, shared.cluster_key));
        let subject: Arc<dyn Subject> = Arc::<Process>::clone(&running);
        let operations = serve_operations(
            operations_listener,
            metrics,
            shared.watchdog.clone(),
            subject,
        )?;
        let (settings, log) = (settings.clone(), shared.log);
        Ok(Self {
            process: running,
            front,
            log,
            operations,
            folder,
            stop,
            settings,
            jwt,
        })
    }

    /// Tells that it serves: log line, ready file, example.
    fn announce(&self) -> Result<(), String> {
        let (client, operations) = (self.front.address(), self.operations.address());
        tracing::info!(%client, %operations, nodes = self.settings.dev.nodes, "serving");
        example::print(client, operations, &self.jwt)?;
        let addresses = [
            ("client", client.to_string()),
            ("operations", operations.to_string()),
        ];
        write_ready(self.settings.run.ready_file.as_deref(), &addresses)
    }
}

impl Running for DevCluster {
    async fn carry_on(&self) -> String {
        match self.announce() {
            Ok(()) => std::future::pending().await,
            Err(why) => why,
        }
    }

    /// Takes no more requests, sends the sessions away over `window`, finishes what is begun,
    /// applies, checkpoints.
    async fn stop(self, window: Duration) {
        let deadline = Instant::now() + STOP_MAX;
        let requests_until = deadline.checked_sub(CLOSE_SHARE).unwrap_or(deadline);
        self.process.begin_draining();
        let sessions = self
            .process
            .each(move |node| async move { node.drain(window, "the node stops").await });
        let drained = async {
            tokio::join!(self.front.drain(), sessions);
        };
        within(requests_until, drained, "sessions and requests").await;
        self.process
            .each(move |node| async move { node.finish_requests(requests_until).await })
            .await;
        // All shards of all nodes first: an outbox still delivers to another node's shards while
        // its own is closed.
        self.process
            .each(move |node| async move { node.close_shards(deadline).await })
            .await;
        self.process
            .each(move |node| async move { node.close(deadline).await })
            .await;
        self.stop.cancel();
        within(deadline, self.log.close(), "the log").await;
        drop(self.operations);
        self.folder.release();
    }
}

/// The router over the table that the nodes follow; done when it has it.
async fn start_router(
    settings: &Settings,
    shared: &Shared,
    nodes: &[Arc<Node>],
    stop: &CancellationToken,
) -> Result<Router, String> {
    let followed = Directory::follow(
        Arc::clone(&shared.table),
        directory::POLL_EVERY,
        stop.clone(),
    );
    let ways = Ways::Memory(
        nodes
            .iter()
            .map(|node| (node.id().clone(), node.front()))
            .collect(),
    );
    let links = Links::new(ways, followed.clone(), link::Config::front(), stop.clone());
    let router = Router::new(
        settings.router()?,
        followed,
        links,
        Some(shared.verifier.clone()),
    );
    while router.readiness().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(router)
}

async fn open_shared(
    settings: &Settings,
    cluster_key: Option<Secret>,
    jwt: &Secret,
    stop: &CancellationToken,
) -> Result<Shared, String> {
    let data = &settings.dev.data;
    let cluster_key = files::secret(cluster_key, &data.join(files::CLUSTER_KEY))?;
    let cluster_key = ClusterKey::new(cluster_key.expose().as_bytes());
    let cluster_key = cluster_key.map_err(|error| format!("{CLUSTER_KEY}: {error}"))?;
    let verifier = Verifier::new(settings.auth.config(Some(jwt)), Clock::system())?;
    let folder = data.join(files::LOG);
    if embedded::former::take_over(&data.join(files::FORMER_LOG), &folder).await? {
        tracing::info!(folder = %folder.display(), "took over the log of a former version");
    }
    let log = EmbeddedLog::open(&folder).await?;
    let table: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
    let identity = identify(table.as_ref(), settings.dev.shards, data).await?;
    let watchdog = Watchdog::spawn(stop.clone());
    Ok(Shared {
        identity,
        log,
        table,
        verifier,
        cluster_key,
        watchdog,
    })
}

/// The identity of the data folder's cluster, created if it is new.
async fn identify(table: &dyn TableStore, shards: u32, data: &Path) -> Result<Identity, String> {
    let found = match table.identity().await.map_err(|e| e.to_string())? {
        Some(found) => found,
        None => {
            let new = Identity {
                cluster: ClusterId::random(),
                shards,
            };
            table.create(new).await.map_err(|e| e.to_string())?
        }
    };
    if found.shards != shards {
        let (data, made) = (data.display(), found.shards);
        return Err(format!(
            "data folder {data} was made with {made} shards, not {shards}; give --shards {made} or \
             another --data"
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::cluster::table::{NodeAddresses, Table, TableError};
    use crate::ids::NodeId;

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

        async fn register(
            &self,
            _node: &NodeId,
            _addresses: &NodeAddresses,
        ) -> Result<(), TableError> {
            Ok(())
        }

        async fn lead(&self, _node: &NodeId, _life: Duration) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn nodes(
            &self,
        ) -> Result<std::collections::BTreeMap<NodeId, NodeAddresses>, TableError> {
            Ok(std::collections::BTreeMap::new())
        }
    }

    #[tokio::test]
    async fn another_number_of_shards_than_the_folder_was_made_with_is_refused_in_one_line() {
        let table = MemoryTable::default();
        let made = identify(&table, 16, Path::new("data")).await.expect("new");
        assert_eq!(identify(&table, 16, Path::new("data")).await, Ok(made));
        let refused = identify(&table, 32, Path::new("data"))
            .await
            .expect_err("another S");
        assert!(
            refused.contains("was made with 16 shards, not 32") && !refused.contains('\n'),
            "{refused}"
        );
    }
}
