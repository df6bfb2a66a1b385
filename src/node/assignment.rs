//! The assignment: which table should stand, given the live nodes and the table that stands now. Pure.
//!
//! The ring proposes an order of nodes for each shard; a bounded-load pass evens out the owners. A shard that was ever
//! claimed keeps its owner here, dead or alive: it moves by hand-over or failover only. What comes out depends on
//! nothing but the arguments, so a second pass over its own result changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{NodeId, ShardId};
use crate::node::ring::Ring;
use crate::node::table::{NodeAddresses, Table};
use crate::shard::log::Identity;

/// With at least this many shards per node, no node owns more than 1.10 times the mean.
pub const EVEN_SHARDS_PER_NODE: usize = 16;

/// The first table of a cluster, version 1. Each row names `replicas` distinct nodes, or all when there are fewer.
///
/// `nodes` must not be empty: rows without a node would serve no one.
#[must_use]
pub fn first_table(identity: Identity, nodes: &BTreeMap<NodeId, NodeAddresses>, replicas: usize) -> Table {
    let owners = BTreeMap::new();
    Table { version: 1, identity, nodes: nodes.clone(), rows: rows(identity.shards, nodes, replicas, &owners) }
}

/// The table that should follow `current` with these live nodes, or `None` when it stands as it is (also when no node
/// lives: there is no one to assign to). A node that comes back under other addresses is a change.
///
/// `claimed` are the shards that have a control record. The addresses of a dead node stay as long as a row names it.
#[must_use]
pub fn next_table(
    current: &Table,
    nodes: &BTreeMap<NodeId, NodeAddresses>,
    replicas: usize,
    claimed: &BTreeSet<ShardId>,
) -> Option<Table> {
    if nodes.is_empty() {
        return None;
    }
    let kept = |shard: &ShardId| Some((*shard, current.owner(*shard)?.clone()));
    let owners: BTreeMap<ShardId, NodeId> = claimed.iter().filter_map(kept).collect();
    let rows = rows(current.identity.shards, nodes, replicas, &owners);
    let mut named = nodes.clone();
    for owner in owners.into_values() {
        if let Some(addresses) = current.addresses(&owner) {
            named.entry(owner).or_insert_with(|| addresses.clone());
        }
    }
    let changed = rows != current.rows || named != current.nodes;
    changed.then_some(Table { version: current.version + 1, identity: current.identity, nodes: named, rows })
}

/// One row a shard. `owners` are those that stay.
fn rows(
    shards: u32,
    nodes: &BTreeMap<NodeId, NodeAddresses>,
    replicas: usize,
    owners: &BTreeMap<ShardId, NodeId>,
) -> Vec<Vec<NodeId>> {
    let shards = usize::try_from(shards).unwrap_or(usize::MAX);
    let ring = Ring::new(nodes.keys());
    let cap = owned_max(shards, nodes.len());
    let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for owner in owners.values() {
        *owned.entry(owner).or_default() += 1;
    }
    let mut rows = Vec::with_capacity(shards.min(1 << 16));
    for shard in (0..=u16::MAX).map(ShardId).take(shards) {
        let mut row = ring.preference(shard, nodes.len());
        if let Some(owner) = owners.get(&shard) {
            row.retain(|node| node != owner);
            row.insert(0, owner.clone());
        } else if let Some(place) = row.iter().position(|node| owned.get(node).is_none_or(|count| *count < cap)) {
            // There always is such a place: the caps add up to all shards, and those that stay only fill some of it.
            row.get_mut(..=place).into_iter().for_each(|passed_over| passed_over.rotate_right(1));
            if let Some((node, _)) = row.first().and_then(|owner| nodes.get_key_value(owner)) {
                *owned.entry(node).or_default() += 1;
            }
        }
        row.truncate(replicas.max(1));
        rows.push(row);
    }
    rows
}

