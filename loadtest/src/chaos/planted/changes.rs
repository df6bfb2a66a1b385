//! For each bug of what an operator changes the load and the stage that show it.

use crate::chaos::planted::scenario::{FEW, Scenario, Stage};

/// Standbys follow late: what they hold when nobody waits for them is old.
const LATE_STANDBYS: &str = "--apply-tick 1s";

/// The log forgets soon how a shard began, so that a node without a file needs a copy.
const TRIMS_SOON: &str = "--trim-floor 1s --checkpoint-every 1s";

/// What is dropped of a hand-over, of the seeding of a replica, and of the balance.
pub(super) const CHANGES: [Scenario; 5] = [
    Scenario {
        bug: "hand_over_without_hold",
        about: "writes go on being decided while a shard is given away, and the claim does not look where its streams end",
        stage: Stage::Faults(&["move-shards", "stop-node", "move-shards"]),
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 400,
        readers: 40,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "cold_copy",
        about: "a shard is given to a standby that lacks what was written last, and does not read on before it serves",
        stage: Stage::Faults(&["move-shards", "move-shards", "stop-node"]),
        node_flags: LATE_STANDBYS,
        shards: FEW,
        wired: false,
        rate: 400,
        readers: 12,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "both_serve",
        about: "whoever gave a shard away goes on serving it, and no refused renewal or append tells it: it answers from before that",
        stage: Stage::Faults(&["move-shards", "move-shards", "move-shards"]),
        node_flags: "",
        shards: FEW,
        wired: false,
        rate: 200,
        readers: 40,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "unverified_snapshot",
        about: "a replica is seeded from a copy that nobody compares with what its owner said: it is spoiled on the way",
        stage: Stage::Spoiled,
        node_flags: TRIMS_SOON,
        shards: FEW,
        wired: false,
        rate: 200,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
    Scenario {
        bug: "balancer_moves_only_copy",
        about: "a node is let go from a row before the one in its place is in sync: the owner dies, and nobody has a copy",
        stage: Stage::Newcomer,
        node_flags: TRIMS_SOON,
        shards: FEW,
        wired: false,
        rate: 100,
        readers: 4,
        churn_ms: 0,
        regulars: false,
    },
];
