//! For each bug the load and the stage that show it.

use crate::chaos::planted::changes::CHANGES;
use crate::chaos::planted::said::SAID;

/// A short watch, so that a paused owner is soon replaced.
const SHORT_WATCH: &str = "--takeover-watch 1s --renew-every 250ms";
/// Trims soon, checkpoints late. No small `--trim-floor-bytes`: files that keep more of the log
/// than that are checkpointed.
const LATE_CHECKPOINTS: &str = "--trim-floor 1s --checkpoint-every 25s --checkpoint-pages 1000000";

/// One shard, whose outbox leads to itself; shards where an owner and a master are to have several
/// conversations together; and as many as the program makes by itself.
const ONE: u32 = 1;
pub(super) const FEW: u32 = 16;
const USUAL: u32 = 256;

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing but the load, for a while.
    Calm,
    /// Nothing but the load, in which messages are edited and erased, and participants silenced.
    Changes,
    /// The same until messages have gone with their time.
    Minutes,
    /// The same with these faults, one after the other.
    ChangesAnd(&'static [&'static str]),
    /// A log goes on without a second copy, then its master and an owner die at once.
    AloneThenBoth,
    /// A log loses acknowledged entries, its owner goes on, and dies after.
    SuffixThenOwner,
    /// Owners are paused until they are replaced; requests of a router that hears nothing of it
    /// wait in their sockets.
    Pauses,
    /// All nodes lose power at once, when much is applied and little is synced.
    PowerLoss,
    /// Redis holds writes, and then has no memory for them: what was decided meanwhile is surely
    /// taken back.
    NoSpace,
    /// Two nodes cannot reach each other, and the third reaches both.
    Apart,
    /// An owner is paused with rows on their way, and replaced; who replaced it is dead when it
    /// goes on.
    Usurped,
    /// What a node is seeded from is spoiled on its way.
    Spoiled,
    /// A node joins, and an owner dies while it is given its copies.
    Newcomer,
    /// These faults, one after the other, all well again after each.
    Faults(&'static [&'static str]),
}

impl Stage {
    /// Whether messages are edited and erased, and so on, in the load.
    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Changes | Self::Minutes | Self::ChangesAnd(_))
    }
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
    /// Shards. Few, where a scenario is about what one node and one master have together, of each
    /// of few conversations.
    pub(super) shards: u32,
    /// Whether links are broken.
    pub(super) wired: bool,
    /// Messages per second.
    pub(super) rate: u64,
    /// Tasks that read.
    pub(super) readers: u32,
    /// Between two guests of a conversation, in milliseconds; 0 for none.
    pub(super) churn_ms: u64,
    /// Whether it is the same guest each time.
    pub(super) regulars: bool,
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().chain(&CHANGES).chain(&SAID)
}

/// Those of what breaks by itself.
const SCENARIOS: [Scenario; 17] = [
    Scenario {
        bug: "attach_cursor",
        about: "a session goes on at the tail when another node takes it: it misses what came between",
        stage: Stage::Faults(&["kill-node", "pause-node", "kill-node-restart", "kill-node"]),
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 300,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "stamped_key",
        about: "a message is said to another node under another key: it is written twice",
        stage: Stage::Faults(&[
            "kill-node",
            "pause-node",
            "kill-node",
            "pause-node",
            "kill-node",
        ]),
        node_flags: "",
        shards: USUAL,
        wired: false,
        rate: 400,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "wait",
        about: "no WAIT: acknowledged with one copy; replication stands still, then master and owner die",
        stage: Stage::AloneThenBoth,
        node_flags: "",
        shards: FEW,
        wired: true,
        rate: 200,
        readers: 6,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "tail_check",
        about: "no check of the tail: a log that lost its end goes on with a hole, and its owner dies",
        stage: Stage::SuffixThenOwner,
        node_flags: "--commit-level log",
        shards: FEW,
        wired: true,
        rate: 200,
        readers: 6,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "fence",
        about: "no check of the token: a paused owner goes on appending after another took its shards",
        stage: Stage::Pauses,
        node_flags: SHORT_WATCH,
        shards: FEW,
        wired: true,
        rate: 150,
        readers: 6,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "lease_after_read",
        about: "no look at the lease after a read: a paused owner answers from before it was replaced",
        stage: Stage::Pauses,
        node_flags: SHORT_WATCH,
        shards: FEW,
        wired: true,
        rate: 150,
        readers: 6,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "owner_past_committed",
        about: "the owner applies what is not committed: it is read, then lost with master and owner",
        stage: Stage::AloneThenBoth,
        node_flags: "",
        shards: FEW,
        wired: true,
        rate: 200,
        readers: 40,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "trim_on_applied",
        about: "the log is trimmed beyond what is synced: all nodes lose power",
        stage: Stage::PowerLoss,
        node_flags: LATE_CHECKPOINTS,
        shards: FEW,
        wired: false,
        rate: 200,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "dedupe",
        about: "no idempotency: the same key makes a second message",
        stage: Stage::Calm,
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 150,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "resubscribe_cursor",
        about: "a subscription begins at the tail after its owner was replaced: sessions miss what came between",
        stage: Stage::Faults(&["kill-node", "kill-node-restart", "pause-node", "kill-node"]),
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 300,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "membership",
        about: "the owner does not ask who participates: those who were put out send and read",
        stage: Stage::Calm,
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 100,
        readers: 4,
        churn_ms: 400,
        regulars: false,
    },
    Scenario {
        bug: "renewals_go_on",
        about: "no renewals after a failed one: Redis fails over, and a node's leases end for good",
        stage: Stage::Faults(&["kill-master", "client-kill", "pause-master", "kill-master"]),
        node_flags: "",
        shards: USUAL,
        wired: false,
        rate: 60,
        readers: 4,
        churn_ms: 1_500,
        regulars: false,
    },
    Scenario {
        bug: "refusal_waits",
        about: "refusals are answered at once: what is decided while Redis holds writes is taken back for want of memory",
        stage: Stage::NoSpace,
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 60,
        readers: 4,
        churn_ms: 300,
        regulars: false,
    },
    Scenario {
        bug: "repeats_in_order",
        about: "each request repeats alone: links between nodes break, and sends of one socket change places",
        stage: Stage::Faults(&[
            "pause-node-briefly",
            "cut",
            "kill-node-restart",
            "pause-node-briefly",
            "pause-node",
        ]),
        node_flags: "",
        shards: USUAL,
        wired: true,
        rate: 300,
        readers: 2,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "list_proves",
        about: "a list is told as it is: a node dies, and what its outboxes hold is in no list",
        stage: Stage::Faults(&["kill-node", "kill-node", "pause-node", "kill-node"]),
        node_flags: "",
        shards: USUAL,
        wired: false,
        rate: 60,
        readers: 12,
        churn_ms: 300,
        regulars: false,
    },
    Scenario {
        bug: "whole_stays",
        about: "only the newest stay is told: guests come and go while two nodes are apart",
        stage: Stage::Apart,
        node_flags: "",
        shards: USUAL,
        wired: true,
        rate: 60,
        readers: 2,
        churn_ms: 150,
        regulars: true,
    },
    Scenario {
        bug: "lost_shard_goes",
        about: "a shard that was taken is kept while rows are on their way from it: it is not there when it is needed again",
        stage: Stage::Usurped,
        node_flags: "",
        shards: ONE,
        wired: false,
        rate: 40,
        readers: 2,
        churn_ms: 500,
        regulars: false,
    },
];
