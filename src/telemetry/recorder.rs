//! The recorder of metrics of this process, and its set-up.

use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::telemetry::catalog::{ALL, Kind};
use crate::telemetry::handles;

/// Upper bounds of histograms in seconds: from an append to the budget of a request.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of histograms in bytes: from one small frame to an entry of the greatest size.
const BYTES_BUCKETS: [f64; 9] = [
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// Upper bounds of histograms that count things: from one to a full table of a large conversation.
const COUNT_BUCKETS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1000.0, 4000.0, 10_000.0,
];

/// How often the recorder folds what its histograms gathered; without it their memory would grow
/// until the next scrape.
pub(crate) const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why telemetry could not start: one clear line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InstallError(String);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object each.
    Json,
}

/// Installs the recorder of this process and describes every metric. Only the first call of a
/// process can succeed.
///
/// # Errors
/// When the process has a recorder already.
pub(crate) fn install() -> Result<PrometheusHandle, InstallError> {
    let recorder = builder()
        .map_err(|error| InstallError(format!("metrics: {error}")))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_again| {
        InstallError("metrics: this process has a recorder already".to_owned())
    })?;
    handles::keep();
    describe_all();
    Ok(handle)
}

/// Tells the current recorder the help and unit of every metric, those of the process among them.
pub(crate) fn describe_all() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit(), metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit(), metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.unit(), metric.help),
        }
    }
    metrics_process::Collector::default().describe();
}

/// A recorder with the bounds of every histogram.
pub(super) fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .set_buckets(&COUNT_BUCKETS)
}
