//! Moves shards as long as this node leads (ADR 20): asks owners to hand them over, few at a time.
//! What a draining node owns goes first; then, if shards are evened out at all, from who owns too
//! many to who owns too few.
//!
//! It decides nothing alone: the owner gives a shard only to a standby that is in sync and holds
//! everything (ADR 19), so the worst that a wrong decision costs is a needless hand-over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cluster::balance::{Balance, Move};
use crate::cluster::coordinator::Balanced;
use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};
use crate::node::context::Life;
use crate::node::link::handing::{BalancePlan, HandOverAsk};
use crate::node::owners::Owners;
use crate::telemetry;

/// How often it is looked whether something is to be moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shards that are moved after one look, one after the other.
const MOVES_AT_ONCE: usize = 8;

/// Longest wait for one hand-over.
const MOVED_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for nodes to say who of their standbys is in sync.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// A shard that was moved stays where it is for so long …
const RESTS_FOR: Duration = Duration::from_secs(60);

/// … and one that could not be moved is left alone for so long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What was moved is seen in the table within this time.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Steps that are told at most to whoever asks what is to come.
const STEPS_MAX: usize = 1_000;

/// Moves shards. Cheap to clone; clones are one.
#[derive(Debug, Clone)]
pub(in crate::node) struct Balancer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    owners: Owners,
    replicas: usize,
    /// Whether shards are evened out; what is due is moved all the same.
    evens: bool,
    balanced: watch::Receiver<Balanced>,
    pace: Mutex<Pace>,
    /// Somebody wants it to look now.
    now: Notify,
}

/// What was moved, or could not be, of late.
#[derive(Debug, Default)]
struct Pace {
    /// Shards that were moved, and are not to be moved for balance before.
    moved: BTreeMap<ShardId, Instant>,
    /// Shards that could not be moved, and are left alone until then.
    kept: BTreeMap<ShardId, Instant>,
    /// What was moved, while the table may not say so yet.
    unseen: Vec<(Move, Instant)>,
}

impl Pace {
    /// Shards that nothing is to move now, and those that are not to be moved for balance.
    fn resting(&mut self) -> (BTreeSet<ShardId>, BTreeSet<ShardId>) {
        let now = Instant::now();
        self.moved.retain(|_, until| *until > now);
        self.kept.retain(|_, until| *until > now);
        let kept: BTreeSet<ShardId> = self.kept.keys().copied().collect();
        let all = self.moved.keys().chain(&kept).copied().collect();
        (kept, all)
    }
}

impl Balancer {
    /// The balancer of a node; with it the sender that is to be told among which nodes shards are
    /// moved.
    pub(in crate::node) fn new(
        node: &NodeId,
        owners: &Owners,
        (replicas, evens): (usize, bool),
    ) -> (Self, watch::Sender<Balanced>) {
        let (sender, balanced) = watch::channel(None);
        let (node, owners) = (node.clone(), owners.clone());
        let (pace, now) = (Mutex::default(), Notify::new());
        let inner = Arc::new(Inner {
            node,
            owners,
            replicas,
            evens,
            balanced,
            pace,
            now,
        });
        (Self { inner }, sender)
    }

    /// Begins to move shards.
    pub(in crate::node) fn spawn(&self, life: &Life) {
        life.spawn(self.clone().run());
    }

    /// What would be moved now, one after the other; `None` while this node does not lead.
    pub(in crate::node) fn plan(&self) -> Option<BalancePlan> {
        let Inner {
            node,
            replicas,
            evens,
            ..
        } = &*self.inner;

        let nodes = self.nodes()?;
        let table = self.table();
        let (_, resting) = self.pace().resting();
        let balance = Balance {
            table: &table,
            nodes: &nodes,
            replicas: *replicas,
            resting: &resting,
        };
        let steps = balance.steps(*evens, STEPS_MAX);
        let resting = u64::try_from(resting.len()).unwrap_or(u64::MAX);
        Some(BalancePlan {
            leader: node.clone(),
            evens: *evens,
            resting,
            steps,
        })
    }

