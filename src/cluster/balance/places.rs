//! Which row is to get a further node, and in the place of which of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::balance::surplus::staying;
use crate::cluster::balance::{Balance, bounds};
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

/// A row that gets a further node, and the one that it takes the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Whose row.
    pub shard: ShardId,
    /// Who comes.
    pub node: NodeId,
    /// Who goes when the others are there.
    pub instead_of: NodeId,
    /// For people: why.
    pub why: String,
}

/// Nodes that may take places, and how many each has when everything that is under way is done.
struct Takers<'t>(BTreeMap<&'t NodeId, usize>);

impl Takers<'_> {
    fn count(&self, node: &NodeId) -> usize {
        self.0.get(node).copied().unwrap_or(0)
    }
}

impl Balance<'_> {
    /// The table in which some rows have a further node, in the place of one that is draining; with
    /// `evens` also of one that shares its zone with another of its row, or that has too many
    /// places. `None` when nothing is to be placed, or as many rows as may be have a further node
    /// already.
    #[must_use]
    pub fn next_places(&self, extra_max: usize, evens: bool) -> Option<(Table, Vec<Placed>)> {
        let mut next = Table {
            version: self.table.version.saturating_add(1),
            ..self.table.clone()
        };
        let extra = next
            .rows
            .iter()
            .filter(|row| row.len() > self.replicas)
            .count();
        let mut placed = Vec::new();
        for _ in extra..extra_max {
            let Some(place) = self.next_place(&next, evens) else {
                break;
            };
            place.put(&mut next);
            placed.push(place);
        }

        (!placed.is_empty()).then_some((next, placed))
    }

    fn next_place(&self, table: &Table, evens: bool) -> Option<Placed> {
        let mut takers = Takers(self.takers().into_iter().map(|node| (node, 0)).collect());
        for (shard, _) in table.numbered() {
            for node in staying(table, shard, self.replicas) {
                if let Some(count) = takers.0.get_mut(node) {
                    *count += 1;
                }
            }
        }

        let drained = self.in_place_of_draining(table, &takers);
        let is_quiet = || {
            !table
                .rows
                .iter()
                .flatten()
                .any(|node| table.is_draining(node))
        };
        if drained.is_some() || !evens || !is_quiet() || takers.0.len() <= self.replicas {
            return drained;
        }
        self.in_another_zone(table, &takers)
            .or_else(|| self.in_place_of_the_fullest(table, &takers))
    }

    /// Rows that may get a further node: whole, owned by a node that lives, and at rest.
    fn whole_rows<'t>(&self, table: &'t Table) -> impl Iterator<Item = (ShardId, &'t Vec<NodeId>)> {
        let (nodes, replicas) = (self.nodes, self.replicas);
        let lives = |row: &[NodeId]| row.first().is_some_and(|owner| nodes.contains(owner));
        table
            .numbered()
            .filter(move |(_, row)| row.len() <= replicas && lives(row))
    }

    /// The place of a draining standby goes to another node; that of a draining owner only where it
    /// stands alone, for else it hands the shard over first.
    fn in_place_of_draining(&self, table: &Table, takers: &Takers<'_>) -> Option<Placed> {
        self.whole_rows(table).find_map(|(shard, row)| {
            let standby = row
                .iter()
                .skip(1)
                .rev()
                .find(|node| table.is_draining(node));
            let alone = || {
                row.first()
                    .filter(|owner| row.len() == 1 && table.is_draining(owner))
            };
            let leaves = standby.or_else(alone)?;
            let zones: BTreeSet<&str> = row
                .iter()
                .filter(|node| *node != leaves)
                .map(|node| table.zone(node))
                .collect();
            let free = takers.0.iter().filter(|(node, _)| !row.contains(node));
            let (node, _) =
                free.min_by_key(|(node, count)| (zones.contains(table.zone(node)), **count))?;
            let why = format!("{leaves} is draining");
            Some(Placed {
                shard,
                node: NodeId::clone(node),
                instead_of: leaves.clone(),
                why,
            })
        })
    }

    /// A standby that shares its zone with another node of its row gives its place to one of a zone
    /// that the row has not.
    fn in_another_zone(&self, table: &Table, takers: &Takers<'_>) -> Option<Placed> {
        self.whole_rows(table)
            .filter(|(shard, _)| !self.resting.contains(shard))
            .find_map(|(shard, row)| {
                let zones: BTreeSet<&str> = row.iter().map(|node| table.zone(node)).collect();
                if zones.len() == row.len() {
                    return None;
                }
                let missing = takers
                    .0
                    .iter()
                    .filter(|(node, _)| !zones.contains(table.zone(node)));
                let (node, _) = missing.min_by_key(|(_, count)| **count)?;
                let shares = |standby: &&NodeId| {
                    row.iter()
                        .any(|other| other != *standby && table.zone(other) == table.zone(standby))
                };
                let leaves = row
                    .iter()
                    .skip(1)
                    .filter(shares)
                    .max_by_key(|standby| takers.count(standby))?;
                let why = format!(
                    "two nodes of its row stand in zone {:?}, and none in {:?}",
                    table.zone(leaves),
                    table.zone(node)
                );
                Some(Placed {
                    shard,
                    node: NodeId::clone(node),
                    instead_of: leaves.clone(),
                    why,
                })
            })
    }

    /// A node that has too few places gets one, or one that has too many gives one: from whoever
    /// has the most of those that may, of several one whose owner owns the most, for whoever gets
    /// it may own the shard one day.
    fn in_place_of_the_fullest(&self, table: &Table, takers: &Takers<'_>) -> Option<Placed> {
        let (low, high) = bounds(table.rows.len() * self.replicas, takers.0.len());
        let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for owner in table.rows.iter().filter_map(|row| row.first()) {
            *owned.entry(owner).or_default() += 1;
        }

        let mut emptiest: Vec<(&NodeId, usize)> = takers
            .0
            .iter()
            .map(|(node, count)| (*node, *count))
            .collect();
        if emptiest
            .iter()
            .all(|(_, count)| (low..=high).contains(count))
        {
            return None;
        }
        emptiest.sort_by_key(|(_, count)| *count);
        for (to, has) in emptiest {
            let rows = self.whole_rows(table);
            let rows = rows.filter(|(shard, row)| {
                row.len() == self.replicas && !row.contains(to) && !self.resting.contains(shard)
            });
            // Where there is one replica, it is the owner that is replaced.
            let of_rows = rows.flat_map(|(shard, row)| {
                row.iter()
                    .skip(usize::from(self.replicas > 1))
                    .map(move |leaves| (shard, row, leaves))
            });
            let may = of_rows.filter(|(_, row, leaves)| {
                let count = takers.count(leaves);
                // Else it would have fewer than whoever gets it.
                let helps = count > has + 1 && (has < low || count > high);
                helps && zones_with(table, row, leaves, to) >= zones_of(table, row)
            });
            let owns = |row: &[NodeId]| {
                row.first()
                    .and_then(|owner| owned.get(owner))
                    .copied()
                    .unwrap_or(0)
            };
            let Some((shard, _, leaves)) =
                may.max_by_key(|(_, row, leaves)| (takers.count(leaves), owns(row)))
            else {
                continue;
            };
            let count = takers.count(leaves);
            let why = format!(
                "{leaves} has {count} places, {to} {has}, and {low} to {high} are even enough"
            );
            return Some(Placed {
                shard,
                node: to.clone(),
                instead_of: leaves.clone(),
                why,
            });
        }
        None
    }
}

/// In how many zones a row stands.
fn zones_of(table: &Table, row: &[NodeId]) -> usize {
    row.iter()
        .map(|node| table.zone(node))
        .collect::<BTreeSet<_>>()
        .len()
}

/// In how many it would, with one node in the place of another.
fn zones_with(table: &Table, row: &[NodeId], leaves: &NodeId, comes: &NodeId) -> usize {
    let stays = row.iter().filter(|node| *node != leaves).chain([comes]);
    stays
        .map(|node| table.zone(node))
        .collect::<BTreeSet<_>>()
        .len()
}

impl Placed {
    /// Puts the further node into the row, and the one that is to go to its end, where programs
    /// that do not know the note let it go too; an owner stays the first.
    pub(super) fn put(&self, table: &mut Table) {
        let Some(row) = table.rows.get_mut(usize::from(self.shard.0)) else {
            return;
        };
        let is_owner = row.first() == Some(&self.instead_of);
        if is_owner {
            row.push(self.node.clone());
        } else {
            row.retain(|node| *node != self.instead_of);
            row.extend([self.node.clone(), self.instead_of.clone()]);
        }
        table
            .changes
            .replaced
            .insert(self.shard, self.instead_of.clone());
    }
}
