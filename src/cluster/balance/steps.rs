//! Everything that would be moved, one after the other, as if each step were done at once: for
//! whoever asks what is to come.

use serde::{Deserialize, Serialize};

use crate::cluster::balance::{Balance, Move, Placed, without_surplus};
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Who owns the shard.
    Owner,
    /// A copy of it: a further node is seeded, and takes the place of another.
    Copy,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is moved.
    pub what: What,
    /// Of which shard.
    pub shard: ShardId,
    /// From whom.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// For people: why.
    pub why: String,
}

impl Balance<'_> {
    /// The steps that would follow, at most so many: those that are due, and with `evens` those for
    /// balance.
    #[must_use]
    pub fn steps(&self, evens: bool, steps_max: usize) -> Vec<Step> {
        let mut table = self.table.clone();
        let mut steps = Vec::new();
        while steps.len() < steps_max {
            let balance = Balance {
                table: &table,
                ..*self
            };
            let mut moves = balance.due_moves(|_, _| true);
            moves.truncate(1);
            if moves.is_empty()
                && let Some((next, placed)) = balance.next_places(usize::MAX, evens)
            {
                steps.extend(placed.into_iter().map(Step::from));
                table = next;
                (0..=u16::MAX)
                    .map(ShardId)
                    .take(table.rows.len())
                    .for_each(|shard| let_go(&mut table, shard, self.replicas));
                continue;
            }
            if moves.is_empty() && evens {
                moves = balance.even_moves();
            }
            if moves.is_empty() {
                break;
            }
            for done in moves {
                done.carry_out(&mut table);
                let_go(&mut table, done.shard, self.replicas);
                steps.push(Step::from(done));
            }
        }

        steps.truncate(steps_max);
        steps
    }
}

/// As an owner does, once all that stay are in sync.
fn let_go(table: &mut Table, shard: ShardId, replicas: usize) {
    let all = table
        .rows
        .get(usize::from(shard.0))
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let Some(stays) = without_surplus(table, shard, replicas, &all) else {
        return;
    };
    if let Some(row) = table.rows.get_mut(usize::from(shard.0)) {
        *row = stays;
    }
    table.changes.replaced.remove(&shard);
}

impl Move {
    /// As an owner puts itself first, and the former one last.
    fn carry_out(&self, table: &mut Table) {
        let Some(row) = table.rows.get_mut(usize::from(self.shard.0)) else {
            return;
        };
        row.retain(|node| *node != self.to && *node != self.from);
        row.insert(0, self.to.clone());
        row.push(self.from.clone());
    }
}

impl From<Move> for Step {
    fn from(of: Move) -> Self {
        let Move {
            shard,
            from,
            to,
            why,
        } = of;
        Self {
            what: What::Owner,
            shard,
            from,
            to,
            why,
        }
    }
}

impl From<Placed> for Step {
    fn from(of: Placed) -> Self {
        let Placed {
            shard,
            node,
            instead_of,
            why,
        } = of;
        Self {
            what: What::Copy,
            shard,
            from: instead_of,
            to: node,
            why,
        }
    }
}
