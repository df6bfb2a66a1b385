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
    Gauge HEADS "rookery_shard_heads" "Heads of conversations in memory, by shard.";
    Counter RECEIPTS_SHED "rookery_shard_receipts_shed_total" "Automatic delivered marks dropped because too many waited.";
    Counter ROUTER_REQUESTS "rookery_router_requests_total" "Requests answered by the router, by route and status.";
    Histogram ROUTER_REQUEST_SECONDS "rookery_router_request_seconds" "Time from a request's head to the head of its answer, by route, in seconds.";
    Counter ROUTER_RETRIES "rookery_router_retries_total" "Attempts after the first, by why the one before failed (elsewhere, declined, unreachable, broken, no_table).";
    Gauge ROUTER_HELD_BYTES "rookery_router_held_bytes" "Bytes of requests held in memory until a node has answered.";
    Gauge ROUTER_CONNECTIONS "rookery_router_connections" "Open client connections that are no WebSockets.";
    Gauge ROUTER_SOCKETS "rookery_router_sockets" "WebSockets spliced to nodes.";
    Gauge ROUTER_TABLE_VERSION "rookery_router_table_version" "Version of the table that the router follows.";
    Counter ROUTER_TABLE_ERRORS "rookery_router_table_errors_total" "Polls of the table that failed.";
    Counter PUSHES "rookery_shard_pushes_total" "Pushes to subscribed nodes by result (queued, dropped).";
    Counter LOG_TRANSACTIONS "rookery_log_transactions_total" "Transactions of the embedded log by result (committed, refused, in_doubt).";
    Histogram LOG_TRANSACTION_ENTRIES "rookery_log_transaction_entries" "Entries that one transaction of the embedded log appends.";
    Histogram LOG_TRANSACTION_SECONDS "rookery_log_transaction_seconds" "Time of one transaction of the embedded log with its fsync, in seconds.";
    Gauge LOG_WAL_PAGES "rookery_log_wal_pages" "Pages in the write-ahead file of the embedded log at its last checkpoint.";
    Counter HTTP_REQUESTS "rookery_http_requests_total" "Requests answered by role (node, router), route (the template of the path) and status.";
    Histogram HTTP_REQUEST_SECONDS "rookery_http_request_seconds" "Time from the head of a request to its answer by role and route, in seconds.";
    Counter LINK_ENDS "rookery_link_ends_total" "Open links to owners that ended.";
    Counter LINKS_REFUSED "rookery_link_refused_total" "Connections to the peer port that did not prove the cluster key.";
    Counter LINK_REQUESTS "rookery_link_requests_total" "Requests to other nodes by result (answered, not_owner, not_sent, lost).";
    Counter OUTBOX_ROWS "rookery_outbox_rows_total" "Rows of outboxes delivered to the shards of their users.";
    Counter OUTBOX_RETRIES "rookery_outbox_retries_total" "Deliveries of outbox rows that failed and are tried again.";
    Gauge SESSIONS "rookery_session_live" "Live sessions of this node.";
    Counter SESSION_REFUSED "rookery_session_refused_total" "Sessions refused at the upgrade by reason (token, user_limit, node_limit, draining).";
    Counter SESSION_FRAMES "rookery_session_frames_total" "WebSocket frames by direction (in, out).";
    Counter SESSION_WRITES "rookery_session_writes_total" "Writes to sockets; frames out divided by writes tells how well frames are coalesced.";
    Counter SESSION_SLOW "rookery_session_slow_total" "Sessions closed with 4420 by reason (overflow, stalled).";
    Counter SESSION_PUSHES "rookery_session_pushes_total" "Pushes received from owners by kind (event, watermark, reaction, index, resubscribe).";
    Counter SESSION_ASKS "rookery_session_asks_total" "Requests to owners by kind (subscribe, span, index) and result (ok, failed).";
    Counter SESSION_GAPS "rookery_session_gaps_total" "Gaps told to clients by reason (too_far, replaced, not_participant).";
    Counter SESSION_DELIVERED "rookery_session_delivered_total" "Delivered marks gathered from pongs by result (sent, shed).";
}
