//! Who should have less, and who more: which shard is to change its owner next, and which row is to
//! get a further node in the place of one. Pure; whoever carries it out sees to it that nothing is
//! moved to a cold copy (ADR 20).
//!
//! What a draining node has goes first, and whatever rests. Evening out stops well before all is
//! even: what is within a twentieth of the mean stays where it is, so nothing moves to and fro, and
//! a third node that joins takes from the others without anything moving between them.

use std::collections::BTreeSet;

use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

pub use moves::Move;
pub use places::Placed;
pub use steps::{Step, What};
pub use surplus::without_surplus;

mod surplus;

mod moves;

mod places;

mod steps;

#[cfg(test)]
mod tests;

/// What is within this part of the mean is even enough.
const SLACK_PART: usize = 20;

/// What the balance goes by.
#[derive(Debug, Clone, Copy)]
pub struct Balance<'a> {
    /// The table that stands.
    pub table: &'a Table,
    /// Nodes that live, and have for a while.
    pub nodes: &'a BTreeSet<NodeId>,
    /// Nodes that hold a shard, its owner among them.
    pub replicas: usize,
    /// Shards that are not to be moved now.
    pub resting: &'a BTreeSet<ShardId>,
}

impl<'a> Balance<'a> {
    /// The nodes that may get something.
    fn takers(&self) -> BTreeSet<&'a NodeId> {
        self.nodes
            .iter()
            .filter(|node| !self.table.is_draining(node))
            .collect()
    }
}

/// How many of `all` each of so many nodes should have, at least and at most.
fn bounds(all: usize, nodes: usize) -> (usize, usize) {
    let nodes = nodes.max(1);
    let slack = all / nodes / SLACK_PART;
    (
        (all / nodes).saturating_sub(slack),
        all.div_ceil(nodes) + slack,
    )
}
