//! The life of a process: logs, metrics and runtime, the start, and the stop that a signal asks
//! for.

use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::run::RunSettings;
use crate::output::Log;
use crate::process::signals::Signals;
use crate::telemetry;

/// A stop takes at most this long, the drain window within it.
pub const STOP_MAX: Duration = Duration::from_secs(9);

/// What is kept of that for closing the shards.
pub(crate) const CLOSE_SHARE: Duration = Duration::from_secs(3);

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
