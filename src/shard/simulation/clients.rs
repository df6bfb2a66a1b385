//! The clients: what they send, and send again, what they read, and what they must see.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::shard::simulation::node::Told;
use crate::shard::simulation::world::{Without, World};

/// Operations that clients have open at once.
const OPEN_MAX: usize = 6;

/// A read that has begun.
#[derive(Debug)]
pub(super) struct Read {
    node: usize,
    /// Acknowledged before it began.
    must: BTreeSet<u64>,
    shows: Vec<u64>,
}

impl World {
    pub(super) fn told(&mut self, told: &Told) {
        match told {
            Told::Acknowledged(operation) => {
                self.acknowledged.insert(*operation);
                self.open.retain(|open| open != operation);
            }
            Told::Opened => self.opened += 1,
        }
    }

    /// A client sends, or sends again, to a node that may own the shard.
    pub(super) fn submit(&mut self) {
        if self.open.len() < OPEN_MAX && self.rng.random_bool(0.5) {
            self.open.push(self.next_operation);
            self.next_operation += 1;
        }
        self.send_again();
    }

    pub(super) fn send_again(&mut self) {
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
    pub(super) fn read(&mut self) {
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
}
