//! Every metric's name, unit and help in one place; nothing else names a metric. Labels are of low
//! cardinality: never a conversation, a user or a session.
//!
//! Names are `rookery_<layer>_<noun>_<unit or total>`, in base units. `docs/metrics.md` is
//! generated from this file.

use metrics::Unit;

use crate::telemetry::handles::{Counter, Gauge, Histogram};

/// What kind of metric a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

#[cfg(test)]
impl Kind {
    /// The word for it in Prometheus text.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric as it is told to the recorder and to the reader of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Described {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
}

impl Described {
    /// The unit that its name ends in; everything else is a count.
    #[must_use]
    pub(crate) fn unit(&self) -> Unit {
        let stem = self.name.strip_suffix("_total").unwrap_or(self.name);
        if stem.ends_with("_seconds") {
            Unit::Seconds
        } else if stem.ends_with("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        }
    }
}

/// Names and values of the labels of one series.
type Labels = &'static [(&'static str, &'static str)];

/// What goes wrong on a node, with the labels and values that it is counted by, in the order of the
/// code that counts.
const FAULTS: &[(Counter, &[Labels])] = &[
    (
        APPEND_OUTCOMES,
        &[
            &[("outcome", "fenced")],
            &[("outcome", "tail_mismatch")],
            &[("outcome", "not_written")],
            &[("outcome", "in_doubt")],
        ],
    ),
    (
        APPEND_RESTORED,
        &[&[("stream", "messages")], &[("stream", "receipts")]],
    ),
    (RECEIPTS_SHED, &[&[]]),
    (PUSHES, &[&[("result", "dropped")]]),
    (LINK_ENDS, &[&[]]),
    (LINKS_REFUSED, &[&[]]),
    (
        LINK_REQUESTS,
        &[&[("result", "unsent")], &[("result", "lost")]],
    ),
    (OUTBOX_RETRIES, &[&[]]),
    (
        LIST_PROOFS,
        &[&[("result", "pending")], &[("result", "unanswered")]],
    ),
    (
        SESSION_REFUSED,
        &[
            &[("reason", "token")],
            &[("reason", "user_limit")],
            &[("reason", "node_limit")],
            &[("reason", "draining")],
        ],
    ),
    (SESSION_BEHIND, &[&[]]),
    (SESSION_COMMANDS_REFUSED, &[&[]]),
    (SESSION_RECEIPTS, &[&[("result", "shed")]]),
    (
        SESSION_GAPS,
        &[
            &[("reason", "too_far")],
            &[("reason", "replaced")],
            &[("reason", "not_participant")],
        ],
    ),
    (SESSION_DELIVERED, &[&[("result", "shed")]]),
    (
        APPLY_FAILURES,
        &[
            &[("stream", "messages"), ("cause", "log")],
            &[("stream", "messages"), ("cause", "sqlite")],
            &[("stream", "receipts"), ("cause", "log")],
            &[("stream", "receipts"), ("cause", "sqlite")],
        ],
    ),
    (
        APPLY_STOPPED,
        &[&[("stream", "messages")], &[("stream", "receipts")]],
    ),
    (
        APPLY_QUARANTINED,
        &[&[("stream", "messages")], &[("stream", "receipts")]],
    ),
    (
        CHECKPOINTS,
        &[&[("result", "held_back")], &[("result", "failed")]],
    ),
    (
        SNAPSHOTS,
        &[
            &[("result", "written")],
            &[("result", "installed")],
            &[("result", "failed")],
        ],
    ),
    (
        REPLICAS_VERIFIED,
        &[&[("result", "equal")], &[("result", "differs")]],
    ),
    (
        TRIMS,
        &[
            &[("stream", "messages"), ("result", "failed")],
            &[("stream", "receipts"), ("result", "failed")],
        ],
    ),
];

/// Puts what can go wrong on a node at 0, before it does. A counter that appears at 1 looks to
/// Prometheus like one that was always 1: no alert would see its first fault.
pub(crate) fn start_node(node: &str) {
    start_outputs();
    start_connections("node");
    for (counter, series) in FAULTS {
        series.iter().for_each(|labels| counter.add(0, labels));
    }

    NODE_REFUSED_SHARDS.set(0.0, &[("node", node)]);
    SHARD_OPEN_FAILURES.add(0, &[("node", node)]);
    TABLE_ERRORS.add(0, &[("node", node)]);
    for result in ["taken", "elsewhere", "refused", "unfit", "failed"] {
        TAKEOVERS.add(0, &[("node", node), ("result", result)]);
    }
    for result in ["given", "unserved", "kept"] {
        HAND_OVERS.add(0, &[("node", node), ("result", result)]);
    }
    for result in ["moved", "kept"] {
        BALANCE_MOVES.add(0, &[("node", node), ("result", result)]);
    }
    for why in ["behind", "diverged", "damaged"] {
        REPLICAS_FAILED.add(0, &[("node", node), ("why", why)]);
    }
    for result in ["taken", "failed"] {
        LEASE_RENEWALS.add(0, &[("node", node), ("result", result)]);
    }
}

/// What every process can fail to write.
fn start_outputs() {
    for output in ["log", "stdout", "stderr"] {
        OUTPUT_UNWRITTEN.add(0, &[("output", output)]);
    }
}

/// The connections of a role's port, and of the operations port of its process.
fn start_connections(of_process: &str) {
    for role in [of_process, "operations"] {
        HTTP_CONNECTIONS_REFUSED.add(0, &[("role", role)]);
        for reason in ["idle", "unused"] {
            HTTP_CONNECTIONS_EVICTED.add(0, &[("role", role), ("reason", reason)]);
        }
    }
}

/// Likewise for a router.
pub(crate) fn start_router() {
    start_outputs();
    start_connections("router");
    ROUTER_TABLE_ERRORS.add(0, &[]);
    ROUTER_SOCKETS_CUT.add(0, &[]);
    for result in ["moved", "refused", "nowhere"] {
        ROUTER_SESSIONS_MOVED.add(0, &[("result", result)]);
    }
    SESSION_SLOW.add(0, &[("reason", "stalled")]);
    SESSION_DELIVERED.add(0, &[("result", "shed")]);
    for why in ["no_table", "elsewhere", "declined", "unreachable", "broken"] {
        ROUTER_RETRIES.add(0, &[("why", why)]);
    }
}

macro_rules! metrics_table {
    ($($kind:ident $constant:ident $name:literal $help:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub(crate) const $constant: $kind = $kind($name);)*

        /// Every metric of the process but those of the operating system.
        pub(crate) const ALL: &[Described] = &[$(Described { kind: Kind::$kind, name: $name, help: $help },)*];
    };
}

metrics_table! {
    Gauge BUILD_INFO "rookery_build_info" "Always 1; the label version says which build runs.";
    Counter OUTPUT_UNWRITTEN "rookery_output_unwritten_total" "What could not be written to an output, by output (log: lines; stdout, stderr: texts): closed, full, or not read.";
    Counter SNAPSHOTS "rookery_snapshots_total" "Snapshots of shards for other nodes and from them by result (written, failed, unread, installed, refused, no_room).";
    Counter SNAPSHOT_BYTES "rookery_snapshots_received_bytes_total" "Bytes of snapshots received from owners.";
    Counter REPLICAS_VERIFIED "rookery_replicas_verified_total" "Standbys compared with their owners by result (equal, differs, apart).";
    Gauge TABLE_VERSION "rookery_table_version" "Version of the table that a node (or the router) follows, by node.";
    Gauge TABLE_SHARDS "rookery_table_shards" "Shards of the cluster as the table tells, by node; all nodes' rookery_node_shards together should be that many.";
    Gauge NODE_SHARDS "rookery_node_shards" "Shards that are open on a node, by node.";
    Gauge NODE_UNPROVEN_SHARDS "rookery_node_unproven_shards" "Shards that are open on a node and whose lease has ended, by node: nothing proves any more that they are its own.";
    Gauge NODE_CUT_OFF "rookery_node_cut_off" "1 while a node is cut off from the log though others reach it, and sends its sessions away, by node.";
    Gauge NODE_DRAINING "rookery_node_draining" "1 while a node is to be taken away for good (`rookery cluster drain`): it gives everything to others and gets nothing, by node.";
    Gauge NODE_REFUSED_SHARDS "rookery_node_refused_shards" "Shards that a node refuses to open, by node: their files do not fit the log, or are damaged. `/readyz` and `/cluster` name each with its reason.";
    Counter SHARD_OPEN_FAILURES "rookery_node_shard_open_failures_total" "Attempts to open a shard that failed, by node.";
    Counter TAKEOVERS "rookery_node_takeovers_total" "Attempts to take over a shard whose owner was silent, by node and result (taken, elsewhere, refused, unfit, failed).";
    Counter HAND_OVERS "rookery_node_hand_overs_total" "Attempts of a node to give a shard that it owns to a standby, by node and result (given; unserved: given, but not served there at once; kept: everything else).";
    Histogram HAND_OVER_SECONDS "rookery_node_hand_over_seconds" "For how long a shard took no write while it was handed over: from when its owner decided nothing more until the new one served, by the node that gave it, in seconds.";
    Counter BALANCE_MOVES "rookery_node_balance_moves_total" "Shards that a node, as the coordinator, had moved to another owner for balance or because a node drains, by node and result (moved, kept).";
    Gauge STANDBYS "rookery_node_standbys" "Shards that a node stands by for and whose log it follows, by node.";
    Counter REPLICAS_FAILED "rookery_node_replicas_failed_total" "Replicas that could not follow the log with the file they had, by node and why (behind, diverged, damaged).";
    Gauge NODE_DISK_AVAILABLE "rookery_node_disk_available_bytes" "Room left on the disk that holds a node's folder, by node.";
    Gauge NODE_DISK_SIZE "rookery_node_disk_size_bytes" "Size of the disk that holds a node's folder, by node.";
    Counter TABLE_ERRORS "rookery_node_table_errors_total" "Registrations and look-ups of the table that failed, by node.";
    Gauge SHARD_COMMITTED_OFFSET "rookery_shard_committed_offset" "Offset of the last committed record, by shard and stream.";
    Gauge SHARD_APPLIED_OFFSET "rookery_shard_applied_offset" "Offset of the last record applied to SQLite, by shard and stream.";
    Gauge SHARD_DURABLE_OFFSET "rookery_shard_durable_offset" "Offset of the last record that a checkpoint made durable, by shard and stream.";
    Gauge SHARD_LAG_RECORDS "rookery_shard_lag_records" "Records committed but not yet applied, by shard.";
    Gauge SHARDS_UNDERREPLICATED "rookery_node_shards_underreplicated" "Shards owned by a node with fewer standbys in sync than there should be (`--replicas`, or as many nodes as the table has), by node.";
    Gauge SHARD_STANDBYS_IN_SYNC "rookery_shard_standbys_in_sync" "Standbys in sync with a shard that is owned here: they reported within 3 s and keep up, by shard.";
    Gauge SHARD_EPOCH "rookery_shard_epoch" "Epoch under which the shard is owned here, by shard; 0 once it has left.";
    Counter LEASE_RENEWALS "rookery_node_lease_renewals_total" "Leases of shards renewed, by node and result (renewed, taken, failed).";
    Gauge SHARD_LEASE_SECONDS "rookery_shard_lease_seconds" "How much longer the read lease holds at the end of a round of renewals, by shard; nothing where it never ends.";
    Counter APPEND_OUTCOMES "rookery_shard_appends_total" "Append batches by outcome (appended, already_done, witnessed, fenced, tail_mismatch, not_written, in_doubt).";
    Counter APPEND_RESTORED "rookery_shard_append_restored_total" "Acknowledged entries that the log lost and that were appended again, by stream.";
    Histogram APPEND_RECORDS "rookery_shard_append_records" "Records per append batch.";
    Histogram APPEND_SECONDS "rookery_shard_append_seconds" "Time from sealing a batch to its definite answer, in seconds.";
    Counter HEAD_LOOKUPS "rookery_shard_head_lookups_total" "Look-ups of a conversation's head by result (hit, fill).";
    Gauge HEADS "rookery_shard_heads" "Heads of conversations in memory, by shard.";
    Gauge HEADS_BYTES "rookery_shard_heads_bytes" "Bytes that heads of conversations take in memory, estimated, by shard.";
    Gauge STREAM_FILL "rookery_shard_stream_fill_ratio" "Part of --stream-cap that the untrimmed log takes, by shard; beyond 1 sends are refused.";
    Gauge SHARD_LOG_FULL "rookery_shard_log_full" "1 while the log has no space for a shard that is owned here, by shard: its writes are refused at once.";
    Gauge SHARD_FILE_FULL "rookery_shard_file_full" "1 while a disk has no space for the file of a shard, by shard: nothing is applied to it.";
    Counter RECEIPTS_SHED "rookery_shard_receipts_shed_total" "Automatic delivered marks dropped because too many waited.";
    Counter ROUTER_REQUESTS "rookery_router_requests_total" "Requests answered by the router, by route, method and status.";
    Histogram ROUTER_REQUEST_SECONDS "rookery_router_request_seconds" "Time from a request's head to the head of its answer, by route and method, in seconds.";
    Counter ROUTER_RETRIES "rookery_router_retries_total" "Attempts that led to another one or to the end of the budget, by why they were none.";
    Gauge ROUTER_HELD_BYTES "rookery_router_held_bytes" "Bytes of requests held in memory until a node has answered.";
    Gauge ROUTER_CONNECTIONS "rookery_router_connections" "Open client connections that are no WebSocket.";
    Gauge ROUTER_SOCKETS "rookery_router_sockets" "WebSocket connections of clients.";
    Counter ROUTER_SOCKETS_CUT "rookery_router_sockets_cut_total" "WebSocket connections closed with 1012 because their session lost its node and no other one went on with it.";
    Counter ROUTER_SESSIONS_MOVED "rookery_router_sessions_moved_total" "Sessions that lost their node, by result (moved: another one goes on with it; refused: its token has ended; nowhere: no node took it within 15 s).";
    Gauge ROUTER_TABLE_VERSION "rookery_router_table_version" "Version of the table that the router follows.";
    Counter ROUTER_TABLE_ERRORS "rookery_router_table_errors_total" "Polls of the table that failed.";
    Counter PUSHES "rookery_shard_pushes_total" "Pushes to subscribed nodes by result (queued, dropped; spared: what may be missing was not pushed, for half of the queue was taken).";
    Counter TYPING "rookery_shard_typing_total" "What clients said of their typing by result (announced, dropped, refused).";
    Gauge USERS_ONLINE "rookery_shard_users_online" "Users that are online, of a shard that is owned here, by shard.";
    Counter SEEN_WRITTEN "rookery_shard_seen_written_total" "Times at which users were seen last, written to the files of shards, on owners and standbys.";
    Counter SEEN_SHED "rookery_shard_seen_shed_total" "Times at which users were seen last that are not written down, because too many waited.";
    Counter LOG_TRANSACTIONS "rookery_log_transactions_total" "Records of the embedded log by result (committed, refused, in_doubt).";
    Histogram LOG_TRANSACTION_ENTRIES "rookery_log_transaction_entries" "Entries that one record of the embedded log appends.";
    Histogram LOG_TRANSACTION_SECONDS "rookery_log_transaction_seconds" "Time that one record of the embedded log takes with its sync, in seconds.";
    Gauge LOG_FILE_BYTES "rookery_log_file_bytes" "Bytes of the files of the embedded log.";
    Counter LOG_REDIS_COMMANDS "rookery_log_redis_commands_total" "Commands sent to Redis by command (append, wait, claim, renew, read, trim, control, slots, other); repetitions by the client library not counted.";
    Counter LOG_REDIS_CONNECTIONS "rookery_log_redis_connections_total" "Attempts to connect to Redis by use (shared, lane, watch).";
    Counter LOG_REDIS_SLOT_READS "rookery_log_redis_slot_reads_total" "Readings of the slots of Redis Cluster by result (read, failed).";
    Counter LOG_REDIS_WAITS_SHORT "rookery_log_redis_waits_short_total" "Append batches that no replica of Redis confirmed in time.";
    Histogram LOG_REDIS_CYCLE_BATCHES "rookery_log_redis_cycle_batches" "Append batches in one pipeline to one Redis master.";
    Histogram LOG_REDIS_CYCLE_SECONDS "rookery_log_redis_cycle_seconds" "Time of one pipeline of appends with its WAIT, in seconds.";
    Counter LOG_CACHE_READS "rookery_log_cache_reads_total" "Reads of the log on Redis by where they were answered from (memory, redis).";
    Counter HTTP_REQUESTS "rookery_http_requests_total" "Requests answered by role (node), route (the template of the path) and status.";
    Histogram HTTP_REQUEST_SECONDS "rookery_http_request_seconds" "Time from the head of a request to its answer by role and route, in seconds.";
    Counter HTTP_CONNECTIONS_EVICTED "rookery_http_connections_evicted_total" "Idle connections closed to make way for new ones, because there were as many as there may be, by role (router, node, operations) and reason (idle: between two requests; unused: no request ever came).";
    Counter HTTP_CONNECTIONS_REFUSED "rookery_http_connections_refused_total" "New connections refused with 503, because there were as many as there may be and none was idle, by role (router, node, operations).";
    Counter LINK_ENDS "rookery_link_ends_total" "Open links to owners that ended.";
    Counter LINKS_REFUSED "rookery_link_refused_total" "Connections to the peer port that did not prove the cluster key.";
    Counter LINK_FRAMES "rookery_link_frames_total" "Frames given to links, each where it is written: requests, answers, pushes, deliveries. Frames within a process are counted where they are taken.";
    Counter LINK_WRITES "rookery_link_writes_total" "Writes of frames to the sockets of links; frames divided by writes tells how well frames are coalesced.";
    Counter LINK_REQUESTS "rookery_link_requests_total" "Requests to other nodes by result (answered, redirected, unsent, lost).";
    Counter LIST_PROOFS "rookery_node_list_proofs_total" "Lists of conversations asked whether they lack nothing, by result (proven; pending: an owner has changes that have not arrived; unanswered: an owner could not say in time); all but the proven are marked stale.";
    Histogram LIST_PROOF_REQUESTS "rookery_node_list_proof_requests" "Requests to owners for one such proof.";
    Counter OUTBOX_ROWS "rookery_outbox_rows_total" "Rows of outboxes delivered to the shards of their users.";
    Counter OUTBOX_RETRIES "rookery_outbox_retries_total" "Deliveries of outbox rows that failed and are tried again.";
    Gauge SESSIONS "rookery_session_live" "Live sessions of all nodes of this process.";
    Counter SESSION_REFUSED "rookery_session_refused_total" "Sessions refused at the upgrade by reason (token, user_limit, node_limit, draining, cut_off).";
    Counter SESSION_FRAMES "rookery_session_frames_total" "WebSocket frames of clients at a router, by direction (in, out).";
    Counter SESSION_WRITES "rookery_session_writes_total" "Writes to clients' sockets at a router; frames out divided by writes tells how well frames are coalesced.";
    Counter SESSION_SLOW "rookery_session_slow_total" "Sessions closed with 4420 by reason (stalled: the socket took nothing).";
    Counter SESSION_BEHIND "rookery_session_behind_total" "Events that found no room in the window of a session or on its link; the session is served by spans since.";
    Counter SESSION_COMMANDS_REFUSED "rookery_session_commands_refused_total" "Commands of sessions refused at once, because their shard does not answer and has its share of the session.";
    Counter SESSION_RECEIPTS "rookery_session_receipts_total" "Receipts that found no room in the window of a session, by result (shed: too many wait).";
    Counter SESSION_PUSHES "rookery_session_pushes_total" "Pushes received from owners by kind (event, watermark, reaction, view, index, typing, presence, resubscribe).";
    Counter SESSION_SPARED "rookery_session_spared_total" "Frames that found no room to spare in the window of a session or on its link, by kind (typing: dropped; presence: told later, in its newest state).";
    Counter SESSION_PRESENCE "rookery_session_presence_turns_total" "Turns in which sessions were told how users are; a turn has at most 256 sessions and one user, or 64 users and one session.";
    Counter SESSION_ASKS "rookery_session_asks_total" "Requests to owners by kind (subscribe, span, index) and result (ok, failed).";
    Counter SESSION_GAPS "rookery_session_gaps_total" "Gaps told to clients by reason (too_far, replaced, not_participant, closed, pruned).";
    Counter SESSION_DELIVERED "rookery_session_delivered_total" "Delivered marks gathered from pongs by result (sent, shed).";
    Histogram APPLY_RECORDS "rookery_shard_apply_records" "Records per apply transaction, by stream.";
    Histogram APPLY_SECONDS "rookery_shard_apply_seconds" "Time of an apply transaction, in seconds, by stream.";
    Counter APPLY_STATEMENTS "rookery_shard_apply_statements_total" "SQL statements by which the log is applied to the files of shards, look-ups for that among them; records applied divided by statements tells how well rows are packed.";
    Counter APPLY_FAILURES "rookery_shard_apply_failures_total" "Rounds of a worker that failed and are tried again, by stream and cause (log, sqlite).";
    Counter APPLY_STOPPED "rookery_shard_apply_stopped_total" "Workers of shards owned here that stopped, because the log does not link to the file and no other replica goes on, by stream.";
    Counter APPLY_QUARANTINED "rookery_shard_apply_quarantined_total" "Records put aside because they could not be applied, by stream.";
    Counter CHECKPOINTS "rookery_shard_checkpoints_total" "Checkpoints of SQLite files by result (complete, held_back, failed).";
    Counter TRIMS "rookery_shard_trims_total" "Trims of the log by stream and result (done, failed).";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::telemetry::recorder::{builder, describe_all};

    /// Units that a gauge or histogram may end in beside nouns that are counted.
    const FOREIGN_UNITS: [&str; 8] = [
        "_ms", "_millis", "_micros", "_us", "_kb", "_mb", "_kib", "_minutes",
    ];

    fn document() -> String {
        let mut text = String::from(
            "# Metrics\n\nServed as Prometheus text by `/metrics` of the operations port. Generated from `src/telemetry`:\n`UPDATE_DOCS=1 cargo test --lib telemetry`.\n\n\
             No label ever holds a conversation, a user or a session. Beside these there are the metrics of the\n\
             process itself (`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and\n\
             the like).\n\n| name | kind | unit | what it tells |\n|---|---|---|---|\n",
        );

        for metric in ALL {
            let unit = match metric.unit() {
                Unit::Seconds => "seconds",
                Unit::Bytes => "bytes",
                _ => "–",
            };
            text.push_str(&format!(
                "| `{}` | {} | {unit} | {} |\n",
                metric.name,
                metric.kind.as_str(),
                metric.help
            ));
        }

        text
    }

    #[test]
    fn every_metric_keeps_the_rules_for_names_and_has_help() {
        let mut seen = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("rookery_"), "{name}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}: counters end in _total"
            );
            assert!(
                !FOREIGN_UNITS.iter().any(|unit| name.ends_with(unit)),
                "{name}: not a base unit"
            );
            assert!(
                metric.help.len() > 10 && metric.help.ends_with('.'),
                "{name}: {}",
                metric.help
            );
            for forbidden in ["conversation", "user", "session_id"] {
                assert!(
                    !metric.help.contains(&format!("by {forbidden}")),
                    "{name}: label of high cardinality"
                );
            }
        }
    }

    #[test]
    fn every_exported_series_has_a_help_and_a_type_line() {
        let recorder = builder().expect("buckets").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe_all();
            for metric in ALL {
                match metric.kind {
                    Kind::Counter => metrics::counter!(metric.name).increment(1),
                    Kind::Gauge => metrics::gauge!(metric.name).set(1.0),
                    Kind::Histogram => metrics::histogram!(metric.name).record(1.0),
                }
            }
        });

        let text = handle.render();
        for metric in ALL {
            assert!(
                text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
                "help of {}",
                metric.name
            );
            assert!(
                text.contains(&format!(
                    "# TYPE {} {}\n",
                    metric.name,
                    metric.kind.as_str()
                )),
                "{}",
                metric.name
            );
            if metric.kind == Kind::Histogram {
                assert!(
                    text.contains(&format!("{}_bucket{{le=", metric.name)),
                    "{} has no buckets",
                    metric.name
                );
            }
        }
    }

    #[test]
    fn what_can_go_wrong_stands_at_zero_from_the_start_and_counts_on_from_there() {
        let recorder = builder().expect("buckets").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            start_node("node-1");
            start_router();
            LINKS_REFUSED.add(1, &[]);
            APPLY_FAILURES.add(1, &[("stream", "messages"), ("cause", "log")]);
            // Another node of the same process.
            start_node("node-2");
        });

        let text = handle.render();
        for line in [
            "rookery_link_refused_total 1",
            "rookery_shard_apply_failures_total{stream=\"messages\",cause=\"log\"} 1",
            "rookery_shard_apply_failures_total{stream=\"messages\",cause=\"sqlite\"} 0",
            "rookery_node_table_errors_total{node=\"node-2\"} 0",
            "rookery_router_retries_total{why=\"no_table\"} 0",
        ] {
            assert_eq!(
                text.lines().filter(|found| *found == line).count(),
                1,
                "{line} in\n{text}"
            );
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "only this test: whether to rewrite the document"
    )]
    fn the_document_of_metrics_is_not_stale() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var("UPDATE_DOCS").is_ok() {
            std::fs::write(&path, document()).expect("docs can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found,
            document(),
            "docs/metrics.md is stale: run UPDATE_DOCS=1 cargo test --lib telemetry"
        );
    }
}
