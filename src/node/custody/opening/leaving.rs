//! A node that is about to stop gives away all that it owns.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::ids::{NodeId, ShardId};
use crate::node::custody::opening::common::Inner;
use crate::shard::ShardHandle;

/// Pause before a node that leaves tries again to give away what nobody took.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How often a node that leaves tries to give away each of its shards.
const ROUNDS_MAX: u32 = 3;

impl Inner {
    /// Gives away all shards that are owned here, as far as there is somebody to take them, at most
    /// until `deadline`. Takes none from now on.
    pub(super) async fn leave(&self, deadline: Instant) {
        self.leaving.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let mut owned = self.ways.shards.open();
        let all = owned.len();

        let rounds = async {
            for round in 0..ROUNDS_MAX {
                if round > 0 {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                join_all(owned.iter().map(|handle| self.part_with(handle))).await;
                owned = self.ways.shards.open();
                if owned
                    .iter()
                    .all(|handle| handle.standbys_in_sync().is_empty())
                {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout_at(deadline.into(), rounds)
            .await
            .is_ok();
        let (node, kept, seconds) = (
            &self.node,
            self.ways.shards.open().len(),
            begun.elapsed().as_secs_f64(),
        );
        tracing::info!(%node, shards = all, kept, in_time, seconds, "this node has given its shards away");
    }

    /// Gives a shard to one of its standbys in sync: to whoever owns the fewest, else to the next;
    /// to one that is draining only when no other takes it.
    async fn part_with(&self, handle: &ShardHandle) {
        // Before it is looked who owns how many: by its turn, others have got what was given
        // before.
        let _permit = self.giving.permit().await;
        let mut candidates = handle.standbys_in_sync();
        let owned = self.owned_by_each();
        let table = self.ways.owners.table();
        candidates.sort_by_key(|standby| {
            (
                table.is_draining(standby),
                owned.get(standby).copied().unwrap_or(0),
            )
        });

        for to in candidates {
            match self.give_in_turn(handle.id(), &to).await {
                Ok(()) => return,
                Err(why) => {
                    tracing::info!(node = %self.node, shard = %handle.id(), %to, why, "a shard was not handed over")
                }
            }
            if handle.is_closed() {
                return;
            }
        }
    }

    /// How many shards each node owns, by the table and by what is known beyond it.
    fn owned_by_each(&self) -> BTreeMap<NodeId, usize> {
        let mut owned = BTreeMap::new();
        let count = u16::try_from(self.identity.shards.saturating_sub(1)).unwrap_or(u16::MAX);
        for owner in (0..=count).filter_map(|shard| self.ways.owners.owner_of(ShardId(shard))) {
            *owned.entry(owner).or_default() += 1;
        }
        owned
    }
}
