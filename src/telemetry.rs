//! Every metric's name, unit and help in one place; nothing else names a metric. Labels are of low cardinality: never a
//! conversation, a user or a session.

use metrics::{Label, counter, gauge, histogram};

/// A number that only grows.
#[derive(Debug, Clone, Copy)]
pub struct Counter(&'static str, &'static str);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(&'static str, &'static str);

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(&'static str, &'static str);

fn labels(of: &[(&'static str, &str)]) -> Vec<Label> {
    of.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

impl Counter {
    /// Adds.
    pub fn add(self, count: u64, with: &[(&'static str, &str)]) {
        counter!(self.0, labels(with)).increment(count);
    }

    /// A handle for a hot path, its labels bound once.
    #[must_use]
    pub fn bind(self, with: &[(&'static str, &str)]) -> metrics::Counter {
        counter!(self.0, labels(with))
    }
}

impl Gauge {
    /// Sets.
    pub fn set(self, value: f64, with: &[(&'static str, &str)]) {
        gauge!(self.0, labels(with)).set(value);
    }

    /// A handle for a hot path, its labels bound once.
    #[must_use]
    pub fn bind(self, with: &[(&'static str, &str)]) -> metrics::Gauge {
        gauge!(self.0, labels(with))
    }
}

impl Histogram {
    /// Records one observation.
    pub fn record(self, value: f64, with: &[(&'static str, &str)]) {
        histogram!(self.0, labels(with)).record(value);
    }

    /// A handle for a hot path, its labels bound once.
    #[must_use]
    pub fn bind(self, with: &[(&'static str, &str)]) -> metrics::Histogram {
        histogram!(self.0, labels(with))
    }
}

macro_rules! metrics_table {
    ($($kind:ident $constant:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: $kind = $kind($name, $help);)*
    };
}

metrics_table! {
    Counter APPEND_OUTCOMES "rookery_shard_appends_total" "Append batches by outcome (appended, already_done, fenced, tail_mismatch, not_written, in_doubt).";
    Histogram APPEND_RECORDS "rookery_shard_append_records" "Records per append batch.";
    Histogram APPEND_SECONDS "rookery_shard_append_seconds" "Time from sealing a batch to its definite answer, in seconds.";
    Counter HEAD_LOOKUPS "rookery_shard_head_lookups_total" "Look-ups of a conversation's head by result (hit, fill).";
    Counter ROUTER_REQUESTS "rookery_router_requests_total" "Requests answered by the router, by route and status.";
    Histogram ROUTER_REQUEST_SECONDS "rookery_router_request_seconds" "Time from a request's head to the head of its answer, by route, in seconds.";
    Counter ROUTER_RETRIES "rookery_router_retries_total" "Attempts that led to another one or to the end of the budget, by why they were none.";
    Gauge ROUTER_HELD_BYTES "rookery_router_held_bytes" "Bytes of requests held in memory until a node has answered.";
    Gauge ROUTER_CONNECTIONS "rookery_router_connections" "Open client connections that are no WebSocket.";
    Gauge ROUTER_SOCKETS "rookery_router_sockets" "WebSocket connections spliced to nodes.";
    Gauge ROUTER_TABLE_VERSION "rookery_router_table_version" "Version of the table that the router follows.";
    Counter ROUTER_TABLE_ERRORS "rookery_router_table_errors_total" "Polls of the table that failed.";
    Counter PUSHES "rookery_shard_pushes_total" "Pushes to subscribed nodes by result (queued, dropped).";
}
