//! The world of one run: nodes, servers, the network between them, clients, faults; one random step
//! after the other, all from one seed.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::log::record::{Entry, Header, Tail};
use crate::shard::simulation::clients::Read;
use crate::shard::simulation::network::Packet;
use crate::shard::simulation::node::{Node, Role, operations};
use crate::shard::simulation::redis::Redis;

/// A protection that a run does without, to show that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Nothing.
    Nothing,
    /// A claim and a write count without a second copy.
    Wait,
    /// The lease is not looked at after reading.
    Lease,
    /// A takeover does not append again what the log lost.
    Restore,
    /// An append is not fenced.
    Fence,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) without: Without,
    pub(super) now: Duration,
    pub(super) redis: Redis,
    pub(super) nodes: Vec<Node>,
    pub(super) packets: Vec<Packet>,
    /// Which request of which node a WAIT is for.
    pub(super) waits: Vec<(u64, usize, u64, u64)>,
    pub(super) numbered: u64,
    pub(super) next_operation: u64,
    pub(super) open: Vec<u64>,
    pub(super) reads: Vec<Read>,
    /// The log forgot a claim: until the leases under it end, no one can tell who owns the shard.
    pub(super) forgot_claim: bool,
    /// A replica of Redis that was cut off took over: two of its processes failed.
    pub(super) stale: bool,
    /// And a node as well: more than what I3 promises to survive.
    pub(super) beyond_promise: bool,
    pub(super) acknowledged: BTreeSet<u64>,
    /// Times that the shard was opened.
    pub(super) opened: u32,
    pub(super) strict_reads: u32,
}

impl World {
    pub(super) fn new(seed: u64, without: Without) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let restores = without != Without::Restore;
        let nodes = (0..rng.random_range(2..=3))
            .map(|index| Node::new(index, restores))
            .collect();
        Self {
            rng,
            without,
            now: Duration::from_secs(60),
            redis: Redis::new(without != Without::Fence),
            nodes,
            packets: Vec::new(),
            waits: Vec::new(),
            numbered: 0,
            next_operation: 1,
            open: Vec::new(),
            reads: Vec::new(),
            forgot_claim: false,
            stale: false,
            beyond_promise: false,
            acknowledged: BTreeSet::new(),
            opened: 0,
            strict_reads: 0,
        }
    }

    /// Some steps under faults.
    pub(super) fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            match self.rng.random_range(0..1000) {
                0..15 => self.fault(),
                15..60 => self.submit(),
                60..140 => self.read(),
                _ => self.step(),
            }
        }
    }

    /// Everything is whole again: runs until an operation that is sent now is acknowledged and
    /// every replica holds what the log has. Panics when that does not come.
    pub(super) fn settle(&mut self) {
        self.redis.link();
        for node in &mut self.nodes {
            (node.up, node.paused) = (true, false);
        }

        let last = self.next_operation;
        self.next_operation += 1;
        self.open.push(last);

        for _ in 0..5_000 {
            self.send_again();
            for _ in 0..8 {
                self.step();
            }
            let tail = self
                .redis
                .master()
                .control
                .as_ref()
                .map(|control| control.tail);
            let all = self
                .nodes
                .iter()
                .all(|node| Some(node.file_tail()) == tail && node.orphans.is_empty());
            if self.acknowledged.contains(&last) && self.open.is_empty() && all {
                return;
            }
        }

        let word = |node: &Node| match &node.role {
            Role::Standby(standby) => format!("standby {standby:?}"),
            Role::Taking(taking) => format!("taking {taking:?}"),
            Role::Owner(owner) => format!("owner {:?}", owner.token),
        };
        let nodes: Vec<String> = self.nodes.iter().map(word).collect();

        panic!(
            "the shard does not come to rest: {nodes:#?} open {:?}",
            self.open
        );
    }

    /// I1, I3: one sequence that links, epochs that never fall, everything acknowledged in it
    /// exactly once, and every file the same.
    pub(super) fn check(&self) {
        let log = &self.redis.master().entries;
        let (mut at, mut epoch, mut seen) = (Tail::EMPTY, 0, BTreeSet::new());

        for (tail, bytes) in log {
            let entry = Entry::decode_after(&at, bytes).expect("it links");
            assert!(entry.epoch.0 >= epoch, "epochs fall");
            (at, epoch) = (*tail, entry.epoch.0);
            for operation in operations(bytes) {
                assert!(
                    seen.insert(operation),
                    "operation {operation} is there twice"
                );
            }
        }

        let lost: Vec<_> = self.acknowledged.difference(&seen).collect();
        assert!(
            lost.is_empty() || self.beyond_promise,
            "acknowledged and lost: {lost:?}"
        );
        assert!(
            self.nodes.iter().all(|node| node.file == *log),
            "a replica differs"
        );
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..12 => self.now += Duration::from_millis(self.rng.random_range(1..250)),
            12..30 => self.tick(),
            30..75 => self.deliver(),
            75..85 => self.redis.replicate(&mut self.rng),
            85..93 => self.end_waits(),
            _ => self.work(),
        }
    }

    /// A worker applies, a replica that lost its file gets another's, orphans are sent again.
    fn work(&mut self) {
        let which = self.rng.random_range(0..self.nodes.len());
        let needs_seed =
            matches!(&self.nodes[which].role, Role::Standby(standby) if standby.needs_seed);
        if needs_seed {
            let owns = |node: &&Node| node.lives() && matches!(node.role, Role::Owner(_));
            let owner = self.nodes.iter().find(owns);
            if let Some(file) = owner.map(|owner| owner.file.clone()) {
                self.nodes[which].seed(file);
            }
        } else if self.nodes[which].lives() {
            self.nodes[which].apply_one();
        }
        if self.nodes[which].up {
            self.open.append(&mut self.nodes[which].orphans);
        }
    }

    fn tick(&mut self) {
        let which = self.rng.random_range(0..self.nodes.len());
        let rank = u32::try_from(which).expect("few");
        let (now, node) = (self.now, &mut self.nodes[which]);
        if node.lives() {
            node.tick(now, rank);
            self.send(which);
        }
    }

    /// Highest epoch that the log has seen.
    pub(super) fn epoch(&self) -> u64 {
        let last = self.redis.master().entries.last();
        last.and_then(|(_, bytes)| Header::read(bytes).ok())
            .map_or(0, |header| header.epoch.0)
    }
}