    /// Lets no shard rest any longer, and looks now; what it is going to move. `None`, and nothing
    /// of that, while this node does not lead.
    pub(in crate::node) fn look_now(&self) -> Option<BalancePlan> {
        self.nodes()?;
        let mut pace = self.pace();
        pace.moved.clear();
        pace.kept.clear();
        drop(pace);
        let plan = self.plan();
        self.inner.now.notify_one();
        plan
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.inner
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes among which shards are moved, while this node leads.
    fn nodes(&self) -> Option<Arc<BTreeSet<NodeId>>> {
        self.inner.balanced.borrow().clone()
    }

    async fn run(self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = self.inner.now.notified() => {}
            }
            self.look().await;
        }
    }

    /// One look, and what follows from it.
    async fn look(&self) {
        let mut left = MOVES_AT_ONCE;
        for next in self.due_moves().await.into_iter().take(MOVES_AT_ONCE) {
            left = left.saturating_sub(1);
            // One that is not moved now does not hold up the others.
            self.carry_out(next, "a shard was moved from a node that gives it up")
                .await;
        }

        while left > 0 && self.inner.evens {
            let moves = self.even_moves();
            if moves.is_empty() {
                return;
            }
            for next in moves {
                left = left.saturating_sub(1);
                if !self.carry_out(next, "a shard was moved for balance").await {
                    return;
                }
            }
        }
    }

    /// What is to be moved whether it is even or not, of shards whose owners say that there is
    /// somebody to take them.
    async fn due_moves(&self) -> Vec<Move> {
        let Inner {
            owners, replicas, ..
        } = &*self.inner;
        let Some(nodes) = self.nodes() else {
            return Vec::new();
        };

        let table = self.table();
        let (kept, _) = self.pace().resting();
        let balance = Balance {
            table: &table,
            nodes: &nodes,
            replicas: *replicas,
            resting: &kept,
        };
        if !balance.has_due_moves() {
            return Vec::new();
        }

        let told = owners
            .standings((Instant::now() + TOLD_WITHIN).into_std())
            .await;
        let shards = told
            .into_values()
            .flatten()
            .flat_map(|standing| standing.shards);
        let in_sync: BTreeSet<(ShardId, NodeId)> = shards
            .flat_map(|status| {
                let shard = status.shard;
                status
                    .standbys
                    .into_iter()
                    .filter(|(_, in_sync)| *in_sync)
                    .map(move |(node, _)| (shard, node))
            })
            .collect();
        balance.due_moves(|shard, node| in_sync.contains(&(shard, node.clone())))
    }

    /// What is to be moved next for balance, while this node leads.
    fn even_moves(&self) -> Vec<Move> {
        let Some(nodes) = self.nodes() else {
            return Vec::new();
        };
        let table = self.table();
        let (_, resting) = self.pace().resting();
        Balance {
            table: &table,
            nodes: &nodes,
            replicas: self.inner.replicas,
            resting: &resting,
        }
        .even_moves()
    }

    /// The table as it stands, with what was moved here and is not told there yet.
    fn table(&self) -> Table {
        let mut table = Table::clone(&self.inner.owners.table());
        let mut pace = self.pace();
        pace.unseen.retain(|(done, at)| {
            at.elapsed() < SEEN_WITHIN && table.owner(done.shard) == Some(&done.from)
        });
        for (done, _) in &pace.unseen {
            if let Some(row) = table.rows.get_mut(usize::from(done.shard.0))
                && let Some(place) = row.iter().position(|node| *node == done.to)
            {
                row.swap(0, place);
            }
        }
        table
    }

    /// Has an owner hand a shard over. False when it did not.
    async fn carry_out(&self, next: Move, told: &str) -> bool {
        let Inner { node, owners, .. } = &*self.inner;
        let Move {
            shard,
            from,
            to,
            why,
        } = &next;

        let shard = *shard;
        let ask = HandOverAsk::Give { to: to.clone() };
        let given = owners
            .ask_hand_over(from, shard, ask, (Instant::now() + MOVED_WITHIN).into_std())
            .await;
        let result = if given.is_ok() { "moved" } else { "kept" };

        telemetry::BALANCE_MOVES.add(1, &[("node", &node.0), ("result", result)]);
        let (mut pace, now) = (self.pace(), Instant::now());
        match given {
            Ok(()) => {
                tracing::info!(%node, %shard, %from, %to, why, "{told}");
                pace.moved.insert(shard, now + RESTS_FOR);
                pace.unseen.push((next, now));
                true
            }
            Err(refused) => {
                tracing::debug!(%node, %shard, %from, %to, why, refused, "a shard was not moved");
                pace.kept.insert(shard, now + AGAIN_AFTER);
                false
            }
        }
    }
}
