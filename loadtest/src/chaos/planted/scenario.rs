//! For each bug the load and the stage that show it.

/// A short watch, so that a paused owner is soon replaced.
const SHORT_WATCH: &str = "--takeover-watch 1s --renew-every 250ms";
/// Trims soon, checkpoints late. No small `--trim-floor-bytes`: files that keep more of the log than that are checkpointed.
const LATE_CHECKPOINTS: &str = "--trim-floor 1s --checkpoint-every 25s --checkpoint-pages 1000000";

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing but the load, for a while.
    Calm,
    /// A log goes on without a second copy, then its master and an owner die at once.
    AloneThenBoth,
    /// A log loses acknowledged entries, its owner goes on, and dies after.
    SuffixThenOwner,
    /// Owners are paused until they are replaced; requests wait in their sockets.
    Pauses,
    /// All nodes lose power at once, when much is applied and little is synced.
    PowerLoss,
    /// Owners are killed while sessions listen.
    Kills,
}

/// A bug, and how it is shown.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its name.
    pub(super) bug: &'static str,
    /// What is dropped, and what shows it.
    pub(super) about: &'static str,
    /// What happens.
    pub(super) stage: Stage,
    /// Further flags of nodes.
    pub(super) node_flags: &'static str,
    /// Whether links are broken.
    pub(super) wired: bool,
    /// Messages per second.
    pub(super) rate: u64,
    /// Tasks that read.
    pub(super) readers: u32,
    /// Between two guests of a conversation, in milliseconds; 0 for none.
    pub(super) churn_ms: u64,
}

/// All of them.
pub(super) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        bug: "wait",
        about: "no WAIT: acknowledged with one copy; replication stands still, then master and owner die",
        stage: Stage::AloneThenBoth,
        node_flags: "",
        wired: true,
        rate: 200,
        readers: 6,
        churn_ms: 0,
    },
    Scenario {
        bug: "tail_check",
        about: "no check of the tail: a log that lost its end goes on with a hole, and its owner dies",
        stage: Stage::SuffixThenOwner,
        node_flags: "--commit-level log",
        wired: true,
        rate: 200,
        readers: 6,
        churn_ms: 0,
    },
    Scenario {
        bug: "fence",
        about: "no check of the token: a paused owner goes on appending after another took its shards",
        stage: Stage::Pauses,
        node_flags: SHORT_WATCH,
        wired: false,
        rate: 150,
        readers: 6,
        churn_ms: 0,
    },
    Scenario {
        bug: "lease_after_read",
        about: "no look at the lease after a read: a paused owner answers from before it was replaced",
        stage: Stage::Pauses,
        node_flags: SHORT_WATCH,
        wired: false,
        rate: 150,
        readers: 6,
        churn_ms: 0,
    },
    Scenario {
        bug: "owner_past_committed",
        about: "the owner applies what is not committed: it is read, then lost with master and owner",
        stage: Stage::AloneThenBoth,
        node_flags: "",
        wired: true,
        rate: 200,
        readers: 40,
        churn_ms: 0,
    },
    Scenario {
        bug: "trim_on_applied",
        about: "the log is trimmed beyond what is synced: all nodes lose power",
        stage: Stage::PowerLoss,
        node_flags: LATE_CHECKPOINTS,
        wired: false,
        rate: 200,
        readers: 4,
        churn_ms: 0,
    },
    Scenario {
        bug: "dedupe",
        about: "no idempotency: the same key makes a second message",
        stage: Stage::Calm,
        node_flags: "",
        wired: false,
        rate: 150,
        readers: 4,
        churn_ms: 0,
    },
    Scenario {
        bug: "resubscribe_cursor",
        about: "a subscription begins at the tail after its owner was replaced: sessions miss what came between",
        stage: Stage::Kills,
        node_flags: "",
        wired: false,
        rate: 300,
        readers: 4,
        churn_ms: 0,
    },
    Scenario {
        bug: "membership",
        about: "the owner does not ask who participates: those who were put out send and read",
        stage: Stage::Calm,
        node_flags: "",
        wired: false,
        rate: 100,
        readers: 4,
        churn_ms: 400,
    },
];
