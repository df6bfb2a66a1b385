//! Evens out who owns how many shards, as long as this node leads (ADR 20): asks owners to hand shards over, few at a time.
//!
//! It decides nothing alone: the owner gives a shard only to a standby that is in sync and holds everything (ADR 19), so the
//! worst that a wrong decision costs is a needless hand-over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::cluster::balance::{Balance, Move};
use crate::cluster::coordinator::Balanced;
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};
use crate::node::context::Life;
use crate::node::link::handing::HandOverAsk;
use crate::node::owners::Owners;
use crate::telemetry;

/// How often it is looked whether something is to be moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shards that are moved after one look, one after the other.
const MOVES_AT_ONCE: usize = 8;

/// Longest wait for one hand-over.
const MOVED_WITHIN: Duration = Duration::from_secs(10);

/// A shard that was moved stays where it is for so long …
const RESTS_FOR: Duration = Duration::from_secs(60);

/// … and one that could not be moved is left alone for so long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What was moved is seen in the table within this time.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Moves shards.
#[derive(Debug)]
pub(in crate::node) struct Balancer {
    node: NodeId,
    owners: Owners,
    replicas: usize,
    balanced: watch::Receiver<Balanced>,
    /// Shards that are not to be moved before.
    resting: BTreeMap<ShardId, Instant>,
    /// What was moved, while the table may not say so yet.
    moved: Vec<(Move, Instant)>,
}

impl Balancer {
    /// Begins to move shards among the nodes that what is returned is told.
    pub(in crate::node) fn spawn(
        node: &NodeId,
        owners: &Owners,
        replicas: usize,
        life: &Life,
    ) -> watch::Sender<Balanced> {
        let (sender, balanced) = watch::channel(None);
        let (node, owners) = (node.clone(), owners.clone());
        let balancer = Self { node, owners, replicas, balanced, resting: BTreeMap::new(), moved: Vec::new() };
        life.spawn(balancer.run());
        sender
    }

    async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.look().await;
        }
    }

    /// One look, and what follows from it.
    async fn look(&mut self) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let mut left = MOVES_AT_ONCE;
        while left > 0 {
            let moves = self.next_moves();
            if moves.is_empty() {
                return;
            }
            for next in moves {
                left = left.saturating_sub(1);
                if !self.carry_out(next).await {
                    return;
                }
            }
        }
    }

    /// What is to be moved next, while this node leads.
    fn next_moves(&mut self) -> Vec<Move> {
        let Some(nodes) = self.balanced.borrow().clone() else { return Vec::new() };
        let table = self.table();
        let resting: BTreeSet<ShardId> = self.resting.keys().copied().collect();
        Balance { table: &table, nodes: &nodes, replicas: self.replicas, resting: &resting }.next_moves()
    }

    /// The table as it stands, with what was moved here and is not told there yet.
    fn table(&mut self) -> Table {
        let mut table = Table::clone(&self.owners.table());
        self.moved.retain(|(done, at)| at.elapsed() < SEEN_WITHIN && table.owner(done.shard) == Some(&done.from));
        for (done, _) in &self.moved {
            if let Some(row) = table.rows.get_mut(usize::from(done.shard.0))
                && let Some(place) = row.iter().position(|node| *node == done.to)
            {
                row.swap(0, place);
            }
        }
        table
    }

    /// Has an owner hand a shard over. False when it did not.
    async fn carry_out(&mut self, next: Move) -> bool {
        let Move { shard, from, to, why } = &next;
        let (node, shard) = (&self.node, *shard);
        let ask = HandOverAsk::Give { to: to.clone() };
        let given = self.owners.ask_hand_over(from, shard, ask, (Instant::now() + MOVED_WITHIN).into_std()).await;
        let (result, rests) = if given.is_ok() { ("moved", RESTS_FOR) } else { ("kept", AGAIN_AFTER) };
        telemetry::BALANCE_MOVES.add(1, &[("node", &node.0), ("result", result)]);
        self.resting.insert(shard, Instant::now() + rests);
        match given {
            Ok(()) => {
                tracing::info!(%node, %shard, %from, %to, why, "a shard was moved for balance");
                self.moved.push((next, Instant::now()));
                true
            }
            Err(refused) => {
                tracing::debug!(%node, %shard, %from, %to, why, refused, "a shard was not moved for balance");
                false
            }
        }
    }
}
