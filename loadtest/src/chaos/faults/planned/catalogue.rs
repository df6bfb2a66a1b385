//! The changes, by name.

use crate::chaos::faults::catalogue::fault;
use crate::chaos::faults::{Fault, Need};

/// What an operator changes, alone and while something dies.
pub(in crate::chaos::faults) const PLANNED: [Fault; 8] = [
    fault(
        "rolling-restart",
        Need::Nothing,
        (0, 500),
        "SIGTERM each node in turn and start it again, three times, each once all is in sync",
    ),
    fault(
        "move-shards",
        Need::Nothing,
        (0, 500),
        "dozens of shards are handed over to their standbys by hand",
    ),
    fault(
        "move-shards-kill-node",
        Need::Nothing,
        (5_000, 9_000),
        "the same from one node to another, and kill -9 the one or the other meanwhile",
    ),
    fault(
        "add-and-remove-node",
        Need::Nothing,
        (0, 500),
        "a fourth node joins, gets its share, is drained for good, and its folder deleted",
    ),
    fault(
        "drain-kill-node",
        Need::Nothing,
        (8_000, 12_000),
        "a node is drained for good, and kill -9 another one while it gives its shards away",
    ),
    fault(
        "balance-kill-node",
        Need::Nothing,
        (5_000, 9_000),
        "kill -9 a node while one that came back is given its share",
    ),
    fault(
        "backup-kill-node",
        Need::Nothing,
        (5_000, 9_000),
        "kill -9 an owner during a backup, which is restored and compared; then another backup",
    ),
    fault(
        "restore-and-compare",
        Need::Nothing,
        (0, 500),
        "a backup under load is restored, and has all that was known before it began",
    ),
];
