//! What this node tells other nodes of its own replicas, owned or standing by. A replica that does
//! not follow tells how it stands and nothing else.

use std::future::ready;
use std::time::Instant;

use futures_util::FutureExt;

use crate::ids::{Epoch, NodeId, ShardId, UserId};
use crate::log::record::Tail;
use crate::log::{RawEntry, Stream};
use crate::node::link::Serving;
use crate::node::link::frame::Outcome;
use crate::node::link::replica::{ENTRIES_BYTES_MAX, ReplicaAnswer, ReplicaAsk};
use crate::node::owners::Owners;
use crate::node::owners::backups;
use crate::node::owners::local::LocalShards;
use crate::shard::command::ShardError;
use crate::shard::file::store::StoreError;
use crate::shard::replicas::{Following, ReplicaDigest, ReplicaStatus};
use crate::shard::{ShardHandle, Standby};

/// A replica of this node.
pub(in crate::node) enum Own {
    /// Owned here.
    Owner(ShardHandle),
    /// Another node owns it.
    Standby(Standby),
}

impl Own {
    /// How it stands.
    pub(in crate::node) fn status(&self) -> ReplicaStatus {
        match self {
            Self::Owner(handle) => handle.replica_status(),
            Self::Standby(standby) => standby.status(),
        }
    }

    /// The word for what it is.
    pub(in crate::node) fn role(&self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Standby(_) => "standby",
        }
    }

    /// Digest of its file.
    pub(in crate::node) async fn digest(&self) -> Result<ReplicaDigest, StoreError> {
        match self {
            Self::Owner(handle) => handle.digest().await,
            Self::Standby(standby) => standby.digest().await,
        }
    }

    async fn take_seen(&self, rows: Vec<(UserId, u64)>) {
        match self {
            // Of the node that owned it until now.
            Self::Owner(handle) => handle.take_seen(rows).await,
            Self::Standby(standby) => standby.take_seen(rows).await,
        }
    }

    async fn entries(&self, stream: Stream, after: Tail) -> Result<Vec<RawEntry>, StoreError> {
        match self {
            Self::Owner(handle) => handle.entries_after(stream, after, ENTRIES_BYTES_MAX).await,
            Self::Standby(standby) => {
                standby
                    .entries_after(stream, after, ENTRIES_BYTES_MAX)
                    .await
            }
        }
    }

    async fn answer(self, ask: ReplicaAsk, deadline: Instant) -> ReplicaAnswer {
        let follows = self.status().following == Following::Live;
        match (ask, self) {
            (ReplicaAsk::Standing, own) => ReplicaAnswer::Standing(own.status()),
            (ReplicaAsk::EntriesAfter { stream, after }, own) if follows => {
                match own.entries(stream, after).await {
                    Ok(entries) => {
                        ReplicaAnswer::Entries(entries.into_iter().map(Into::into).collect())
                    }
                    Err(error) => ReplicaAnswer::Failed(error.to_string()),
                }
            }
            (ReplicaAsk::EntriesAfter { .. }, _) => ReplicaAnswer::Entries(Vec::new()),
            (ReplicaAsk::Holds { stream, tail }, Self::Standby(standby)) if follows => {
                ReplicaAnswer::Holds(standby.holds(stream, tail, deadline).await)
            }
            // An owner's own file is no second copy.
            (ReplicaAsk::Holds { .. }, _) => ReplicaAnswer::Holds(false),
            (ReplicaAsk::Digest, own) => match own.digest().await {
                Ok(digest) => ReplicaAnswer::Digest(digest),
                Err(error) => ReplicaAnswer::Failed(error.to_string()),
            },
            (
                ReplicaAsk::SnapshotBegin
                | ReplicaAsk::SnapshotRead { .. }
                | ReplicaAsk::BackupBegin { .. }
                | ReplicaAsk::BackupRead { .. },
                _,
            ) => ReplicaAnswer::Gone,
            (ReplicaAsk::Seen(rows), own) => {
                own.take_seen(rows).await;
                ReplicaAnswer::Taken
            }
        }
    }
}

impl LocalShards {
    /// This node's replica of a shard, whatever it is.
    pub(super) fn own(&self, shard: ShardId) -> Option<Own> {
        let owned = self.get(shard).filter(is_open);
        owned
            .map(Own::Owner)
            .or_else(|| self.standby(shard).map(Own::Standby))
    }

    /// Answers what another node asks of a replica.
    pub(super) fn serve_replica(
        &self,
        (shard, ask): (ShardId, ReplicaAsk),
        deadline: Instant,
        asker: &NodeId,
    ) -> Serving {
        let Some(own) = self.own(shard) else {
            return ready(Err(ShardError::NotOwner)).boxed();
        };
        match (ask, own) {
            // Only of an owner: it alone has nothing that may be taken back.
            (ReplicaAsk::SnapshotBegin, Own::Owner(handle)) => {
                let begun = self.offers.begin(&handle, asker);
                ready(Ok(Outcome::Replica(begun))).boxed()
            }
            (ReplicaAsk::SnapshotRead { id, from }, Own::Owner(handle)) => {
                handle.seeding_goes_on(asker);
                let read = self.offers.read(id, shard, asker, from);
                async move { Ok(Outcome::Replica(read.await)) }.boxed()
            }
            (ReplicaAsk::BackupBegin { run, known }, Own::Owner(handle)) => {
                let begun = backups::begin(self.offers.clone(), handle, (run, known), deadline);
                async move { Ok(Outcome::Replica(begun.await)) }.boxed()
            }
            (ReplicaAsk::BackupRead { run, id, from }, Own::Owner(_)) => {
                let read = self.offers.read(id, shard, &backups::reader(run), from);
                async move { Ok(Outcome::Replica(read.await)) }.boxed()
            }
            (ask, own) => {
                async move { Ok(Outcome::Replica(own.answer(ask, deadline).await)) }.boxed()
            }
        }
    }

    /// Takes in how replicas of `asker` stand, those of shards that are owned here. A node tells of
    /// no other's.
    pub(super) fn take_reports(
        &self,
        statuses: Vec<ReplicaStatus>,
        asker: &NodeId,
    ) -> Vec<Option<Epoch>> {
        let take = |status: ReplicaStatus| {
            let handle = self.get(status.shard).filter(is_open)?;
            if status.node == *asker {
                handle.reported(status);
            }
            Some(handle.epoch())
        };
        statuses.into_iter().map(take).collect()
    }
}

fn is_open(handle: &ShardHandle) -> bool {
    !handle.is_closed()
}

impl Owners {
    /// This node's replica of a shard, owned or standing by.
    pub(in crate::node) fn own(&self, shard: ShardId) -> Option<Own> {
        self.inner.local.own(shard)
    }
}
