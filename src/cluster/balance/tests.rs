use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::cluster::assignment::{first_table, next_table};
use crate::cluster::table::NodeAddresses;
use crate::cluster::table::changes::Drain;
use crate::ids::ClusterId;
use crate::log::Identity;

fn node(number: usize) -> NodeId {
    NodeId::from(format!("node-{number}").as_str())
}

fn nodes(count: usize) -> BTreeSet<NodeId> {
    (0..count).map(node).collect()
}

/// Node by node in these zones, in turn.
fn live(count: usize, zones: &[&str]) -> BTreeMap<NodeId, NodeAddresses> {
    let address = |number: usize| {
        let zone = zones
            .get(number % zones.len().max(1))
            .copied()
            .unwrap_or_default()
            .to_owned();
        (
            node(number),
            NodeAddresses {
                zone,
                ..NodeAddresses::of_peer(format!("h{number}:1"))
            },
        )
    };
    (0..count).map(address).collect()
}

fn first_in(shards: u32, live: &BTreeMap<NodeId, NodeAddresses>, replicas: usize) -> Table {
    let identity = Identity {
        cluster: ClusterId(uuid::Uuid::nil()),
        shards,
    };
    let table = first_table(identity, live, replicas);
    Table {
        claimed: (0..=u16::MAX).map(ShardId).take(table.rows.len()).collect(),
        ..table
    }
}

fn first(shards: u32, count: usize, replicas: usize) -> Table {
    first_in(shards, &live(count, &[]), replicas)
}

fn drain(table: &mut Table, number: usize) {
    table.changes.draining.insert(
        node(number),
        Drain {
            since_ms: 1,
            by: "a test".to_owned(),
        },
    );
}

/// As an owner puts itself first.
fn carry_out(table: &mut Table, done: &Move) {
    let row = &mut table.rows[usize::from(done.shard.0)];
    assert_eq!(row[0], done.from);
    assert!(row.contains(&done.to), "a copy is there");
    row.retain(|node| *node != done.to);
    let former = row.remove(0);
    row.insert(0, done.to.clone());
    row.push(former);
}

/// All that were placed are seeded, and the owners let the others go.
fn let_go(table: &mut Table, replicas: usize) {
    for shard in (0..=u16::MAX).map(ShardId).take(table.rows.len()) {
        let in_sync = table.rows[usize::from(shard.0)].iter().cloned().collect();
        if let Some(stays) = without_surplus(table, shard, replicas, &in_sync) {
            table.rows[usize::from(shard.0)] = stays;
            table.changes.replaced.remove(&shard);
        }
    }
}

/// Balances until nothing is to be done; how many moves and places that took. No row ever has fewer
/// copies than it should.
fn settle(table: &mut Table, nodes: &BTreeSet<NodeId>, replicas: usize) -> (usize, usize) {
    let resting = BTreeSet::new();
    let (mut moved, mut placed) = (0, 0);
    for _ in 0..10_000 {
        let_go(table, replicas);
        assert!(
            table
                .rows
                .iter()
                .all(|row| row.len() >= replicas.min(nodes.len())),
            "a copy is missing: {table:?}"
        );
        let balance = Balance {
            table,
            nodes,
            replicas,
            resting: &resting,
        };
        let due = balance.due_moves(|_, _| true);
        assert!(due.is_empty() || balance.has_due_moves());
        if let Some(done) = due.first() {
            carry_out(table, done);
            moved += 1;
            continue;
        }
        if let Some((next, places)) = balance.next_places(4, true) {
            placed += places.len();
            *table = next;
            continue;
        }
        let moves = balance.even_moves();
        if moves.is_empty() {
            return (moved, placed);
        }
        for done in moves {
            carry_out(table, &done);
            moved += 1;
        }
    }
    panic!("it does not come to rest: {table:?}");
}

