//! The world of one run: nodes, servers, the network between them, clients, faults; one random step
//! after the other, all from one seed.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::log::record::{Entry, Header, Tail};
use crate::shard::simulation::node::{Node, Role, Told, operations};
use crate::shard::simulation::redis::{Call, Redis, Reply};

/// Operations that clients have open at once.
const OPEN_MAX: usize = 6;

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

/// A request or an answer on its way.
#[derive(Debug)]
enum Packet {
    Request {
        node: usize,
        life: u64,
        id: u64,
        call: Call,
    },
    Reply {
        node: usize,
        life: u64,
        id: u64,
        reply: Reply,
        copied: bool,
    },
}

#[derive(Debug)]
struct Read {
    node: usize,
    /// Acknowledged before it began.
    must: BTreeSet<u64>,
    shows: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct World {
    rng: StdRng,
    without: Without,
    now: Duration,
    redis: Redis,
    nodes: Vec<Node>,
    packets: Vec<Packet>,
    /// Which request of which node a WAIT is for.
    waits: Vec<(u64, usize, u64, u64)>,
    numbered: u64,
    next_operation: u64,
    open: Vec<u64>,
    reads: Vec<Read>,
    /// The log forgot a claim: until the leases under it end, no one can tell who owns the shard.
    forgot_claim: bool,
    /// A replica of Redis that was cut off took over: two of its processes failed.
    stale: bool,
    /// And a node as well: more than what I3 promises to survive.
    beyond_promise: bool,
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

    fn send(&mut self, which: usize) {
        let node = &mut self.nodes[which];
        let life = node.life;
        for (id, call) in node.out.drain(..) {
            self.packets.push(Packet::Request {
                node: which,
                life,
                id,
                call,
            });
        }
    }

    /// One packet arrives, or is lost when its connection is gone. Those of one connection stay in
    /// order.
    fn deliver(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        let picked = self.rng.random_range(0..self.packets.len());
        let way = |packet: &Packet| match packet {
            Packet::Request { node, life, .. } => (*node, *life, false),
            Packet::Reply { node, life, .. } => (*node, *life, true),
        };
        let wanted = way(&self.packets[picked]);
        let first = self
            .packets
            .iter()
            .position(|packet| way(packet) == wanted)
            .expect("it is there");
        let is_paused =
            matches!(&self.packets[first], Packet::Reply { node, .. } if self.nodes[*node].paused);
        if is_paused {
            return;
        }
        match self.packets.remove(first) {
            Packet::Request {
                node,
                life,
                id,
                call,
            } => {
                // What lies in the socket of a closed connection may still run, or not.
                if life != self.nodes[node].life && self.rng.random_bool(0.5) {
                    return;
                }
                self.numbered += 1;
                match self.redis.run(self.numbered, &call) {
                    Some(reply) => self.packets.push(Packet::Reply {
                        node,
                        life,
                        id,
                        reply,
                        copied: true,
                    }),
                    None => self.waits.push((self.numbered, node, life, id)),
                }
            }
            Packet::Reply {
                node,
                life,
                id,
                reply,
                copied,
            } => self.hear(node, (life, id), reply, copied),
        }
    }

    fn end_waits(&mut self) {
        for (number, reply, copied) in self.redis.answered(&mut self.rng) {
            let Some(place) = self.waits.iter().position(|(of, ..)| *of == number) else {
                continue;
            };
            let (_, node, life, id) = self.waits.remove(place);
            self.packets.push(Packet::Reply {
                node,
                life,
                id,
                reply,
                copied,
            });
        }
    }

    fn hear(&mut self, which: usize, (life, id): (u64, u64), reply: Reply, copied: bool) {
        if !self.nodes[which].up || self.nodes[which].life != life {
            return;
        }
        let copied = copied || self.without == Without::Wait || self.has_witness(which, &reply);
        let lives = |node: &&Node| {
            node.index != which && node.lives() && matches!(node.role, Role::Standby(_))
        };
        let others: Vec<Vec<(Tail, Bytes)>> = self
            .nodes
            .iter()
            .filter(lives)
            .map(|node| node.file.clone())
            .collect();
        let told = self.nodes[which].hear(self.now, (id, reply), copied, &others);
        self.send(which);
        for told in told {
            self.told(&told);
        }
    }

    /// No replica of Redis is connected: a claim stands without one, a write when every other node
    /// that follows holds it.
    fn has_witness(&self, which: usize, reply: &Reply) -> bool {
        if self.redis.has_replica() {
            return false;
        }
        match reply {
            // A shard's first claim needs a copy: without its control record nothing can be
            // restored.
            Reply::Claimed(control) => control.tail != Tail::EMPTY,
            Reply::Appended | Reply::AlreadyDone => {
                let tail = self
                    .redis
                    .master()
                    .control
                    .as_ref()
                    .map_or(Tail::EMPTY, |control| control.tail);
                let mut standbys = self
                    .nodes
                    .iter()
                    .filter(|node| node.index != which && node.lives())
                    .peekable();
                standbys.peek().is_some() && standbys.all(|node| node.holds(tail))
            }
            _ => false,
        }
    }

    fn told(&mut self, told: &Told) {
        match told {
            Told::Acknowledged(operation) => {
                self.acknowledged.insert(*operation);
                self.open.retain(|open| open != operation);
            }
            Told::Opened => self.opened += 1,
        }
    }

    /// A client sends, or sends again, to a node that may own the shard.
    fn submit(&mut self) {
        if self.open.len() < OPEN_MAX && self.rng.random_bool(0.5) {
            self.open.push(self.next_operation);
            self.next_operation += 1;
        }
        self.send_again();
    }

    fn send_again(&mut self) {
        let which = self.rng.random_range(0..self.nodes.len());
        let Some(&operation) = self.open.choose(&mut self.rng) else {
            return;
        };
        if self.nodes[which].lives() {
            self.nodes[which].submit(operation);
        }
    }

    /// Begins a read, or ends one: what it shows was gathered when it began, and the lease is
    /// looked at when it ends.
    fn read(&mut self) {
        if self.reads.len() < 3 {
            let node = self.rng.random_range(0..self.nodes.len());
            if self.nodes[node].lives()
                && let Some(owner) = self.nodes[node].owner()
            {
                let shows = owner.committed.clone();
                self.reads.push(Read {
                    node,
                    must: self.acknowledged.clone(),
                    shows,
                });
                return;
            }
        }
        if self.reads.is_empty() {
            return;
        }
        let picked = self.rng.random_range(0..self.reads.len());
        if self.nodes[self.reads[picked].node].paused {
            return;
        }
        let Read { node, must, shows } = self.reads.swap_remove(picked);
        let now = self.now;
        let Some(owner) = self.nodes[node].owner() else {
            return;
        };
        if owner.gives() || self.forgot_claim {
            return;
        }
        if self.without == Without::Lease || !owner.lease.has_ended(now) {
            self.strict_reads += 1;
            let missing: Vec<_> = must
                .iter()
                .filter(|operation| !shows.contains(operation))
                .collect();
            assert!(
                missing.is_empty(),
                "I5: a read without a mark lacks {missing:?}"
            );
        }
    }

    fn fault(&mut self) {
        let which = self.rng.random_range(0..self.nodes.len());
        let others_live = self
            .nodes
            .iter()
            .filter(|node| node.index != which && node.lives())
            .count()
            > 0;
        match self.rng.random_range(0..10) {
            0 | 1 if others_live => {
                self.nodes[which].paused = true;
                self.beyond_promise |= self.stale;
            }
            2 | 3 => self.nodes[which].paused = false,
            4 if others_live => {
                self.nodes[which].crash();
                self.beyond_promise |= self.stale;
            }
            5 | 6 => self.nodes[which].up = true,
            7 => self.break_redis(),
            8 => self.redis.linked = false,
            9 => {
                let to = self.rng.random_range(0..self.nodes.len());
                let now = self.now;
                if to != which && self.nodes[which].lives() {
                    self.nodes[which].give(now, to);
                    self.send(which);
                } else {
                    self.redis.link();
                }
            }
            _ => self.now += Duration::from_millis(self.rng.random_range(500..4000)),
        }
    }

    fn break_redis(&mut self) {
        self.waits.clear();
        // Its connections break; what was on its way to it is lost.
        self.packets
            .retain(|packet| matches!(packet, Packet::Reply { .. }));
        if self.rng.random_bool(0.5) {
            let claimed = self
                .redis
                .master()
                .control
                .as_ref()
                .map(|control| control.token);
            self.stale |= !self.redis.linked;
            self.beyond_promise |= self.stale && self.nodes.iter().any(|node| !node.lives());
            self.redis.fail_over();
            let left = self
                .redis
                .master()
                .control
                .as_ref()
                .map(|control| control.token);
            self.forgot_claim |= claimed != left;
        } else {
            self.redis.restart();
        }
    }

    /// Highest epoch that the log has seen.
    pub(super) fn epoch(&self) -> u64 {
        let last = self.redis.master().entries.last();
        last.and_then(|(_, bytes)| Header::read(bytes).ok())
            .map_or(0, |header| header.epoch.0)
    }
}
