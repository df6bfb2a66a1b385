//! What a balance moves: tables of nodes that join, drain, or stand in zones, until nothing moves
//! any more.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::cluster::assignment::first_table;
use crate::cluster::table::NodeAddresses;
use crate::cluster::table::changes::Drain;
use crate::ids::ClusterId;
use crate::log::Identity;

mod joining;
mod leaving;
mod properties;
mod zones;

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