fn spread(
    table: &Table,
    of: impl Fn(&Vec<NodeId>) -> Vec<NodeId>,
    nodes: &BTreeSet<NodeId>,
) -> (usize, usize) {
    let mut counts: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (node.clone(), 0)).collect();
    for node in table.rows.iter().flat_map(of) {
        *counts.entry(node).or_default() += 1;
    }
    (
        counts.values().copied().min().unwrap_or(0),
        counts.values().copied().max().unwrap_or(0),
    )
}

fn owners(row: &[NodeId]) -> Vec<NodeId> {
    row[..1].to_vec()
}

#[test]
fn a_node_that_came_back_gets_its_share_again() {
    let mut table = first(256, 3, 2);
    let all = nodes(3);
    // What it owned was taken over.
    table
        .rows
        .iter_mut()
        .filter(|row| row[0] == node(2))
        .for_each(|row| row.reverse());
    let (moved, placed) = settle(&mut table, &all, 2);
    let (least, most) = spread(&table, |row| owners(row), &all);
    assert!(least >= 81 && most <= 90, "{least} to {most}");
    assert!(
        (78..=95).contains(&moved) && placed <= 2,
        "{moved} moves, {placed} places"
    );
}

#[test]
fn a_node_that_joins_gets_its_share_and_nothing_moves_between_the_others() {
    let before = first(256, 3, 2);
    let mut table = before.clone();
    let all = nodes(4);
    let (moved, placed) = settle(&mut table, &all, 2);
    let owned = spread(&table, |row| owners(row), &all);
    let places = spread(&table, Vec::clone, &all);
    assert!(owned.0 >= 61 && owned.1 <= 75, "owners {owned:?}");
    assert!(places.0 >= 121 && places.1 <= 150, "places {places:?}");
    // The least that could be: a quarter of the places, of which the half own.
    assert!(
        placed <= 128 && moved <= 90,
        "{placed} places, {moved} moves"
    );
    for (after, row) in table.rows.iter().zip(&before.rows) {
        let came: Vec<_> = after.iter().filter(|node| !row.contains(node)).collect();
        assert!(
            came.iter().all(|came| **came == node(3)),
            "{row:?} became {after:?}"
        );
    }
}

#[test]
fn nodes_that_share_no_row_are_evened_out_by_way_of_a_third() {
    let of = |pair: [usize; 2]| pair.map(node).to_vec();
    let mut table = first(8, 3, 2);
    // The first owns all; the last stands by for the second only, which owns nothing.
    table.rows = vec![of([0, 1]); 6];
    table.rows.extend(vec![of([1, 2]); 2]);
    let all = nodes(3);
    let resting = BTreeSet::new();
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 2,
        resting: &resting,
    };
    let moves = balance.even_moves();
    assert_eq!(moves.len(), 2, "{moves:?}");
    assert_eq!(
        (&moves[0].from, &moves[0].to, &moves[1].from, &moves[1].to),
        (&node(1), &node(2), &node(0), &node(1))
    );
    settle(&mut table, &all, 2);
    assert_eq!(spread(&table, |row| owners(row), &all), (2, 3));
}

#[test]
fn nothing_moves_while_a_node_is_missing_or_a_shard_rests() {
    let mut table = first(64, 3, 2);
    table
        .rows
        .iter_mut()
        .filter(|row| row[0] == node(2))
        .for_each(|row| row.reverse());
    let (none, all) = (BTreeSet::new(), nodes(3));
    let resting: BTreeSet<ShardId> = (0..64).map(ShardId).collect();
    let two = nodes(2);
    assert!(
        Balance {
            table: &table,
            nodes: &two,
            replicas: 2,
            resting: &none
        }
        .even_moves()
        .is_empty()
    );
    assert!(
        Balance {
            table: &table,
            nodes: &all,
            replicas: 2,
            resting: &resting
        }
        .even_moves()
        .is_empty()
    );
    assert!(
        !Balance {
            table: &table,
            nodes: &all,
            replicas: 2,
            resting: &none
        }
        .even_moves()
        .is_empty()
    );
}

