//! The life of `rookery router`: it serves from the start, and is ready when it has seen a table.
//! Redis may come, go and come back: the last table stands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::table::TableStore;
use crate::cluster::table::redis::RedisTable;
use crate::cluster::waiting::{Waiting, Watched};
use crate::config::cluster::RouterSettings;
use crate::config::secrets::Secrets;
use crate::link;
use crate::log::redis::servers::Servers;
use crate::operations::{Cluster, Operations, Subject};
use crate::output;
use crate::process::front::Front;
use crate::process::{
    self, Running, STOP_MAX, bind, cluster_key, serve_operations, shared_verifier, within,
    write_ready,
};
use crate::router::Router;
use crate::router::directory::{self, Directory};
use crate::router::links::{Links, Ways};
use crate::watchdog::Watchdog;

/// How often a router without a table looks whether it has one.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs a router until a signal. `files` is how many files the process may open, if known.
///
/// # Errors
/// One clear line why it could not be started.
pub fn run(settings: &RouterSettings, secrets: &Secrets, files: Option<u64>) -> Result<(), String> {
    process::run(&settings.run, files, |metrics| {
        process::live(
            RouterProcess::start(settings, secrets, metrics),
            settings.run.drain_window,
        )
    })
}

struct RouterProcess {
    front: Front,
    subject: Arc<RouterSubject>,
    operations: Operations,
    ready_file: Option<PathBuf>,
    stop: CancellationToken,
}

/// The router as its operations port tells it.
struct RouterSubject {
    router: Router,
    directory: Directory,
    store: Arc<Watched>,
}

impl std::fmt::Debug for RouterSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterSubject")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Subject for RouterSubject {
    /// A router that has a table routes by it, whether or not Redis answers: reads go on, and
    /// sockets stay.
    fn ready(&self) -> Result<(), String> {
        self.router
            .readiness()
            .map_err(|why| match self.store.failure() {
                Some(failure) if self.directory.table().is_none() => {
                    format!("{why}: Redis: {failure}")
                }
                _ => why.to_owned(),
            })
    }

    fn cluster(&self) -> Cluster {
        Cluster::of(
            self.directory.table().as_deref(),
            std::collections::BTreeMap::new(),
            &[],
        )
    }
}

impl RouterProcess {
    async fn start(
        settings: &RouterSettings,
        secrets: &Secrets,
        metrics: PrometheusHandle,
    ) -> Result<Self, String> {
        let verifier = shared_verifier(&settings.auth, secrets.jwt.as_ref())?;
        let key = cluster_key(secrets)?;
        let servers = Servers::new(settings.redis(secrets)?)?;
        let config = settings.router()?;
        let client = bind(settings.router.listen, "--listen").await?;
        let operations_listener =
            bind(settings.router.operations_listen, "--operations-listen").await?;
        let stop = CancellationToken::new();

        let watchdog = Watchdog::spawn(stop.clone());
        let store = Watched::new(Arc::new(RedisTable::new(servers)));
        let followed: Arc<dyn TableStore> = Arc::<Watched>::clone(&store);
        let directory = Directory::follow(followed, directory::POLL_EVERY, stop.clone());

        let links = Links::new(
            Ways::Sockets(key),
            directory.clone(),
            link::Config::front(),
            stop.clone(),
        );
        let router = Router::new(config, directory.clone(), links, Some(verifier));
        let front = Front::serve(router.clone(), client, watchdog.clone())?;

        let subject = Arc::new(RouterSubject {
            router,
            directory,
            store,
        });
        let told: Arc<dyn Subject> = Arc::<RouterSubject>::clone(&subject);
        let operations = serve_operations(operations_listener, metrics, watchdog, told)?;
        tracing::info!(operations = %operations.address(), "serving operations");
        Ok(Self {
            front,
            subject,
            operations,
            ready_file: settings.run.ready_file.clone(),
            stop,
        })
    }

    async fn serve(&self) -> Result<(), String> {
        let waiting = Waiting::on("a table");
        while self.subject.directory.table().is_none() {
            let failure = self
                .subject
                .store
                .failure()
                .unwrap_or_else(|| "no node has written one yet".to_owned());
            waiting.change("a table", failure);
            tokio::time::sleep(LOOK_EVERY).await;
        }

        let (client, operations) = (self.front.address(), self.operations.address());
        tracing::info!(%client, %operations, "serving");
        self.print();
        let addresses = [
            ("client", client.to_string()),
            ("operations", operations.to_string()),
        ];
        write_ready(self.ready_file.as_deref(), &addresses)
    }

    fn print(&self) {
        let Some(table) = self.subject.directory.table() else {
            return;
        };
        output::announce(format!(
            "Rookery's router serves clients on http://{}\n  operations: http://{}\n  cluster {}: \
             {} shards on {} nodes\n",
            self.front.address(),
            self.operations.address(),
            table.identity.cluster,
            table.identity.shards,
            table.nodes.len(),
        ));
    }
}

impl Running for RouterProcess {
    async fn carry_on(&self) -> String {
        match self.serve().await {
            Ok(()) => std::future::pending().await,
            Err(why) => why,
        }
    }

    /// Takes no more connections, finishes requests, and tells the clients of sockets over the
    /// window when to come back, before each is closed.
    async fn stop(self, _window: Duration) {
        within(
            Instant::now() + STOP_MAX,
            self.front.drain(),
            "requests and sockets",
        )
        .await;
        self.stop.cancel();
        drop(self.operations);
    }
}
