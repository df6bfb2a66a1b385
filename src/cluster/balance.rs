//! Who should have less, and who more: which shard is to change its owner next, and which row is to get another standby in
//! the place of one. Pure; whoever carries it out sees to it that nothing is moved to a cold copy (ADR 20).
//!
//! Both stop well before all is even: what is within a twentieth of the mean stays where it is, so nothing moves to and fro,
//! and a third node that joins takes from the others without anything moving between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

/// What is within this part of the mean is even enough.
const SLACK_PART: usize = 20;

/// A shard that is to change its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub shard: ShardId,
    /// Who owns it.
    pub from: NodeId,
    /// Who is to: a standby of its row.
    pub to: NodeId,
    /// For people: how many each owns, and how many they should.
    pub why: String,
}

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

impl Balance<'_> {
    /// The moves that bring one shard less to a node that owns too many, or one more to a node that owns too few: several
    /// when the two share no row, each from one to the next. Empty when the shards are even enough, or nothing helps.
    ///
    /// Nothing moves while a row names a node that does not live, or more nodes than it should: then something else is
    /// under way.
    #[must_use]
    pub fn next_moves(&self) -> Vec<Move> {
        let Some(owned) = self.owned() else { return Vec::new() };
        let (low, high) = bounds(self.table.rows.len(), self.nodes.len());
        let count = |node: &NodeId| owned.get(node).copied().unwrap_or(0);
        let mut fullest: Vec<&NodeId> = self.nodes.iter().collect();
        fullest.sort_by_key(|node| std::cmp::Reverse(count(node)));
        for from in &fullest {
            // The emptiest first: whoever is filled by it is to have fewer still than whoever gave.
            for to in fullest.iter().rev().filter(|to| count(to) + 1 < count(from)) {
                if count(from) <= high && count(to) >= low {
                    continue;
                }
                let why =
                    format!("{from} owns {}, {to} {}, and {low} to {high} are even enough", count(from), count(to));
                if let Some(path) = self.path(from, to) {
                    let step = |(shard, gives, takes)| Move { shard, from: gives, to: takes, why: why.clone() };
                    return path.into_iter().map(step).collect();
                }
            }
        }
        Vec::new()
    }

    /// The table in which some rows have a further standby, at nodes that have too few places; each before the one that it
    /// is to take the place of, at a node that has too many. `None` when the places are even enough, or as many rows as
    /// may be have one already.
    #[must_use]
    pub fn next_places(&self, extra_max: usize) -> Option<Table> {
        // With one replica a further one would have nothing to take the place of.
        if self.replicas < 2 || self.nodes.len() <= self.replicas {
            return None;
        }
        let mut next = Table { version: self.table.version.saturating_add(1), ..self.table.clone() };
        let extra = next.rows.iter().filter(|row| row.len() > self.replicas).count();
        let mut changed = false;
        for _ in extra..extra_max {
            let Some((shard, standby, node)) = self.next_place(&next) else { break };
            let Some(row) = next.rows.get_mut(usize::from(shard.0)) else { break };
            let Some(place) = row.iter().position(|of| *of == standby) else { break };
            row.insert(place, node);
            changed = true;
        }
        changed.then_some(next)
    }

    /// A row that is to get a standby at a node, and the one that it is to take the place of.
    fn next_place(&self, table: &Table) -> Option<(ShardId, NodeId, NodeId)> {
        let mut places: BTreeMap<&NodeId, usize> = self.nodes.iter().map(|node| (node, 0)).collect();
        for node in table.rows.iter().flat_map(|row| self.settled(row)) {
            *places.get_mut(node)? += 1;
        }
        let count = |node: &NodeId| places.get(node).copied().unwrap_or(0);
        let (low, _) = bounds(table.rows.len() * self.replicas, self.nodes.len());
        let emptiest = self.nodes.iter().min_by_key(|node| count(node))?;
        if count(emptiest) >= low {
            return None;
        }
        let rows = (0..=u16::MAX).map(ShardId).zip(&table.rows);
        let candidates = rows.filter(|(shard, row)| {
            row.len() == self.replicas && !row.contains(emptiest) && !self.resting.contains(shard)
        });
        let standbys = candidates.flat_map(|(shard, row)| row.iter().skip(1).map(move |standby| (shard, row, standby)));
        // One of the fullest, and of those one of whoever owns the most: it may own the shard one day.
        let owned = |row: &[NodeId]| row.first().map_or(0, |owner| table.owned_by(owner).count());
        let fullest = standbys.clone().map(|(.., standby)| count(standby)).max()?;
        // Else it would have fewer than whoever gets it.
        if fullest <= count(emptiest) + 1 {
            return None;
        }
        let best = standbys.filter(|(.., standby)| count(standby) == fullest).max_by_key(|(_, row, _)| owned(row))?;
        Some((best.0, best.2.clone(), emptiest.clone()))
    }

    /// The nodes that hold a row, or will when what is under way is done.
    fn settled<'r>(&self, row: &'r [NodeId]) -> impl Iterator<Item = &'r NodeId> + use<'r, '_> {
        row.iter().take(self.replicas).filter(|node| self.nodes.contains(*node))
    }

    /// How many shards each node owns; `None` when something else is under way.
    fn owned(&self) -> Option<BTreeMap<&NodeId, usize>> {
        let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for row in &self.table.rows {
            if row.iter().any(|node| !self.nodes.contains(node)) {
                return None;
            }
            *owned.entry(row.first()?).or_default() += 1;
        }
        Some(owned)
    }

    /// The shortest way to bring a shard less to `from` and one more to `to`: which shard goes from whom to whom.
    fn path(&self, from: &NodeId, to: &NodeId) -> Option<Vec<(ShardId, NodeId, NodeId)>> {
        let mut came: BTreeMap<NodeId, (ShardId, NodeId)> = BTreeMap::new();
        let mut queue = VecDeque::from([from.clone()]);
        while let Some(node) = queue.pop_front() {
            for shard in self.table.owned_by(&node).filter(|shard| !self.resting.contains(shard)) {
                let row = self.table.rows.get(usize::from(shard.0)).map_or(&[][..], Vec::as_slice);
                // One that gets another standby is left where it is.
                for standby in row.iter().skip(1).filter(|_| row.len() <= self.replicas) {
                    if standby == from || came.contains_key(standby) {
                        continue;
                    }
                    came.insert(standby.clone(), (shard, node.clone()));
                    queue.push_back(standby.clone());
                }
            }
        }
        let mut path = Vec::new();
        let mut at = to.clone();
        while at != *from {
            let (shard, before) = came.get(&at)?.clone();
            path.push((shard, before.clone(), at));
            at = before;
        }
        // The last first: whoever is in between never has more than at the beginning.
        Some(path)
    }
}

