//! All kinds of faults, by name.

use crate::chaos::faults::planned::catalogue::PLANNED;
use crate::chaos::faults::{Fault, Need};

/// A fault that is not of the short form.
pub(super) const fn fault(
    name: &'static str,
    need: Need,
    stays_ms: (u64, u64),
    about: &'static str,
) -> Fault {
    Fault {
        name,
        about,
        need,
        stays_ms,
        short: false,
    }
}

const fn short(fault: Fault) -> Fault {
    Fault {
        short: true,
        ..fault
    }
}

const fn clock(name: &'static str, about: &'static str) -> Fault {
    fault(name, Need::Program("faketime"), (6_000, 10_000), about)
}

/// What breaks by itself: processes, links, disks, clocks.
const FAILURES: [Fault; 46] = [
    short(fault(
        "kill-node-restart",
        Need::Nothing,
        (0, 300),
        "kill -9 a node, started again at once",
    )),
    fault(
        "kill-node",
        Need::Nothing,
        (8_000, 12_000),
        "kill -9 a node, started again long after it was replaced",
    ),
    fault(
        "kill-node-long",
        Need::Nothing,
        (40_000, 60_000),
        "kill -9 a node, gone for longer than a standby counts as in sync",
    ),
    fault(
        "kill-two-nodes-restart",
        Need::Nothing,
        (0, 300),
        "kill -9 two nodes, started again at once",
    ),
    short(fault(
        "pause-node",
        Need::Nothing,
        (5_000, 9_000),
        "SIGSTOP a node for longer than T, then SIGCONT",
    )),
    fault(
        "pause-node-briefly",
        Need::Nothing,
        (200, 3_500),
        "SIGSTOP a node for less than T or about as long",
    ),
    fault(
        "pause-node-long",
        Need::Nothing,
        (40_000, 60_000),
        "SIGSTOP a node for longer than a standby counts as in sync",
    ),
    short(fault(
        "stop-node",
        Need::Nothing,
        (500, 4_000),
        "SIGTERM a node, which gives its shards away; started again",
    )),
    fault(
        "stop-node-kill-taker",
        Need::Nothing,
        (5_000, 9_000),
        "SIGTERM a node, and kill -9 one that it gives its shards to, while it does",
    ),
    fault(
        "stop-node-kill-master",
        Need::Nothing,
        (5_000, 9_000),
        "SIGTERM a node, and kill -9 a Redis master, while it gives its shards away",
    ),
    fault(
        "kill-router",
        Need::Nothing,
        (500, 3_000),
        "kill -9 a router, started again",
    ),
    short(fault(
        "kill-master",
        Need::Nothing,
        (8_000, 10_000),
        "kill -9 a Redis master, started again after 10 s",
    )),
    fault(
        "kill-master-restart",
        Need::Nothing,
        (0, 100),
        "kill -9 a Redis master, started again at once",
    ),
    fault(
        "kill-master-long",
        Need::Nothing,
        (40_000, 60_000),
        "kill -9 a Redis master, gone for long",
    ),
    fault(
        "pause-master",
        Need::Nothing,
        (4_000, 7_000),
        "SIGSTOP a Redis master until its replica took over",
    ),
    fault(
        "pause-master-briefly",
        Need::Nothing,
        (300, 1_000),
        "SIGSTOP a Redis master for too short a time to be replaced",
    ),
    fault(
        "kill-replica",
        Need::Nothing,
        (4_000, 8_000),
        "kill -9 a Redis replica, started again",
    ),
    short(fault(
        "pause-replica",
        Need::Nothing,
        (5_000, 8_000),
        "SIGSTOP a Redis replica: it hangs, and is connected",
    )),
    fault(
        "pause-replica-long",
        Need::Nothing,
        (40_000, 75_000),
        "SIGSTOP a Redis replica for about as long as its master believes in it",
    ),
    short(fault(
        "redis-failover",
        Need::Nothing,
        (500, 2_000),
        "CLUSTER FAILOVER: a replica takes over as it was told",
    )),
    short(fault(
        "client-kill",
        Need::Nothing,
        (500, 1_000),
        "CLIENT KILL: all connections to all masters end",
    )),
    short(fault(
        "refuse-writes",
        Need::Nothing,
        (3_000, 5_000),
        "a Redis master refuses writes, and answers reads",
    )),
    fault(
        "kill-node-and-master",
        Need::Nothing,
        (9_000, 12_000),
        "kill -9 a node and a Redis master at once",
    ),
    fault(
        "lost-machine",
        Need::Nothing,
        (90_000, 120_000),
        "a node with its disk and a Redis master are lost; the rest must serve all, then the node \
         comes empty",
    ),
    fault(
        "lost-suffix",
        Need::Wires,
        (10_000, 12_000),
        "replication stands still, then its master is killed: the log loses its end",
    ),
    fault(
        "lost-epoch",
        Need::Wires,
        (12_000, 15_000),
        "the same while a node is paused, so that a takeover is lost too",
    ),
    fault(
        "script-flush",
        Need::Nothing,
        (500, 1_000),
        "SCRIPT FLUSH on all masters",
    ),
    fault(
        "migrate-slot",
        Need::Nothing,
        (100, 500),
        "the slot of a shard moves to another master, key by key",
    ),
    short(fault(
        "drop-sockets",
        Need::Nothing,
        (500, 1_500),
        "all sockets of the load dropped at once",
    )),
    fault(
        "drop-flood",
        Need::Flood,
        (100, 500),
        "very many sockets dropped at once",
    ),
    fault(
        "slow-readers",
        Need::Nothing,
        (12_000, 15_000),
        "some devices take nothing from their sockets",
    ),
    fault(
        "partition",
        Need::Wires,
        (5_000, 10_000),
        "nothing passes between two, either way",
    ),
    fault(
        "partition-one-way",
        Need::Wires,
        (5_000, 10_000),
        "nothing passes from one to another; the way back is open",
    ),
    fault(
        "node-without-redis",
        Need::Wires,
        (70_000, 70_000),
        "nothing passes between a node and Redis for 70 s; peers and routers reach it",
    ),
    fault(
        "trickle",
        Need::Wires,
        (5_000, 10_000),
        "a byte a second passes between two",
    ),
    fault(
        "cut",
        Need::Wires,
        (100, 300),
        "all connections between two end at once",
    ),
    fault(
        "disk-full",
        Need::OwnDisk,
        (5_000, 10_000),
        "no room on a node's disk",
    ),
    fault(
        "fsync-slow",
        Need::Program("strace"),
        (5_000, 10_000),
        "each fsync of a node takes half a second",
    ),
    fault(
        "fsync-fails",
        Need::Program("strace"),
        (3_000, 6_000),
        "each fsync of a node fails",
    ),
    fault(
        "standby-fsync-fails",
        Need::Program("strace"),
        (45_000, 60_000),
        "each fsync fails of the node that stands by for the most shards, for long",
    ),
    fault(
        "old-file",
        Need::Nothing,
        (0, 100),
        "a node loses power: its files are what was synced",
    ),
    fault(
        "damaged-file",
        Need::Nothing,
        (0, 100),
        "bytes of a node's file are overwritten while it is down",
    ),
    clock(
        "clock-minutes-ahead",
        "a node takes shards over with its clock minutes ahead, and loses them again",
    ),
    clock(
        "clock-minutes-behind",
        "the same with its clock minutes behind",
    ),
    clock("clock-days-ahead", "the same with its clock days ahead"),
    clock("clock-days-behind", "the same with its clock days behind"),
];

/// All of them: what breaks by itself, then what an operator changes meanwhile.
pub(crate) fn all() -> impl Iterator<Item = Fault> {
    FAILURES.into_iter().chain(PLANNED)
}

/// The one of that name.
pub(crate) fn named(name: &str) -> Option<Fault> {
    all().find(|fault| fault.name == name)
}
