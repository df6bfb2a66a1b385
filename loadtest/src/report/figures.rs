//! The figures of a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::recorder::{ErrorKey, Totals};
pub(crate) use crate::report::latency::{Distribution, Latency, Quantile, distribution};

/// Figures of one rate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// From the begin of the measured span to its end, or to the last answer if that was later, in
    /// seconds.
    pub(crate) measured_s: f64,
    /// Sends.
    pub(crate) sends: Sends,
    /// Messages that should have reached sessions: each acknowledged one, once for each online
    /// member.
    pub(crate) deliveries_expected: u64,
    /// Messages that reached sessions.
    pub(crate) deliveries: u64,
    /// Deliveries per second of the measured span, or until the last delivery if that was later.
    pub(crate) deliveries_per_second: f64,
    /// From the moment a send was due to its answer.
    pub(crate) post: Latency,
    /// From the moment a send started to its answer; it leaves out what a late client adds, and
    /// hides what waited.
    pub(crate) post_from_start: Latency,
    /// From the moment a send was due to its delivery to a session.
    pub(crate) deliver: Latency,
    /// The same by the size of conversations.
    pub(crate) by_members: Vec<MembersLoad>,
    /// Sends that failed.
    pub(crate) errors: Vec<ErrorCount>,
    /// What people did beside sending, by kind; empty without a scenario.
    #[serde(default)]
    pub(crate) actions: Vec<ActionLoad>,
    /// Distributions of the latencies.
    pub(crate) distribution: Distribution,
    /// What the server used, if its processes tell.
    pub(crate) server: Option<Server>,
    /// What Redis used, if its servers are known.
    pub(crate) redis: Option<Redis>,
    /// What the load test used itself.
    pub(crate) client: Client,
}

/// Sends of a measured span.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sends {
    /// Sends that were due.
    pub(crate) scheduled: u64,
    /// Sends that were acknowledged.
    pub(crate) accepted: u64,
    /// Sends that failed.
    pub(crate) failed: u64,
    /// Sends that never started, because too many were in flight to the end.
    pub(crate) unsent: u64,
    /// Sends that waited because too many were in flight.
    pub(crate) held: u64,
    /// Sends that started more than 5 ms after they were due.
    pub(crate) late: u64,
    /// From the moment a send was due to the moment it started.
    pub(crate) lateness: Latency,
    /// Acknowledged sends per second of the measured span.
    pub(crate) accepted_per_second: f64,
}

/// Figures of the conversations of one size.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersLoad {
    /// Members of each conversation.
    pub(crate) members: u64,
    /// Sends that were acknowledged.
    pub(crate) accepted: u64,
    /// From the moment a send was due to its answer.
    pub(crate) post: Latency,
    /// From the moment a send was due to its delivery to a session.
    pub(crate) deliver: Latency,
}

/// What people did beside sending, of one kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionLoad {
    /// Its word in scenarios.
    pub(crate) kind: String,
    /// How many were answered, or said over a socket, which has no answer.
    pub(crate) done: u64,
    /// How many were due when there was nothing to do them to, or nobody who could.
    pub(crate) passed_over: u64,
    /// From the moment one was due to its answer.
    pub(crate) latency: Latency,
    /// Those that failed.
    pub(crate) errors: Vec<ErrorCount>,
}

/// Sends, or other things, that failed alike.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCount {
    /// Status of the answer; none when there was no answer.
    pub(crate) status: Option<u16>,
    /// The problem's `code`; `no_code` for an answer without one; `connect`, `timeout` or `broken`
    /// where there was none.
    pub(crate) code: String,
    /// How many.
    pub(crate) count: u64,
}

/// What the server used during a span, by its own metrics.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// CPU of all processes divided by the sends that were acknowledged, in microseconds.
    pub(crate) cpu_us_per_message: f64,
    /// Highest resident memory of all processes together, in bytes.
    pub(crate) resident_highest_bytes: f64,
    /// From the last delivery until SQLite had everything, in seconds; none when it had not within
    /// a minute.
    pub(crate) lag_s: Option<f64>,
    /// Each process.
    pub(crate) processes: Vec<Process>,
}

/// What one process of the server used.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    /// What it is called.
    pub(crate) name: String,
    /// CPU seconds, user and system.
    pub(crate) cpu_seconds: f64,
    /// The same divided by the acknowledged sends, in microseconds.
    pub(crate) cpu_us_per_message: f64,
    /// Resident memory at the begin, in bytes.
    pub(crate) resident_begin_bytes: f64,
    /// Resident memory at the end, in bytes.
    pub(crate) resident_end_bytes: f64,
}

/// What all servers of Redis used together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// CPU of masters and replicas divided by the acknowledged sends, in microseconds.
    pub(crate) cpu_us_per_message: f64,
    /// Commands that masters processed, those inside scripts too, divided by the acknowledged
    /// sends.
    pub(crate) commands_per_message: f64,
    /// The most memory that one of them used at the end, in bytes.
    pub(crate) memory_highest_bytes: u64,
}

/// What the load test used itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    /// CPU seconds, user and system.
    pub(crate) cpu_seconds: f64,
    /// The same divided by the acknowledged sends, in microseconds.
    pub(crate) cpu_us_per_message: f64,
    /// Processors that it kept busy on average.
    pub(crate) processors: f64,
}

/// Steps of growing rate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ramp {
    /// What each step had to keep.
    pub(crate) slo: Slo,
    /// The steps, the last of which did not hold unless the highest rate was reached.
    pub(crate) steps: Vec<Step>,
    /// The highest rate that held, in sends per second; none if the first did not.
    pub(crate) highest_rate: Option<f64>,
}

