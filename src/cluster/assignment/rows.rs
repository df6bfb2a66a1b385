//! One row a shard: owners by the ring within a bound, standbys where the fewest are.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::assignment::load::Load;
use crate::cluster::ring::Ring;
use crate::cluster::table::NodeAddresses;
use crate::cluster::table::changes::Drain;
use crate::ids::{NodeId, ShardId};

/// With at least this many shards per node, no node owns more than 1.10 times the mean.
pub const EVEN_SHARDS_PER_NODE: usize = 16;

/// The nodes that live, and those of all nodes that are to get nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live<'a> {
    pub(super) nodes: &'a BTreeMap<NodeId, NodeAddresses>,
    pub(super) draining: &'a BTreeMap<NodeId, Drain>,
}

impl<'a> Live<'a> {
    /// Those that may get something: where all are draining, all, for somebody has to serve.
    fn takers(self) -> Vec<&'a NodeId> {
        let takers: Vec<&NodeId> = self
            .nodes
            .keys()
            .filter(|node| !self.draining.contains_key(*node))
            .collect();
        if takers.is_empty() {
            self.nodes.keys().collect()
        } else {
            takers
        }
    }

    fn zone(self, node: &NodeId) -> &'a str {
        self.nodes.get(node).map_or("", |addresses| &addresses.zone)
    }
}

/// One row a shard. `kept` are the nodes that stay, of shards that were claimed: those keep their
/// owner, and get further standbys while it lives.
pub(super) fn rows(
    shards: u32,
    live: Live<'_>,
    replicas: usize,
    kept: &BTreeMap<ShardId, Vec<NodeId>>,
) -> Vec<Vec<NodeId>> {
    let shards = usize::try_from(shards).unwrap_or(usize::MAX);
    let takers = live.takers();
    let ring = Ring::new(takers.iter().copied());
    let cap = owned_max(shards, takers.len());
    let mut load = Load::of(kept.values());
    let mut rows = Vec::with_capacity(shards.min(1 << 16));
    for shard in (0..=u16::MAX).map(ShardId).take(shards) {
        let preferred = ring.preference(shard, takers.len());
        let row = kept.get(&shard).cloned().unwrap_or_else(|| {
            // There always is such a place: the caps add up to all shards, and those that stay only
            // fill some of it.
            let owner = preferred
                .iter()
                .find(|node| load.owned(node) < cap)
                .or_else(|| preferred.first());
            owner
                .inspect(|owner| load.add_owner(owner))
                .cloned()
                .into_iter()
                .collect()
        });
        rows.push((kept.contains_key(&shard), row, preferred));
    }

    // Those that stay first: a second pass then finds the others as this one did.
    for stays in [true, false] {
        for (_, row, preferred) in rows
            .iter_mut()
            .filter(|(was_there, ..)| *was_there == stays)
        {
            add_standbys(row, preferred, live, replicas, &mut load);
        }
    }

    rows.into_iter().map(|(_, row, _)| row).collect()
}

/// Fills the free places of a row: by nodes of zones that it has not, of several by who stands by
/// for the fewest shards, of several by who does so for the fewest of this owner's, so that these
/// are spread when it dies, of several by the first on the ring.
fn add_standbys(
    row: &mut Vec<NodeId>,
    preferred: &[NodeId],
    live: Live<'_>,
    replicas: usize,
    load: &mut Load,
) {
    let Some(owner) = row
        .first()
        .filter(|owner| live.nodes.contains_key(*owner))
        .cloned()
    else {
        return;
    };

    while row.len() < replicas {
        let zones: BTreeSet<&str> = row.iter().map(|node| live.zone(node)).collect();
        let free = preferred.iter().filter(|node| !row.contains(node));
        let best =
            free.min_by_key(|node| (zones.contains(live.zone(node)), load.standing(&owner, node)));
        let Some(node) = best.cloned() else { break };
        load.add_standby(&owner, &node);
        row.push(node);
    }
}

/// How many shards one node may own. Rounded down where that still leaves a place for each shard,
/// so that the fullest node is within 1.10 of the mean; rounded up where nodes own too few shards
/// for that.
pub(super) fn owned_max(shards: usize, nodes: usize) -> usize {
    let (share, nodes) = (shards.saturating_mul(11), nodes.max(1).saturating_mul(10));
    if shards.saturating_mul(10) >= nodes.saturating_mul(EVEN_SHARDS_PER_NODE) {
        share / nodes
    } else {
        share.div_ceil(nodes)
    }
}
