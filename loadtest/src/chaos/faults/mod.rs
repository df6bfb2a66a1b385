//! What is broken, and how it is mended. Each fault has a name, what it needs, and for how long it
//! stays; whom it hits is drawn when it begins, for masters and replicas change places.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chaos::clients::World;
use crate::chaos::clients::flood::Flood;
use crate::chaos::random::Random;
use crate::chaos::site::wires::Pair;
use crate::chaos::site::{Site, disk};

mod inject;

mod links;

pub(crate) mod schedule;

mod victims;

/// What a fault needs of the cluster, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// Proxies before all ports.
    Wires,
    /// A node on a disk of its own.
    OwnDisk,
    /// A program of this machine.
    Program(&'static str),
    /// Very many sockets.
    Flood,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    /// What it needs.
    pub(crate) need: Need,
    /// How long it stays before it is mended, in milliseconds, at least and at most.
    pub(crate) stays_ms: (u64, u64),
    /// Whether it belongs to the short form.
    pub(crate) short: bool,
}

const fn fault(name: &'static str, need: Need, stays_ms: (u64, u64), about: &'static str) -> Fault {
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

/// All of them.
pub(crate) const ALL: [Fault; 46] = [
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

/// By name.
pub(crate) fn named(name: &str) -> Option<Fault> {
    ALL.into_iter().find(|fault| fault.name == name)
}

impl Fault {
    /// Whether this machine can do it; else what is missing.
    pub(crate) fn possible(&self) -> Result<(), String> {
        match self.need {
            Need::Program(program) if !exists(program) => Err(format!(
                "{program} is not installed; scripts/install-chaos-tools does that"
            )),
            Need::OwnDisk if !disk::may_mount() => {
                Err("only the administrator may mount a disk".to_owned())
            }
            Need::Nothing | Need::Wires | Need::OwnDisk | Need::Program(_) | Need::Flood => Ok(()),
        }
    }
}

fn exists(program: &str) -> bool {
    let found = std::process::Command::new("sh")
        .args(["-c", "command -v \"$1\" >/dev/null", "sh", program])
        .status();
    found.is_ok_and(|status| status.success())
}

/// What faults happen to.
#[derive(Debug)]
pub(crate) struct Field {
    /// The processes.
    pub(crate) site: Arc<Site>,
    /// The clients.
    pub(crate) world: Arc<World>,
    /// Very many sockets, if there are any.
    pub(crate) flood: Option<Flood>,
}

/// What mends a part of a fault.
#[derive(Debug)]
pub(crate) enum Mend {
    /// Start it.
    Start(String),
    /// Let it go on.
    Resume(String),
    /// Let everything pass, what is under way too.
    Pass(Vec<Pair>),
    /// End the connections, then let everything pass.
    Reset(Vec<Pair>),
    /// Make room on its disk.
    MakeRoom(String),
    /// Let its fsyncs be.
    Untrace(Child),
    /// Let devices read again.
    Read,
    /// Take away what it is run by, and start it anew.
    Unwrap(String),
    /// Let a master take writes again.
    TakeWrites(String),
    /// Nothing: all has to be served as it is, before anything else is mended.
    Served,
}

/// A fault that has begun.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// Whom it hit.
    pub(crate) said: String,
    mends: Vec<Mend>,
}

impl Broken {
    /// Whether all has to be served while it lasts.
    pub(crate) fn is_served(&self) -> bool {
        self.mends.iter().any(|mend| matches!(mend, Mend::Served))
    }
}

impl Field {
    /// Begins a fault.
    pub(crate) async fn inject(
        &self,
        fault: &Fault,
        random: &mut Random,
    ) -> Result<Broken, String> {
        let broken = self.break_it(fault.name, random).await?;
        self.world
            .log
            .fault(fault.name, &format!("begins: {}", broken.said));
        Ok(broken)
    }

    /// Ends it.
    pub(crate) async fn heal(&self, fault: &Fault, broken: Broken) -> Result<(), String> {
        let mut starts = Vec::new();
        for mend in broken.mends {
            match mend {
                Mend::Start(name) => starts.push(name),
                Mend::Resume(name) => self.site.signal(&[name], Signal::SIGCONT),
                Mend::Pass(pairs) => {
                    if let Some(wires) = &self.site.wires {
                        wires.set(&pairs, None);
                    }
                }
                Mend::Reset(pairs) => {
                    if let Some(wires) = &self.site.wires {
                        wires.reset(&pairs).await;
                    }
                }
                Mend::MakeRoom(node) => self.site.fill(&node, false)?,
                Mend::Untrace(tracer) => disk::untrace(tracer),
                Mend::Read => self.world.mood.send_modify(|mood| mood.slow = false),
                Mend::Unwrap(node) => {
                    self.site.write(&node, "wrap", "")?;
                    self.site.kill(std::slice::from_ref(&node)).await;
                    starts.push(node);
                }
                Mend::TakeWrites(master) => {
                    self.site
                        .redis(&master, &["CONFIG", "SET", "min-replicas-to-write", "0"])
                        .await?;
                }
                Mend::Served => {}
            }
        }
        if !starts.is_empty() {
            self.site.start_again(&starts).await?;
        }
        self.world.log.fault(fault.name, "ends");
        Ok(())
    }

    /// Waits until every process runs and is in step; a node that ended by itself, as one may that
    /// cannot write, is started again as whatever keeps processes alive would do.
    pub(crate) async fn whole(&self, within: Duration) -> Result<(), String> {
        let dead: Vec<String> = self
            .site
            .names()
            .into_iter()
            .filter(|name| self.site.pid(name).is_none())
            .collect();
        if !dead.is_empty() {
            self.world
                .log
                .fault("restart", &format!("{dead:?} had ended"));
            self.site.start_again(&dead).await?;
        }
        self.site.whole(within).await
    }
}