/// What each step of a ramp has to keep.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slo {
    /// 99 % of sends are answered within so many milliseconds.
    pub(crate) post_p99_ms: f64,
    /// 99 % of deliveries within so many; none: any.
    pub(crate) deliver_p99_ms: Option<f64>,
    /// Share of sends that may fail, 0 to 1.
    pub(crate) errors: f64,
}

/// One step of a ramp.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Sends per second that were due.
    pub(crate) rate: f64,
    /// Why it did not hold; empty when it did.
    pub(crate) broke: Vec<String>,
    /// Its figures.
    pub(crate) load: Load,
}

/// Sessions that do nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Idle {
    /// Sessions that were opened.
    pub(crate) sessions: u64,
    /// Conversations of each user.
    pub(crate) conversations: u64,
    /// Seconds that opening them took.
    pub(crate) opening_s: f64,
    /// From the begin of a connection to `ready`.
    pub(crate) open: Latency,
    /// Seconds that they were held.
    pub(crate) held_s: f64,
    /// Sessions that were still open at the end.
    pub(crate) open_at_end: u64,
    /// Resident memory of all processes before the first, in bytes.
    pub(crate) resident_before_bytes: Option<f64>,
    /// The same when all were open.
    pub(crate) resident_open_bytes: Option<f64>,
    /// The same at the end.
    pub(crate) resident_end_bytes: Option<f64>,
    /// Growth of the resident memory from before to all open, divided by the sessions.
    pub(crate) bytes_per_session: Option<f64>,
    /// The same to the end: what is kept once the work of subscribing is over.
    pub(crate) kept_bytes_per_session: Option<f64>,
    /// Each process of the server: what it had before the first, and at the end.
    #[serde(default)]
    pub(crate) processes: Vec<Process>,
    /// Processors that the server kept busy while they were held.
    pub(crate) server_processors: Option<f64>,
    /// What the load test used itself while they were held.
    pub(crate) client: Client,
}

/// Whether everything arrived, once and in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    /// Sends that were acknowledged, of the whole run.
    pub(crate) acknowledged: u64,
    /// True when the history of every conversation was read back and compared.
    pub(crate) history_read: bool,
    /// Acknowledged, and not in the history.
    pub(crate) history_missing: u64,
    /// In the history more than once.
    pub(crate) history_doubled: u64,
    /// In the history under another seq than was acknowledged, or a seq that was acknowledged
    /// twice.
    pub(crate) history_moved: u64,
    /// Places of the history where seq does not go on by one.
    pub(crate) history_not_dense: u64,
    /// In the history though the answer said that nothing was written.
    pub(crate) history_unwritten: u64,
    /// In the history, without a clear answer before: allowed.
    pub(crate) history_unknown: u64,
    /// In the history with its text, though the answer said that it is deleted.
    #[serde(default)]
    pub(crate) history_undeleted: u64,
    /// Sessions that listened.
    pub(crate) sessions: u64,
    /// Messages that sessions got, of the whole run.
    pub(crate) delivered: u64,
    /// Seqs that a session should have got and never did.
    pub(crate) missing: u64,
    /// Frames that a session got again.
    pub(crate) doubled: u64,
    /// Frames that came after a later one of the same conversation.
    pub(crate) out_of_order: u64,
    /// Seqs that were not there yet when a later one came.
    pub(crate) skipped: u64,
    /// Seqs that the server said it will not send (`gap`): allowed.
    pub(crate) told_gaps: u64,
    /// Times that the server took back what a session had seen.
    pub(crate) taken_back: u64,
    /// Sockets that ended before the run did.
    pub(crate) closes: Vec<Close>,
    /// Sessions that went on after that.
    pub(crate) resumed: u64,
}

/// Sockets that ended alike.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Close {
    /// Close code; 1006 when there was none.
    pub(crate) code: u16,
    /// How many.
    pub(crate) count: u64,
}

/// One second of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Second {
    /// Its end, in seconds since sending (of idle: opening) began.
    pub(crate) at_s: f64,
    /// Sends per second that are due.
    pub(crate) rate: f64,
    /// Sends that were acknowledged, per second.
    pub(crate) accepted: f64,
    /// Deliveries per second.
    pub(crate) deliveries: f64,
    /// Failures per second.
    pub(crate) errors: Vec<ErrorCount>,
    /// Sends that started late.
    pub(crate) late: u64,
    /// Sends in flight at its end.
    pub(crate) in_flight: u64,
    /// Sockets open at its end.
    pub(crate) sockets: u64,
    /// Latency of sends, from the moment they were due.
    pub(crate) post: Latency,
    /// Latency of deliveries, from the moment they were due.
    pub(crate) deliver: Latency,
    /// Resident memory of all processes of the server, in bytes, where it was looked at.
    pub(crate) resident_bytes: Option<f64>,
    /// Processors that they kept busy since the last look.
    pub(crate) server_processors: Option<f64>,
    /// Processors that the load test kept busy.
    pub(crate) client_processors: f64,
}

/// Errors as the document has them.
pub(crate) fn errors(counts: &std::collections::BTreeMap<ErrorKey, u64>) -> Vec<ErrorCount> {
    counts
        .iter()
        .map(|((status, code), count)| ErrorCount {
            status: *status,
            code: code.clone(),
            count: *count,
        })
        .collect()
}

/// What was measured by size of conversations.
pub(crate) fn by_members(totals: &Totals, sizes: &[usize]) -> Vec<MembersLoad> {
    let load = |(group, size): (&crate::load::recorder::Group, &usize)| MembersLoad {
        members: u64::try_from(*size).unwrap_or_default(),
        accepted: group.accepted,
        post: Latency::of(&group.post),
        deliver: Latency::of(&group.deliver),
    };
    totals.groups.iter().zip(sizes).map(load).collect()
}

/// Counts here stay far below 2^52.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run, far below 2^52"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
