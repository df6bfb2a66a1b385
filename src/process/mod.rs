//! What every kind of process shares: logs, metrics, runtime, signals, ports, the operations port,
//! the ready file; and the lives of `rookery node` and `rookery router`. The one-process cluster is
//! `dev`.
//!
//! Invariants: a process that cannot start ends with one clear line; the first signal begins a
//! stop, which takes at most [`STOP_MAX`]; the second one ends the process at once.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::config::secrets::{CLUSTER_KEY, JWT_SECRET, Secret, Secrets};
use crate::config::settings::{AuthSettings, RunSettings};
use crate::files::write_whole;
use crate::link::proof::ClusterKey;
use crate::operations::{self, Operations, Subject};
use crate::output::Log;
use crate::telemetry;
use crate::watchdog::Watchdog;

pub mod node;

pub mod router;

pub mod cluster;

pub mod backup;

pub mod restore;

pub mod check;

pub(crate) mod files;

pub(crate) mod front;

mod advertise;
mod subject;

/// A stop takes at most this long, the drain window within it.
pub const STOP_MAX: Duration = Duration::from_secs(9);

/// Of that, kept for closing the shards.
pub(crate) const CLOSE_SHARE: Duration = Duration::from_secs(3);

/// Carries out a command that is no server.
///
/// # Errors
/// One clear line: the system gives no runtime.
pub(crate) fn on_this_thread<T>(command: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Ok(runtime
        .map_err(|error| format!("cannot begin: {error}"))?
        .block_on(command))
}

/// Exit code of a process that a second signal ends at once.
const EXIT_INTERRUPTED: i32 = 130;

/// A process that has begun.
pub(crate) trait Running: Sized {
    /// Finishes what is left of the start, and tells that it serves. Then ends only when the
    /// process cannot go on: with one clear line. Dropped when the process is asked to stop.
    fn carry_on(&self) -> impl Future<Output = String>;

    /// Takes no more work, sends sessions away over `window`, finishes what is begun: within
    /// [`STOP_MAX`].
    fn stop(self, window: Duration) -> impl Future<Output = ()>;
}

/// Runs a process: logs, metrics and runtime around `live`, which is given the metrics. `files` is
/// how many files the process may open, if known.
///
/// # Errors
/// One clear line why it could not be started, or ended.
pub(crate) fn run<L: Future<Output = Result<(), String>>>(
    settings: &RunSettings,
    files: Option<u64>,
    live: impl FnOnce(PrometheusHandle) -> L,
) -> Result<(), String> {
    let log = Log::start(settings.log_format, &settings.log_level)?;
    let metrics = telemetry::install().map_err(|e| e.to_string())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), files, "starting");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.threads {
        runtime.worker_threads(threads.into());
    }
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = live(metrics) => outcome,
            () = log.count_dropped() => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Starts, and goes on until a signal or a failure; then stops.
///
/// # Errors
/// One clear line why it could not be started, or ended.
pub(crate) async fn live<P: Running>(
    starting: impl Future<Output = Result<P, String>>,
    window: Duration,
) -> Result<(), String> {
    let mut signals = Signals::new()?;
    let started = tokio::select! {
        started = starting => Some(started?),
        // Nothing was acknowledged yet that is not in the log.
        () = signals.next() => None,
    };
    let Some(running) = started else {
        tracing::info!("stopped before it served");
        return Ok(());
    };
    let outcome = tokio::select! {
        why = running.carry_on() => Err(why),
        () = signals.next() => Ok(()),
    };
    stop_unless_asked_again(running, window, signals).await;
    outcome
}

async fn stop_unless_asked_again<P: Running>(running: P, window: Duration, mut signals: Signals) {
    tracing::info!(?window, "stopping");
    let impatient = async {
        signals.next().await;
        std::process::exit(EXIT_INTERRUPTED)
    };
    tokio::select! {
        () = running.stop(window) => tracing::info!("stopped"),
        () = impatient => {}
    }
}

/// Waits for an act until a deadline; then goes on without it, and says so.
pub(crate) async fn within(deadline: Instant, act: impl Future<Output = ()>, late: &'static str) {
    if tokio::time::timeout_at(deadline.into(), act).await.is_err() {
        tracing::warn!(late, "not everything was finished in time");
    }
}

/// Binds a port.
///
/// # Errors
/// One clear line that names the flag.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with {flag}")
    })
}

/// Serves the operations port.
///
/// # Errors
/// One clear line.
pub(crate) fn serve_operations(
    listener: TcpListener,
    metrics: PrometheusHandle,
    watchdog: Watchdog,
    subject: Arc<dyn Subject>,
) -> Result<Operations, String> {
    let unpolled = listener
        .into_std()
        .map_err(|error| format!("operations port: {error}"))?;
    let served = Operations::serve(
        unpolled,
        operations::Setup {
            metrics,
            watchdog,
            subject,
        },
    )?;
    telemetry::BUILD_INFO.set(1.0, &[("version", env!("CARGO_PKG_VERSION"))]);
    Ok(served)
}

/// Writes the ready file, if one is asked for.
///
/// # Errors
/// One clear line.
pub(crate) fn write_ready(file: Option<&Path>, addresses: &[(&str, String)]) -> Result<(), String> {
    let Some(path) = file else { return Ok(()) };
    let mut ready = serde_json::Map::new();
    for (name, address) in addresses {
        ready.insert((*name).to_owned(), address.clone().into());
    }
    ready.insert("pid".to_owned(), std::process::id().into());
    write_whole(
        path,
        serde_json::Value::Object(ready).to_string().as_bytes(),
    )
}

/// Verifies tokens by what all processes of a cluster are given alike.
///
/// # Errors
/// One clear line: neither secret nor JWKS is given, or one that cannot be.
fn shared_verifier(auth: &AuthSettings, secret: Option<&Secret>) -> Result<Verifier, String> {
    if secret.is_none() && auth.jwks.is_none() {
        return Err(format!(
            "no key for the tokens of clients: set {JWT_SECRET} or {JWT_SECRET}_FILE, or give --jwks; the same for all \
             nodes and routers"
        ));
    }
    Verifier::new(auth.config(secret), Clock::system())
}

/// The key by which the processes of a cluster trust each other's links.
///
/// # Errors
/// One clear line: it is not given, or too short.
fn cluster_key(secrets: &Secrets) -> Result<ClusterKey, String> {
    let key = secrets.cluster_key.as_ref().ok_or_else(|| {
        format!("no key for links: set {CLUSTER_KEY} or {CLUSTER_KEY}_FILE, the same for all nodes and routers")
    })?;
    ClusterKey::new(key.expose().as_bytes()).map_err(|error| format!("{CLUSTER_KEY}: {error}"))
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
        Ok(Self {
            terminate: wait(SignalKind::terminate())?,
            interrupt: wait(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_in_one_line_that_names_the_flag() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen")
            .await
            .expect("a free port");
        let address = taken.local_addr().expect("bound");
        let refused = bind(address, "--listen").await.expect_err("taken");
        assert!(
            refused.contains(&address.to_string()) && refused.contains("--listen"),
            "{refused}"
        );
        assert!(!refused.contains('\n'), "{refused}");
    }
}
