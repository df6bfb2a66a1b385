//! The way from a shard to its other replicas, over links to the nodes of its row.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::ids::{NodeId, ShardId, UserId};
use crate::log::record::Tail;
use crate::log::{RawEntry, Stream};
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::owners::handle::{Inner, Owners};
use crate::shard::replicas::{ReplicaStatus, Replicas};

/// Rows of when users were seen last, in one question.
const SEEN_AT_ONCE: usize = 4_096;

/// Does not keep the links alive: the shards that have this are among what the links serve.
pub(super) struct LinkedReplicas {
    owners: Weak<Inner>,
}

impl fmt::Debug for LinkedReplicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkedReplicas")
    }
}

impl LinkedReplicas {
    pub(super) fn of(owners: &Owners) -> Self {
        Self {
            owners: Arc::downgrade(&owners.inner),
        }
    }

    fn owners(&self) -> Option<Owners> {
        self.owners.upgrade().map(|inner| Owners { inner })
    }

    async fn ask(
        &self,
        node: &NodeId,
        shard: ShardId,
        ask: ReplicaAsk,
        deadline: Instant,
    ) -> Option<ReplicaAnswer> {
        self.owners()?.ask_replica(node, shard, ask, deadline).await
    }
}

#[async_trait]
impl Replicas for LinkedReplicas {
    fn others(&self, shard: ShardId) -> Vec<NodeId> {
        let Some(owners) = self.owners() else {
            return Vec::new();
        };
        let table = owners.table();
        let row = table.rows.get(usize::from(shard.0)).into_iter().flatten();
        row.filter(|node| *node != owners.node()).cloned().collect()
    }

    async fn standing(&self, shard: ShardId, deadline: Instant) -> Vec<ReplicaStatus> {
        let Some(owners) = self.owners() else {
            return Vec::new();
        };
        let table = owners.table();
        // The owner so far has been silent to the log for the whole watch: most likely it is dead,
        // and each takeover would wait for nothing. What it knows and cannot tell in time is what a
        // dead one could not tell either.
        let now = Instant::now();
        let soon = now + deadline.saturating_duration_since(now) / 3;
        let silent = table.owner(shard);
        let others = self.others(shard);

        let asked = others.iter().map(|node| async move {
            let until = if Some(node) == silent { soon } else { deadline };
            match self.ask(node, shard, ReplicaAsk::Standing, until).await {
                // Of itself, whatever it says.
                Some(ReplicaAnswer::Standing(status)) if status.shard == shard => {
                    Some(ReplicaStatus {
                        node: node.clone(),
                        ..status
                    })
                }
                _ => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn entries_after(
        &self,
        shard: ShardId,
        node: &NodeId,
        stream: Stream,
        after: Tail,
        deadline: Instant,
    ) -> Vec<RawEntry> {
        match self
            .ask(
                node,
                shard,
                ReplicaAsk::EntriesAfter { stream, after },
                deadline,
            )
            .await
        {
            Some(ReplicaAnswer::Entries(entries)) => entries.into_iter().map(Into::into).collect(),
            Some(ReplicaAnswer::Failed(why)) => {
                tracing::warn!(%shard, %node, why, "another replica cannot read its entries");
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    async fn hold(
        &self,
        shard: ShardId,
        standbys: &[NodeId],
        stream: Stream,
        tail: Tail,
        deadline: Instant,
    ) -> bool {
        let asked = standbys.iter().map(|node| async move {
            let answer = self
                .ask(node, shard, ReplicaAsk::Holds { stream, tail }, deadline)
                .await;
            answer == Some(ReplicaAnswer::Holds(true))
        });
        let held = join_all(asked).await;
        !held.is_empty() && held.into_iter().all(|holds| holds)
    }

    async fn seen(&self, shard: ShardId, rows: Vec<(UserId, u64)>, deadline: Instant) {
        for part in rows.chunks(SEEN_AT_ONCE) {
            let others = self.others(shard);
            let told = others
                .iter()
                .map(|node| self.ask(node, shard, ReplicaAsk::Seen(part.to_vec()), deadline));
            join_all(told).await;
        }
    }
}

impl Owners {
    /// The way from a shard of this node to its other replicas.
    #[must_use]
    pub(crate) fn replicas(&self) -> Arc<dyn Replicas> {
        Arc::new(LinkedReplicas::of(self))
    }
}
