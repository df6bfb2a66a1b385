//! Which table should be the first, and which should follow the one that stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::assignment::rows::{Live, rows};
use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{NodeId, ShardId};
use crate::log::Identity;

/// The first table of a cluster, version 1. Each row names `replicas` distinct nodes, or all when
/// there are fewer.
///
/// `nodes` must not be empty: rows without a node would serve no one.
#[must_use]
pub fn first_table(
    identity: Identity,
    nodes: &BTreeMap<NodeId, NodeAddresses>,
    replicas: usize,
) -> Table {
    let live = Live {
        nodes,
        draining: &BTreeMap::new(),
    };
    let rows = rows(identity.shards, live, replicas, &BTreeMap::new());
    Table {
        version: 1,
        identity,
        nodes: nodes.clone(),
        rows,
        claimed: BTreeSet::new(),
        changes: Changes::default(),
    }
}

/// The table that should follow `current` with these live nodes, or `None` when it stands as it is
/// (also when no node lives: there is no one to assign to). A node that comes back under other
/// addresses is a change.
///
/// `claimed` are shards that have a control record, or may have one, beside those of which the
/// table says that they were claimed: a record that is missing takes nothing from a row. The
/// addresses of a dead node stay as long as a row names it. What the table says of nodes that are
/// replaced goes with what it is about.
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
    let kept_row = |shard: &ShardId| {
        let row = current
            .rows
            .get(usize::from(shard.0))
            .filter(|row| !row.is_empty())?;
        Some((*shard, kept(row, nodes)))
    };

    let keep = claimed.union(&current.claimed);
    let live = Live {
        nodes,
        draining: &current.changes.draining,
    };

    let rows = rows(
        current.identity.shards,
        live,
        replicas,
        &keep.filter_map(kept_row).collect(),
    );

    let mut named = nodes.clone();
    for node in rows.iter().flatten() {
        if let Some(addresses) = current.addresses(node) {
            named
                .entry(node.clone())
                .or_insert_with(|| addresses.clone());
        }
    }

    let mut changes = current.changes.clone();
    changes.replaced.retain(|shard, node| {
        rows.get(usize::from(shard.0))
            .is_some_and(|row| row.len() > replicas && row.contains(node))
    });

    let changed = rows != current.rows || named != current.nodes || changes != current.changes;
    changed.then(|| Table {
        version: current.version + 1,
        nodes: named,
        rows,
        changes,
        ..current.clone()
    })
}

