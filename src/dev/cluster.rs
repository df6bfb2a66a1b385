//! The running cluster: its start, what it tells when it serves, and its stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::config::secrets::{Secret, Secrets};
use crate::config::settings::Settings;
use crate::dev::nodes::Process;
use crate::dev::shared::{Shared, open_shared};
use crate::dev::token::JWT_SECRET_FILE;
use crate::dev::{example, nodes};
use crate::link;
use crate::log::embedded::EmbeddedLog;
use crate::node::Node;
use crate::node::folder::FolderLock;
use crate::operations::{Operations, Subject};
use crate::process::front::Front;
use crate::process::{
    self, CLOSE_SHARE, Running, STOP_MAX, bind, files, serve_operations, within, write_ready,
};
use crate::router::Router;
use crate::router::directory::{self, Directory};
use crate::router::links::{Links, Ways};

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