#[test]
fn a_shard_with_one_replica_moves_by_a_further_place_a_hand_over_and_the_end_of_the_former_one() {
    let mut table = first(64, 1, 1);
    let (none, all) = (BTreeSet::new(), nodes(2));
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 1,
        resting: &none,
    };
    let (next, placed) = balance
        .next_places(1, true)
        .expect("the second has nothing");
    let shard = placed[0].shard;
    assert_eq!(next.rows[usize::from(shard.0)], [node(0), node(1)]);
    let both = next.rows[usize::from(shard.0)].iter().cloned().collect();
    assert_eq!(
        without_surplus(&next, shard, 1, &both),
        None,
        "it is the owner that goes, and not by itself"
    );
    let due = Balance {
        table: &next,
        ..balance
    };
    assert!(
        due.due_moves(|_, _| false).is_empty(),
        "the copy is not there yet"
    );
    let moves = due.due_moves(|_, _| true);
    assert_eq!((moves.len(), &moves[0].to), (1, &node(1)));
    let mut given = next.clone();
    carry_out(&mut given, &moves[0]);
    assert_eq!(
        without_surplus(&given, shard, 1, &BTreeSet::new()),
        Some(vec![node(1)])
    );

    let (moved, places) = settle(&mut table, &all, 1);
    assert!(
        moved == places && (30..=34).contains(&moved),
        "{moved} moves, {places} places"
    );
    assert_eq!(
        spread(&table, |row| owners(row), &all).0 + spread(&table, |row| owners(row), &all).1,
        64
    );
    assert!(table.rows.iter().all(|row| row.len() == 1) && table.changes.is_empty());
}

#[test]
fn a_surplus_standby_goes_when_those_that_stay_are_in_sync() {
    let mut table = first(1, 4, 1);
    let shard = ShardId(0);
    let sync = |of: &[usize]| of.iter().copied().map(node).collect::<BTreeSet<_>>();
    table.rows[0] = [0, 3, 1].map(node).to_vec();
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        None,
        "the new one is not there yet"
    );
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[3])),
        Some([0, 3].map(node).to_vec())
    );
    assert_eq!(
        without_surplus(&table, shard, 3, &sync(&[1, 3])),
        None,
        "it is no surplus"
    );

    // Whom the table says, and whoever drains, wherever they stand.
    table.changes.replaced.insert(shard, node(3));
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        Some([0, 1].map(node).to_vec())
    );
    table.changes.replaced.clear();
    drain(&mut table, 3);
    assert_eq!(without_surplus(&table, shard, 2, &sync(&[3])), None);
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        Some([0, 1].map(node).to_vec())
    );
    drain(&mut table, 0);
    assert_eq!(
        without_surplus(&table, shard, 1, &sync(&[1, 3])),
        None,
        "the owner hands over first"
    );
    table.rows[0].truncate(2);
    assert_eq!(without_surplus(&table, shard, 2, &sync(&[3])), None);
}

#[test]
fn a_draining_node_gives_what_it_owns_then_its_places_and_gets_nothing() {
    let mut table = first(64, 4, 2);
    let all = nodes(4);
    drain(&mut table, 1);
    let (none, everything): (_, BTreeSet<ShardId>) =
        (BTreeSet::new(), (0..64).map(ShardId).collect());
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 2,
        resting: &none,
    };
    let owned = table.owned_by(&node(1)).count();
    let moves = balance.due_moves(|_, _| true);
    assert_eq!(moves.len(), owned);
    assert!(
        moves
            .iter()
            .all(|done| done.from == node(1) && done.why == "node-1 is draining"),
        "{moves:?}"
    );
    assert!(
        balance.even_moves().is_empty(),
        "nothing is evened out meanwhile"
    );
    let (_, placed) = balance
        .next_places(8, false)
        .expect("though nothing is to be evened out");
    assert!(
        placed.len() == 8 && placed.iter().all(|place| place.instead_of == node(1)),
        "{placed:?}"
    );
    let resting = Balance {
        resting: &everything,
        ..balance
    };
    assert!(
        resting.due_moves(|_, _| true).is_empty(),
        "what could not be moved just now"
    );

    settle(&mut table, &all, 2);
    assert!(!table.names(&node(1)) && table.rows.iter().all(|row| row.len() == 2));
    let others: BTreeSet<NodeId> = [0, 2, 3].map(node).into();
    let share = spread(&table, |row| owners(row), &others);
    assert!(share.0 >= 20 && share.1 <= 23, "{share:?}");
}

