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
    Counter PUSHES "rookery_shard_pushes_total" "Pushes to subscribed nodes by result (queued, dropped).";
    Counter LINK_ENDS "rookery_link_ends_total" "Open links to owners that ended.";
    Counter LINKS_REFUSED "rookery_link_refused_total" "Connections to the peer port that did not prove the cluster key.";
    Counter LINK_REQUESTS "rookery_link_requests_total" "Requests to other nodes by result (answered, redirected, unsent, lost).";
    Counter OUTBOX_ROWS "rookery_outbox_rows_total" "Rows of outboxes delivered to the shards of their users.";
    Counter OUTBOX_RETRIES "rookery_outbox_retries_total" "Deliveries of outbox rows that failed and are tried again.";
}