/// How many of `all` each of so many nodes should have, at least and at most.
fn bounds(all: usize, nodes: usize) -> (usize, usize) {
    let nodes = nodes.max(1);
    let slack = all / nodes / SLACK_PART;
    ((all / nodes).saturating_sub(slack), all.div_ceil(nodes) + slack)
}

/// The row without those that are more than it should have, once those that stay are there: `in_sync` are its standbys that
/// are. `None` when nothing is to go yet.
#[must_use]
pub fn without_surplus(row: &[NodeId], replicas: usize, in_sync: &BTreeSet<NodeId>) -> Option<Vec<NodeId>> {
    let stay = row.get(..replicas.max(1)).filter(|stay| stay.len() < row.len())?;
    stay.iter().skip(1).all(|standby| in_sync.contains(standby)).then(|| stay.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::assignment::first_table;
    use crate::cluster::table::NodeAddresses;
    use crate::ids::ClusterId;
    use crate::log::Identity;

    fn node(number: usize) -> NodeId {
        NodeId::from(format!("node-{number}").as_str())
    }

    fn nodes(count: usize) -> BTreeSet<NodeId> {
        (0..count).map(node).collect()
    }

    fn first(shards: u32, count: usize, replicas: usize) -> Table {
        let address = |node: NodeId| (node, NodeAddresses { http: String::new(), peer: "h:1".to_owned() });
        let identity = Identity { cluster: ClusterId(uuid::Uuid::nil()), shards };
        let table = first_table(identity, &nodes(count).into_iter().map(address).collect(), replicas);
        Table { claimed: (0..=u16::MAX).map(ShardId).take(table.rows.len()).collect(), ..table }
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

    /// Balances until nothing is to be done; how many moves and places that took.
    fn settle(table: &mut Table, nodes: &BTreeSet<NodeId>, replicas: usize) -> (usize, usize) {
        let resting = BTreeSet::new();
        let (mut moved, mut placed) = (0, 0);
        for _ in 0..10_000 {
            let balance = Balance { table, nodes, replicas, resting: &resting };
            if let Some(next) = balance.next_places(4) {
                placed += next.rows.iter().zip(&table.rows).filter(|(after, before)| after != before).count();
                *table = next;
                // All are seeded, and the owners let the others go.
                for row in &mut table.rows {
                    let in_sync = row.iter().cloned().collect();
                    if let Some(stays) = without_surplus(row, replicas, &in_sync) {
                        *row = stays;
                    }
                }
                continue;
            }
            let moves = balance.next_moves();
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

    fn spread(table: &Table, of: impl Fn(&Vec<NodeId>) -> Vec<NodeId>, nodes: &BTreeSet<NodeId>) -> (usize, usize) {
        let mut counts: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (node.clone(), 0)).collect();
        for node in table.rows.iter().flat_map(of) {
            *counts.entry(node).or_default() += 1;
        }
        (counts.values().copied().min().unwrap_or(0), counts.values().copied().max().unwrap_or(0))
    }

    #[test]
    fn a_node_that_came_back_gets_its_share_again() {
        let mut table = first(256, 3, 2);
        let all = nodes(3);
        // What it owned was taken over.
        table.rows.iter_mut().filter(|row| row[0] == node(2)).for_each(|row| row.reverse());
        let (moved, placed) = settle(&mut table, &all, 2);
        let (least, most) = spread(&table, |row| row[..1].to_vec(), &all);
        assert!(least >= 81 && most <= 90, "{least} to {most}");
        assert!((78..=95).contains(&moved) && placed <= 2, "{moved} moves, {placed} places");
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_moves_between_the_others() {
        let before = first(256, 3, 2);
        let mut table = before.clone();
        let all = nodes(4);
        let (moved, placed) = settle(&mut table, &all, 2);
        let owners = spread(&table, |row| row[..1].to_vec(), &all);
        let places = spread(&table, Vec::clone, &all);
        assert!(owners.0 >= 61 && owners.1 <= 75, "owners {owners:?}");
        assert!(places.0 >= 121 && places.1 <= 150, "places {places:?}");
        // The least that could be: a quarter of the places, of which the half own.
        assert!(placed <= 128 && moved <= 90, "{placed} places, {moved} moves");
        for (after, row) in table.rows.iter().zip(&before.rows) {
            let came: Vec<_> = after.iter().filter(|node| !row.contains(node)).collect();
            assert!(came.iter().all(|came| **came == node(3)), "{row:?} became {after:?}");
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
        let balance = Balance { table: &table, nodes: &all, replicas: 2, resting: &resting };
        let moves = balance.next_moves();
        assert_eq!(moves.len(), 2, "{moves:?}");
        assert_eq!(
            (&moves[0].from, &moves[0].to, &moves[1].from, &moves[1].to),
            (&node(1), &node(2), &node(0), &node(1))
        );
        settle(&mut table, &all, 2);
        assert_eq!(spread(&table, |row| row[..1].to_vec(), &all), (2, 3));
    }

    #[test]
    fn nothing_moves_while_a_node_is_missing_or_a_shard_rests() {
        let mut table = first(64, 3, 2);
        table.rows.iter_mut().filter(|row| row[0] == node(2)).for_each(|row| row.reverse());
        let (none, all) = (BTreeSet::new(), nodes(3));
        let resting: BTreeSet<ShardId> = (0..64).map(ShardId).collect();
        let two = nodes(2);
        assert!(Balance { table: &table, nodes: &two, replicas: 2, resting: &none }.next_moves().is_empty());
        assert!(Balance { table: &table, nodes: &all, replicas: 2, resting: &resting }.next_moves().is_empty());
        assert!(!Balance { table: &table, nodes: &all, replicas: 2, resting: &none }.next_moves().is_empty());
        let lone = first(64, 1, 1);
        let four = nodes(4);
        assert_eq!(Balance { table: &lone, nodes: &four, replicas: 1, resting: &none }.next_places(4), None);
    }

    #[test]
    fn a_surplus_standby_goes_when_those_that_stay_are_in_sync() {
        let row: Vec<NodeId> = [0, 3, 1].map(node).to_vec();
        let sync = |of: &[usize]| of.iter().copied().map(node).collect::<BTreeSet<_>>();
        assert_eq!(without_surplus(&row, 2, &sync(&[1])), None, "the new one is not there yet");
        assert_eq!(without_surplus(&row, 2, &sync(&[3])), Some([0, 3].map(node).to_vec()));
        assert_eq!(without_surplus(&row, 3, &sync(&[1, 3])), None, "it is no surplus");
        assert_eq!(without_surplus(&row[..2], 2, &sync(&[3])), None);
    }

    proptest! {
        #[test]
        fn whatever_the_table_it_comes_to_rest_even_enough_and_stays_so(
            shards in prop::sample::select(vec![16_u32, 64, 128]),
            before in 2_usize..5,
            more in 0_usize..3,
            turns in prop::collection::vec(any::<bool>(), 128),
        ) {
            let mut table = first(shards, before, 2);
            for (row, turn) in table.rows.iter_mut().zip(turns) {
                if turn {
                    row.reverse();
                }
            }
            let all = nodes(before + more);
            settle(&mut table, &all, 2);
            let (low, high) = bounds(table.rows.len(), all.len());
            let (least, most) = spread(&table, |row| row[..1].to_vec(), &all);
            // Whoever cannot be helped shares no row with whoever has too many, by any way.
            prop_assert!(least >= low && most <= high, "{least} to {most}, not {low} to {high}");
            let rests = table.clone();
            prop_assert_eq!(settle(&mut table, &all, 2), (0, 0));
            prop_assert_eq!(&table, &rests);
            for row in &rests.rows {
                prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), 2);
            }
        }
    }
}
