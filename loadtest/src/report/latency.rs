//! Latencies as a report tells them.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::figures::float;

/// Where a distribution is told, in nines: 0, 50 %, 75 %, … 99.999 %.
const QUANTILES: [f64; 16] = [
    0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 0.99995,
    0.99999, 1.0,
];

/// Latencies in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    /// How many were measured.
    pub(crate) count: u64,
    /// Mean.
    pub(crate) mean_ms: f64,
    /// Half of them were at most this.
    pub(crate) p50_ms: f64,
    /// 90 %.
    pub(crate) p90_ms: f64,
    /// 99 %.
    pub(crate) p99_ms: f64,
    /// 99.9 %.
    pub(crate) p99_9_ms: f64,
    /// All.
    pub(crate) max_ms: f64,
}

/// One point of a distribution.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantile {
    /// Share of all values, 0 to 1.
    pub(crate) share: f64,
    /// That share was at most this.
    pub(crate) ms: f64,
}

/// Distributions of latencies.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Distribution {
    /// From the moment a send was due to its answer.
    pub(crate) post: Vec<Quantile>,
    /// From the moment a send was due to its delivery to a session.
    pub(crate) deliver: Vec<Quantile>,
}

impl Latency {
    /// Of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p99_9_ms: at(0.999),
            max_ms: milliseconds(histogram.max()),
        }
    }
}

/// The points of a distribution that its number of values can tell.
pub(crate) fn distribution(histogram: &Histogram<u64>) -> Vec<Quantile> {
    let count = float(histogram.len());
    let told = |share: &&f64| **share >= 1.0 || (1.0 - **share) * count >= 1.0;
    let point = |share: &f64| Quantile {
        share: *share,
        ms: milliseconds(histogram.value_at_quantile(*share)),
    };
    if histogram.is_empty() {
        Vec::new()
    } else {
        QUANTILES.iter().filter(told).map(point).collect()
    }
}

fn milliseconds(micros: u64) -> f64 {
    float(micros) / 1e3
}