#[test]
fn two_nodes_that_drain_at_once_leave_the_rows_that_they_share() {
    let mut table = first(16, 4, 2);
    table.rows = vec![[0, 1].map(node).to_vec(); 16];
    drain(&mut table, 0);
    drain(&mut table, 1);
    settle(&mut table, &nodes(4), 2);
    assert!(
        table
            .rows
            .iter()
            .all(|row| row.iter().collect::<BTreeSet<_>>() == [&node(2), &node(3)].into())
    );
}

#[test]
fn the_steps_that_would_follow_are_told_in_their_order_with_their_reasons() {
    let mut table = first(4, 2, 1);
    table.rows = [0, 0, 0, 1].map(|owner| vec![node(owner)]).to_vec();
    drain(&mut table, 1);
    let (none, all) = (BTreeSet::new(), nodes(3));
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 1,
        resting: &none,
    };
    let told = |steps: Vec<Step>| -> Vec<String> {
        let line = |step: Step| format!("{:?} {} {} {}", step.what, step.shard, step.from, step.to);
        steps.into_iter().map(line).collect()
    };
    assert_eq!(
        told(balance.steps(false, 9)),
        ["Copy s3 node-1 node-2", "Owner s3 node-1 node-2"]
    );
    let evened = told(balance.steps(true, 9));
    assert_eq!(
        (evened.len(), &evened[..2]),
        (4, &told(balance.steps(false, 9))[..]),
        "{evened:?}"
    );
    assert_eq!(balance.steps(true, 1).len(), 1);
}

/// Rows with two nodes in one zone, while a node that may take a place stands in a zone that they
/// have not.
fn badly_spread(table: &Table, nodes: &BTreeSet<NodeId>) -> usize {
    let zones: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| !table.is_draining(node))
        .map(|node| table.zone(node))
        .collect();
    let is_bad = |row: &&Vec<NodeId>| {
        let of_row: BTreeSet<&str> = row.iter().map(|node| table.zone(node)).collect();
        of_row.len() < row.len() && !zones.is_subset(&of_row)
    };
    table.rows.iter().filter(is_bad).count()
}

#[test]
fn rows_of_nodes_that_told_no_zone_are_spread_when_they_do() {
    let mut table = first(64, 4, 2);
    table.nodes = live(4, &["a", "b"]);
    let all = nodes(4);
    assert!(badly_spread(&table, &all) > 0);
    settle(&mut table, &all, 2);
    assert_eq!(badly_spread(&table, &all), 0);
    let (places, owned) = (
        spread(&table, Vec::clone, &all),
        spread(&table, |row| owners(row), &all),
    );
    assert!(
        places.0 >= 28 && places.1 <= 36 && owned.0 >= 15 && owned.1 <= 17,
        "{places:?} {owned:?}"
    );
}