/// How many shards one node may own. Rounded down where that still leaves a place for each shard, so that the fullest
/// node is within 1.10 of the mean; rounded up where nodes own too few shards for that.
fn owned_max(shards: usize, nodes: usize) -> usize {
    let (share, nodes) = (shards.saturating_mul(11), nodes.max(1).saturating_mul(10));
    if shards.saturating_mul(10) >= nodes.saturating_mul(EVEN_SHARDS_PER_NODE) {
        share / nodes
    } else {
        share.div_ceil(nodes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ClusterId;

    fn live(numbers: impl IntoIterator<Item = u8>) -> BTreeMap<NodeId, NodeAddresses> {
        let one = |number: u8| {
            let addresses = NodeAddresses { http: format!("h{number}:1"), peer: format!("h{number}:2") };
            (NodeId::from(format!("node-{number}").as_str()), addresses)
        };
        numbers.into_iter().map(one).collect()
    }

    fn identity(shards: u32) -> Identity {
        Identity { cluster: ClusterId(uuid::Uuid::nil()), shards }
    }

    fn fullest(table: &Table) -> usize {
        let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for row in &table.rows {
            *owned.entry(&row[0]).or_default() += 1;
        }
        owned.into_values().max().unwrap_or(0)
    }

    #[test]
    fn one_node_owns_everything_and_stands_alone() {
        let table = first_table(identity(16), &live([7]), 2);
        assert_eq!(table.version, 1);
        assert_eq!(table.rows, vec![vec![NodeId::from("node-7")]; 16]);
    }

    #[test]
    fn three_nodes_of_a_small_cluster_share_sixteen_shards() {
        let table = first_table(identity(16), &live(0..3), 1);
        assert_eq!(fullest(&table), 6);
        assert!(table.rows.iter().all(|row| row.len() == 1));
    }

    #[test]
    fn without_a_live_node_the_table_stands() {
        let table = first_table(identity(16), &live(0..3), 1);
        assert_eq!(next_table(&table, &live([]), 1, &BTreeSet::new()), None);
    }

    #[test]
    fn another_address_is_a_new_version_with_the_same_rows() {
        let mut nodes = live(0..3);
        let table = first_table(identity(16), &nodes, 1);
        nodes.entry(NodeId::from("node-1")).and_modify(|addresses| addresses.http = "elsewhere:1".to_owned());
        let next = next_table(&table, &nodes, 1, &BTreeSet::new()).expect("a change");
        assert_eq!((next.version, &next.rows), (2, &table.rows));
        assert_eq!(next.nodes, nodes);
    }

    #[test]
    fn a_dead_owner_stays_reachable_until_no_row_names_it() {
        let table = first_table(identity(16), &live(0..3), 1);
        let dead = NodeId::from("node-2");
        let claimed = BTreeSet::from([table.owned_by(&dead).next().expect("it owns something")]);
        let next = next_table(&table, &live(0..2), 1, &claimed).expect("a change");
        assert_eq!(next.addresses(&dead), table.addresses(&dead));
        assert_eq!(next.owned_by(&dead).collect::<BTreeSet<_>>(), claimed);
        let last = next_table(&next, &live(0..2), 1, &BTreeSet::new()).expect("a change");
        assert_eq!(last.addresses(&dead), None);
    }

    prop_compose! {
        fn cluster()(power in 0_u32..=10, numbers in prop::collection::btree_set(0_u8..40, 1..20), replicas in 1_usize..4)
            -> (u32, BTreeMap<NodeId, NodeAddresses>, usize) {
            (1 << power, live(numbers), replicas)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_name_distinct_nodes_and_owners_are_evenly_loaded((shards, nodes, replicas) in cluster()) {
            let table = first_table(identity(shards), &nodes, replicas);
            prop_assert_eq!(table.rows.len(), shards as usize);
            for row in &table.rows {
                prop_assert_eq!(row.len(), replicas.min(nodes.len()));
                prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), row.len());
                prop_assert!(row.iter().all(|node| nodes.contains_key(node)));
            }
            let (shards, count) = (shards as usize, nodes.len());
            let fullest = fullest(&table);
            prop_assert!(fullest <= (shards * 11).div_ceil(count * 10));
            if shards >= EVEN_SHARDS_PER_NODE * count {
                prop_assert!(fullest * count * 10 <= shards * 11, "{fullest} of {shards} on {count}");
            }
        }

        #[test]
        fn it_converges_and_claimed_shards_never_move(
            (shards, nodes, replicas) in cluster(),
            others in prop::collection::btree_set(0_u8..40, 1..20),
            claimed in prop::collection::btree_set(0_u16..1024, 0..200),
        ) {
            let table = first_table(identity(shards), &nodes, replicas);
            prop_assert_eq!(next_table(&table, &nodes, replicas, &BTreeSet::new()), None);
            let claimed: BTreeSet<ShardId> =
                claimed.into_iter().filter(|shard| u32::from(*shard) < shards).map(ShardId).collect();
            let others = live(others);
            let next = next_table(&table, &others, replicas, &claimed).unwrap_or_else(|| table.clone());
            for shard in &claimed {
                prop_assert_eq!(next.owner(*shard), table.owner(*shard));
            }
            for (shard, row) in (0..).map(ShardId).zip(&next.rows) {
                prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), row.len());
                prop_assert!(row.iter().all(|node| next.nodes.contains_key(node)));
                prop_assert!(claimed.contains(&shard) || others.contains_key(&row[0]));
            }
            prop_assert_eq!(next_table(&next, &others, replicas, &claimed), None);
        }

        #[test]
        fn unclaimed_shards_give_way_to_the_load_of_claimed_ones(
            numbers in prop::collection::btree_set(0_u8..40, 2..8),
            claimed in prop::collection::btree_set(0_u16..256, 0..256),
        ) {
            let first = live(numbers.iter().copied().take(1));
            let table = first_table(identity(256), &first, 1);
            let claimed: BTreeSet<ShardId> = claimed.into_iter().map(ShardId).collect();
            let nodes = live(numbers);
            let next = next_table(&table, &nodes, 1, &claimed).expect("nodes joined");
            let cap = owned_max(256, nodes.len());
            prop_assert!(fullest(&next) <= cap.max(claimed.len()));
        }
    }
}
