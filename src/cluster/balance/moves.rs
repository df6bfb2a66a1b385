//! Which shard is to change its owner.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cluster::balance::{Balance, bounds};
use crate::ids::{NodeId, ShardId};

/// A shard that is to change its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub shard: ShardId,
    /// Who owns it.
    pub from: NodeId,
    /// Who is to: a standby of its row.
    pub to: NodeId,
    /// For people: why.
    pub why: String,
}

impl Balance<'_> {
    /// Whether some shard is to leave its owner, be it even or not.
    #[must_use]
    pub fn has_due_moves(&self) -> bool {
        self.table
            .numbered()
            .any(|(shard, row)| self.why_due(shard, row).is_some())
    }

    /// The shards that are to leave their owners, because those are draining or another node has
    /// come in their place; each to whoever owns the fewest of its standbys that stay and are in
    /// sync.
    pub fn due_moves(&self, is_in_sync: impl Fn(ShardId, &NodeId) -> bool) -> Vec<Move> {
        let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for owner in self.table.rows.iter().filter_map(|row| row.first()) {
            *owned.entry(owner).or_default() += 1;
        }

        let mut moves = Vec::new();
        for (shard, row) in self
            .table
            .numbered()
            .filter(|(shard, _)| !self.resting.contains(shard))
        {
            let (Some(why), Some((from, standbys))) = (self.why_due(shard, row), row.split_first())
            else {
                continue;
            };
            let stays = |node: &&NodeId| {
                !self.table.is_draining(node) && self.table.replaced(shard) != Some(*node)
            };
            let there = standbys
                .iter()
                .filter(stays)
                .filter(|node| is_in_sync(shard, node));
            let Some(to) = there.min_by_key(|node| owned.get(node).copied().unwrap_or(0)) else {
                continue;
            };
            *owned.entry(to).or_default() += 1;
            moves.push(Move {
                shard,
                from: from.clone(),
                to: to.clone(),
                why,
            });
        }
        moves
    }

    fn why_due(&self, shard: ShardId, row: &[NodeId]) -> Option<String> {
        let owner = row.first()?;
        if self.table.is_draining(owner) {
            return Some(format!("{owner} is draining"));
        }
        let is_replaced = row.len() > self.replicas && self.table.replaced(shard) == Some(owner);
        is_replaced.then(|| format!("another node takes the place of {owner}"))
    }

    /// The moves that bring one shard less to a node that owns too many, or one more to a node that
    /// owns too few: several when the two share no row, each from one to the next. Empty when the
    /// shards are even enough, or nothing helps.
    ///
    /// Nothing moves while a row names a node that does not live or is draining: then something
    /// else is under way.
    #[must_use]
    pub fn even_moves(&self) -> Vec<Move> {
        let takers = self.takers();
        let Some(owned) = self.owned(&takers) else {
            return Vec::new();
        };

        let (low, high) = bounds(self.table.rows.len(), takers.len());
        let count = |node: &NodeId| owned.get(node).copied().unwrap_or(0);
        let mut fullest: Vec<&NodeId> = takers.into_iter().collect();
        fullest.sort_by_key(|node| std::cmp::Reverse(count(node)));
        for from in &fullest {
            // The emptiest first: whoever is filled by it is to have fewer still than whoever gave.
            for to in fullest
                .iter()
                .rev()
                .filter(|to| count(to) + 1 < count(from))
            {
                if count(from) <= high && count(to) >= low {
                    continue;
                }
                let why = format!(
                    "{from} owns {}, {to} {}, and {low} to {high} are even enough",
                    count(from),
                    count(to)
                );
                if let Some(path) = self.path(from, to) {
                    let step = |(shard, gives, takes)| Move {
                        shard,
                        from: gives,
                        to: takes,
                        why: why.clone(),
                    };
                    return path.into_iter().map(step).collect();
                }
            }
        }

        Vec::new()
    }

    /// How many shards each node owns; `None` when something else is under way.
    fn owned(&self, takers: &BTreeSet<&NodeId>) -> Option<BTreeMap<&NodeId, usize>> {
        let mut owned: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for row in &self.table.rows {
            if row.iter().any(|node| !takers.contains(node)) {
                return None;
            }
            *owned.entry(row.first()?).or_default() += 1;
        }
        Some(owned)
    }

    /// The shortest way to bring a shard less to `from` and one more to `to`: which shard goes from
    /// whom to whom.
    fn path(&self, from: &NodeId, to: &NodeId) -> Option<Vec<(ShardId, NodeId, NodeId)>> {
        let mut came: BTreeMap<NodeId, (ShardId, NodeId)> = BTreeMap::new();
        let mut queue = VecDeque::from([from.clone()]);
        while let Some(node) = queue.pop_front() {
            for shard in self
                .table
                .owned_by(&node)
                .filter(|shard| !self.resting.contains(shard))
            {
                let row = self
                    .table
                    .rows
                    .get(usize::from(shard.0))
                    .map_or(&[][..], Vec::as_slice);
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