/// What stays of the row of a claimed shard. More nodes than it should have stay, too: which of
/// them has what the others lack its owner knows, and lets the others go when it can.
fn kept(row: &[NodeId], nodes: &BTreeMap<NodeId, NodeAddresses>) -> Vec<NodeId> {
    let owner_lives = row.first().is_some_and(|owner| nodes.contains_key(owner));
    if !owner_lives {
        return row.to_vec();
    }
    row.iter()
        .filter(|node| nodes.contains_key(*node))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::assignment::rows::{EVEN_SHARDS_PER_NODE, owned_max};
    use crate::cluster::table::changes::Drain;
    use crate::ids::ClusterId;

    fn live(numbers: impl IntoIterator<Item = u8>) -> BTreeMap<NodeId, NodeAddresses> {
        let one = |number: u8| {
            let addresses = NodeAddresses {
                http: format!("h{number}:1"),
                peer: format!("h{number}:2"),
                ..NodeAddresses::default()
            };
            (NodeId::from(format!("node-{number}").as_str()), addresses)
        };
        numbers.into_iter().map(one).collect()
    }

    fn identity(shards: u32) -> Identity {
        Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards,
        }
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
        nodes
            .entry(NodeId::from("node-1"))
            .and_modify(|addresses| addresses.http = "elsewhere:1".to_owned());
        let next = next_table(&table, &nodes, 1, &BTreeSet::new()).expect("a change");
        assert_eq!((next.version, &next.rows), (2, &table.rows));
        assert_eq!(next.nodes, nodes);
    }

    fn drain(table: &mut Table, number: u8) -> NodeId {
        let node = NodeId::from(format!("node-{number}").as_str());
        table.changes.draining.insert(
            node.clone(),
            Drain {
                since_ms: 1,
                by: "a test".to_owned(),
            },
        );
        node
    }

    #[test]
    fn a_draining_node_keeps_what_was_claimed_and_gets_nothing() {
        let mut table = first_table(identity(64), &live(0..4), 2);
        table.claimed = (0..32).map(ShardId).collect();
        let drained = drain(&mut table, 1);

        // A standby is missing here and there.
        table
            .rows
            .iter_mut()
            .take(32)
            .step_by(3)
            .for_each(|row| row.truncate(1));
        let next = next_table(&table, &live(0..4), 2, &BTreeSet::new()).expect("a change");

        for (shard, (before, after)) in table.rows.iter().zip(&next.rows).enumerate() {
            assert_eq!(after.len(), 2);
            let kept = before.contains(&drained) && shard < 32;
            assert_eq!(
                after.contains(&drained),
                kept,
                "shard {shard}: {before:?} became {after:?}"
            );
        }

        assert!(
            fullest(&Table {
                rows: next.rows[32..].to_vec(),
                ..next.clone()
            }) <= 24,
            "the others share the rest"
        );
        assert_eq!(next_table(&next, &live(0..4), 2, &BTreeSet::new()), None);

        // It is still there when it is started again, and when it is gone for good.
        let gone = next_table(&next, &live([0, 2, 3]), 2, &BTreeSet::new()).expect("a change");
        assert!(gone.is_draining(&drained) && next.is_draining(&drained));
    }

    #[test]
    fn where_all_drain_somebody_serves_all_the_same() {
        let mut table = first_table(identity(16), &live(0..1), 1);
        drain(&mut table, 0);
        assert_eq!(next_table(&table, &live(0..1), 1, &BTreeSet::new()), None);
    }

    #[test]
    fn what_is_said_of_a_replaced_node_goes_with_its_further_place() {
        let mut table = first_table(identity(4), &live(0..3), 2);
        table.claimed = all(&table);

        let (outsider, row) = (NodeId::from("node-9"), table.rows[1].clone());
        let third = live(0..3)
            .into_keys()
            .find(|node| !row.contains(node))
            .expect("a third");
        table.rows[1].insert(1, third);

        table.changes.replaced = BTreeMap::from([(ShardId(1), row[1].clone())]);
        assert_eq!(
            next_table(&table, &live(0..3), 2, &BTreeSet::new()),
            None,
            "it is under way"
        );

        for (shard, node) in [(0, &row[0]), (1, &outsider), (7, &row[0])] {
            let mut stale = table.clone();
            stale.changes.replaced = BTreeMap::from([(ShardId(shard), node.clone())]);
            let next = next_table(&stale, &live(0..3), 2, &BTreeSet::new()).expect("a change");
            assert!(next.changes.is_empty() && next.rows == table.rows);
        }
    }

    fn zoned(
        numbers: impl IntoIterator<Item = u8>,
        zones: &[&str],
    ) -> BTreeMap<NodeId, NodeAddresses> {
        let mut nodes = live(numbers);
        for (addresses, zone) in nodes.values_mut().zip(zones.iter().cycle()) {
            (*zone).clone_into(&mut addresses.zone);
        }
        nodes
    }

    #[test]
    fn a_free_place_goes_to_a_zone_that_the_row_has_not() {
        let nodes = zoned(0..6, &["a", "a", "b"]);
        let table = first_table(identity(64), &nodes, 2);
        let zones = |row: &Vec<NodeId>| {
            row.iter()
                .map(|node| table.zone(node))
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert!(
            table.rows.iter().all(|row| zones(row) == 2),
            "{:?}",
            table.rows
        );
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

    fn all(table: &Table) -> BTreeSet<ShardId> {
        (0..u16::try_from(table.rows.len()).expect("few"))
            .map(ShardId)
            .collect()
    }

    fn standing(table: &Table) -> BTreeMap<&NodeId, usize> {
        let mut standing = BTreeMap::new();
        for node in table.rows.iter().flat_map(|row| &row[1..]) {
            *standing.entry(node).or_default() += 1;
        }
        standing
    }

    #[test]
    fn a_standby_that_is_gone_is_replaced_and_nothing_else_moves() {
        let table = first_table(identity(64), &live(0..4), 2);
        let gone = NodeId::from("node-3");
        // Its own shards were taken over meanwhile.
        let mut taken = table.clone();
        taken
            .rows
            .iter_mut()
            .filter(|row| row[0] == gone)
            .for_each(|row| row.reverse());
        let next = next_table(&taken, &live(0..3), 2, &all(&table)).expect("a change");

        for (before, after) in taken.rows.iter().zip(&next.rows) {
            assert_eq!((after.len(), &before[0]), (2, &after[0]));
            assert!(!after.contains(&gone) && (before[1] == gone || before == after));
        }

        assert_eq!(next.addresses(&gone), None);

        // It comes back as any other: nothing moves for balance.
        let back = next_table(&next, &live(0..4), 2, &all(&table)).expect("its addresses");
        assert_eq!(back.rows, next.rows);
    }

    #[test]
    fn the_row_of_an_owner_that_is_gone_stays_as_it_is() {
        let table = first_table(identity(16), &live(0..3), 2);
        let next = next_table(&table, &live([7]), 2, &all(&table)).expect("a change");
        assert_eq!(
            next.rows, table.rows,
            "one of them has the messages, and 7 has none"
        );
        assert!(
            table
                .nodes
                .keys()
                .all(|node| next.addresses(node) == table.addresses(node))
        );
    }

    #[test]
    fn more_replicas_are_added_at_the_end_and_surplus_ones_are_left_to_their_owners() {
        let table = first_table(identity(16), &live(0..3), 2);
        let more = next_table(&table, &live(0..3), 3, &all(&table)).expect("a change");
        assert!(
            table
                .rows
                .iter()
                .zip(&more.rows)
                .all(|(two, three)| three.len() == 3 && three[..2] == two[..])
        );
        assert_eq!(next_table(&more, &live(0..3), 2, &all(&table)), None);
    }

    #[test]
    fn the_shards_of_each_owner_are_stood_by_for_by_all_others_alike() {
        let table = first_table(identity(256), &live(0..5), 2);
        let mut pairs: BTreeMap<[&NodeId; 2], usize> = BTreeMap::new();
        for row in &table.rows {
            *pairs.entry([&row[0], &row[1]]).or_default() += 1;
        }
        assert_eq!(pairs.len(), 20);
        assert!(
            pairs.values().all(|count| (8..=20).contains(count)),
            "{pairs:?}"
        );
    }

    #[test]
    fn the_loss_of_a_node_leaves_none_of_the_others_more_than_a_quarter_above_their_mean() {
        // The alert RookeryShardsUneven begins beyond this.
        for (shards, count) in [
            (16, 3),
            (64, 3),
            (64, 4),
            (256, 3),
            (256, 4),
            (256, 5),
            (256, 8),
            (256, 12),
        ] {
            let table = first_table(identity(shards), &live(0..count), 2);
            for gone in table.nodes.keys() {
                let mut taken = table.clone();
                taken
                    .rows
                    .iter_mut()
                    .filter(|row| row[0] == *gone)
                    .for_each(|row| row.reverse());
                let (shards, others) = (shards as usize, usize::from(count) - 1);
                let most = (shards * 5).div_ceil(others * 4);
                assert!(
                    fullest(&taken) <= most,
                    "{} of {shards} on {others}, at most {most}",
                    fullest(&taken)
                );
            }
        }
    }

    #[test]
    fn the_rows_of_claimed_shards_keep_their_nodes_though_redis_lost_their_control_records() {
        for count in [3, 4, 5] {
            // Three began, the others came later; node-1 died once and came back: ordinary life.
            let mut current = first_table(identity(256), &live(0..3), 2);
            current.claimed = all(&current);
            current = next_table(&current, &live(0..count), 2, &BTreeSet::new()).unwrap_or(current);
            current
                .rows
                .iter_mut()
                .filter(|row| row[0] == NodeId::from("node-1"))
                .for_each(|row| row.reverse());
            // A new coordinator looks: no control record answers.
            assert_eq!(
                next_table(&current, &live(0..count), 2, &BTreeSet::new()),
                None
            );
        }
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

            let places = shards * (replicas.min(count) - 1);
            let most = standing(&table).into_values().max().unwrap_or(0);
            prop_assert!(most <= (places * 11).div_ceil(count * 10) + 1, "{most} of {places} on {count}");
        }

        #[test]
        fn rows_stand_in_as_many_zones_as_they_can(
            (shards, nodes, replicas) in cluster(),
            zones in prop::collection::vec("[abc]?", 1..6),
        ) {
            let names: Vec<&str> = zones.iter().map(String::as_str).collect();
            let numbers = nodes.keys().filter_map(|node| node.0.rsplit('-').next()?.parse().ok());
            let in_zones = zoned(numbers, &names);
            let table = first_table(identity(shards), &in_zones, replicas);
            let there = in_zones.values().map(|addresses| &*addresses.zone).collect::<BTreeSet<_>>().len();
            for row in &table.rows {
                let of_row = row.iter().map(|node| table.zone(node)).collect::<BTreeSet<_>>().len();
                prop_assert_eq!(of_row, there.min(row.len()));
            }
            prop_assert_eq!(next_table(&table, &in_zones, replicas, &BTreeSet::new()), None);
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

        /// That a shard was claimed is in the table: what of control records is seen, and what of
        /// Redis is lost, adds to it and takes nothing away.
        #[test]
        fn rows_of_a_claimed_shard_keep_their_nodes_whatever_the_control_records_say(
            (shards, nodes, replicas) in cluster(),
            later in prop::collection::btree_set(0_u8..40, 1..20),
            seen in prop::collection::btree_set(0_u16..1024, 0..200),
            turned in prop::collection::vec(any::<bool>(), 1024),
        ) {
            let mut table = first_table(identity(shards), &nodes, replicas);
            table.claimed = all(&table);
            table.rows.iter_mut().zip(turned).filter(|(_, turned)| *turned).for_each(|(row, _)| row.reverse());
            let (seen, later) = (seen.into_iter().map(ShardId).collect(), live(later));
            let next = next_table(&table, &later, replicas, &seen).unwrap_or_else(|| table.clone());
            prop_assert_eq!(&next.claimed, &table.claimed);
            for (before, after) in table.rows.iter().zip(&next.rows) {
                prop_assert_eq!(&before[0], &after[0]);
                prop_assert!(before.iter().all(|node| after.contains(node) || !later.contains_key(node)));
            }
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