#[test]
fn a_drained_place_goes_to_a_zone_that_its_row_has_not() {
    // Two nodes a zone: one of each zone is left when a node drains.
    let mut table = first_in(64, &live(6, &["a", "b", "c"]), 3);
    drain(&mut table, 0);
    settle(&mut table, &nodes(6), 3);
    assert_eq!(
        (badly_spread(&table, &nodes(6)), table.names(&node(0))),
        (0, false)
    );
    let zones = |row: &Vec<NodeId>| {
        row.iter()
            .map(|node| table.zone(node).to_owned())
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert!(
        table.rows.iter().all(|row| zones(row) == 3),
        "{:?}",
        table.rows
    );
}

proptest! {
    #[test]
    fn whatever_the_table_it_comes_to_rest_even_enough_and_stays_so(
        shards in prop::sample::select(vec![16_u32, 64, 128]),
        before in 2_usize..5,
        more in 0_usize..3,
        replicas in 1_usize..4,
        turns in prop::collection::vec(any::<bool>(), 128),
    ) {
        let replicas = replicas.min(before);
        let mut table = first(shards, before, replicas);
        for (row, turn) in table.rows.iter_mut().zip(turns) {
            if turn {
                row.reverse();
            }
        }
        let all = nodes(before + more);
        settle(&mut table, &all, replicas);
        let (low, high) = bounds(table.rows.len(), all.len());
        let (least, most) = spread(&table, |row| owners(row), &all);
        // Whoever cannot be helped shares no row with whoever has too many, by any way.
        prop_assert!(least >= low && most <= high, "{least} to {most}, not {low} to {high}");
        let rests = table.clone();
        prop_assert_eq!(settle(&mut table, &all, replicas), (0, 0));
        prop_assert_eq!(&table, &rests);
        for row in &rests.rows {
            prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), replicas);
        }
    }

    /// Any nodes drain, in any zones: whoever has to take it all lives on in as many zones as can
    /// be.
    #[test]
    fn whatever_drains_ends_with_nothing_and_rows_stand_in_as_many_zones_as_there_are(
        shards in prop::sample::select(vec![16_u32, 64]),
        count in 3_usize..7,
        zones in 1_usize..4,
        replicas in 1_usize..4,
        drains in prop::collection::btree_set(0_usize..7, 0..4),
        told in any::<bool>(),
    ) {
        let names = &["a", "b", "c"][..zones];
        let drains: BTreeSet<usize> = drains.into_iter().filter(|number| *number < count).collect();
        let replicas = replicas.min(count - drains.len());
        prop_assume!(replicas > 0);
        let mut table = first_in(shards, &live(count, if told { names } else { &[] }), replicas);
        prop_assert_eq!(badly_spread(&table, &nodes(count)), 0);
        table.nodes = live(count, names);
        drains.iter().for_each(|number| drain(&mut table, *number));
        let all = nodes(count);
        settle(&mut table, &all, replicas);
        for number in &drains {
            prop_assert!(!table.names(&node(*number)), "node-{number} has something: {:?}", table.rows);
        }
        prop_assert!(table.rows.iter().all(|row| row.iter().collect::<BTreeSet<_>>().len() == replicas));
        if all.len() - drains.len() > replicas {
            prop_assert_eq!(badly_spread(&table, &all), 0);
        }
        prop_assert_eq!(settle(&mut table, &all, replicas), (0, 0), "it rests");
        // Nor does the coordinator's other half move anything.
        prop_assert_eq!(next_table(&table, &table.nodes, replicas, &BTreeSet::new()), None);
    }

    /// In zones of the same size, load is as even as without zones.
    #[test]
    fn zones_of_the_same_size_cost_no_evenness(
        each in 1_usize..4,
        zones in 2_usize..4,
        replicas in 2_usize..4,
        turns in prop::collection::vec(any::<bool>(), 64),
    ) {
        let count = each * zones;
        prop_assume!(count > replicas);
        let mut table = first(64, count, replicas);
        table.nodes = live(count, &["a", "b", "c"][..zones]);
        for (row, turn) in table.rows.iter_mut().zip(turns) {
            if turn {
                row.reverse();
            }
        }
        let all = nodes(count);
        settle(&mut table, &all, replicas);
        prop_assert_eq!(badly_spread(&table, &all), 0);
        let (low, high) = bounds(table.rows.len(), all.len());
        let (least, most) = spread(&table, |row| owners(row), &all);
        prop_assert!(least >= low && most <= high, "{least} to {most}, not {low} to {high}");
    }
}
