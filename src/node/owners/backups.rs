//! Copies for backups: what the owner of a shard does when one is asked for, and the way from any
//! node to that owner.
//!
//! **Invariant.** A copy has everything that was acknowledged before it was asked for: where the
//! streams are committed is noted first, then the lease is looked at, then the file is waited for
//! (ADR 21).

use std::time::{Duration, Instant};

use crate::ids::{NodeId, ShardId};
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::owners::Owners;
use crate::node::owners::offers::Offers;
use crate::shard::ShardHandle;

/// Longest wait of an owner for its own file.
const WHOLE_WITHIN: Duration = Duration::from_secs(2);

/// For whom the copies of a backup are kept: no node has such a name.
pub(super) fn reader(run: u64) -> NodeId {
    NodeId::from(format!("a backup/{run:016x}").as_str())
}

/// Begins a copy at the owner, or tells how it stands; none when the one that is known is as good.
pub(super) async fn begin(
    offers: Offers,
    handle: ShardHandle,
    (run, known): (u64, Option<PerStream<Tail>>),
    deadline: Instant,
) -> ReplicaAnswer {
    let to = reader(run);
    if let Some(begun) = offers.begun(handle.id(), &to) {
        return begun;
    }

    match handle
        .whole(deadline.min(Instant::now() + WHOLE_WITHIN))
        .await
    {
        Ok(applied) if known == Some(applied) => ReplicaAnswer::Unchanged,
        Ok(applied) => offers.begin_backup(&handle, &to, applied),
        Err(why) => ReplicaAnswer::Failed(why),
    }
}

impl Owners {
    /// What the owner of a shard answers to what a backup asks.
    ///
    /// # Errors
    /// One sentence: the table has no such shard, or its owner does not answer in time.
    pub(in crate::node) async fn backup(
        &self,
        shard: ShardId,
        ask: ReplicaAsk,
        deadline: Instant,
    ) -> Result<ReplicaAnswer, String> {
        let owner = self
            .owner_of(shard)
            .ok_or_else(|| format!("the table has no shard {shard}"))?;
        let answer = self.ask_replica(&owner, shard, ask, deadline).await;
        answer
            .ok_or_else(|| format!("{owner} should own shard {shard}, and does not answer for it"))
    }
}
