//! Rows that have more nodes than they should: who of them stays.

use std::collections::BTreeSet;

use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

/// The nodes that stay of a row, as many as it should have: first of all those that are neither
/// replaced nor draining, in the order of the row.
pub(super) fn staying(table: &Table, shard: ShardId, replicas: usize) -> Vec<&NodeId> {
    let row = table
        .rows
        .get(usize::from(shard.0))
        .map_or(&[][..], Vec::as_slice);
    let mut stays: Vec<&NodeId> = row.iter().collect();
    stays.sort_by_key(|node| {
        (
            table.replaced(shard) == Some(*node),
            table.is_draining(node),
        )
    });
    stays.truncate(replicas.max(1));
    stays
}

/// The row of a shard without those that are more than it should have, once those that stay are
/// there: `in_sync` are its standbys that are. `None` when nothing is to go yet, or when the owner
/// itself is to go: it hands the shard over first.
#[must_use]
pub fn without_surplus(
    table: &Table,
    shard: ShardId,
    replicas: usize,
    in_sync: &BTreeSet<NodeId>,
) -> Option<Vec<NodeId>> {
    let row = table
        .rows
        .get(usize::from(shard.0))
        .filter(|row| row.len() > replicas.max(1))?;
    let owner = row.first()?;

    let stays = staying(table, shard, replicas);
    let are_there = stays
        .iter()
        .all(|node| *node == owner || in_sync.contains(*node));
    let stays_in_order = || {
        row.iter()
            .filter(|node| stays.contains(node))
            .cloned()
            .collect()
    };
    (stays.contains(&owner) && are_there).then(stays_in_order)
}
