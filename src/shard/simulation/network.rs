//! The network between nodes and servers: requests and answers on their way, late, lost, or in
//! order.

use bytes::Bytes;
use rand::Rng;

use crate::log::record::Tail;
use crate::shard::simulation::node::{Node, Role};
use crate::shard::simulation::redis::{Call, Reply};
use crate::shard::simulation::world::{Without, World};

/// A request or an answer on its way.
#[derive(Debug)]
pub(super) enum Packet {
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

impl World {
    pub(super) fn send(&mut self, which: usize) {
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
    pub(super) fn deliver(&mut self) {
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

    pub(super) fn end_waits(&mut self) {
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
}
