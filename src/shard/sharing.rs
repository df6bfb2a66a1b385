//! What an owner shares with the other replicas of its shard: who keeps up, how its own file stands, entries and snapshots of
//! it, and whether it is fit to go on.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use crate::ids::NodeId;
use crate::shard::handle::ShardHandle;
use crate::shard::log::record::Tail;
use crate::shard::log::{RawEntry, Stream};
use crate::shard::replicas::{Following, ReplicaDigest, ReplicaStatus};
use crate::shard::snapshot::{self, Snapshot};
use crate::shard::store::{Progress, StoreError};
use crate::telemetry;

/// Records that wait so long, and none is applied: the workers are stuck.
const STUCK_MAX: Duration = Duration::from_secs(10);

impl ShardHandle {
    /// The other nodes of its row, in order. Those that are new count as in sync, with nothing durable, until they report or
    /// 30 s have passed. To be told right after opening, also when there are none: until then nothing is trimmed.
    pub fn set_standbys(&self, standbys: Vec<NodeId>) {
        let now = self.0.clock.since_boot();
        self.0.standbys.send_modify(|known| known.set(standbys, now));
    }

    /// A standby told how it stands. One that does not follow is not in sync.
    pub fn reported(&self, status: ReplicaStatus) {
        let now = self.0.clock.since_boot();
        self.0.standbys.send_modify(|known| known.reported(&status, now));
    }

    /// The standbys and whether each is in sync.
    #[must_use]
    pub fn standbys(&self) -> Vec<(NodeId, bool)> {
        let committed = self.0.committed.each_ref().map(|tail| tail.borrow().offset);
        let standbys = self.0.standbys.borrow().standbys(committed, self.0.clock.since_boot());
        let in_sync = u32::try_from(standbys.iter().filter(|(_, in_sync)| *in_sync).count()).unwrap_or(u32::MAX);
        telemetry::SHARD_STANDBYS_IN_SYNC.set(f64::from(in_sync), &[("shard", &self.0.shard.0.to_string())]);
        standbys
    }

    /// Why it ended by itself, when that is for its file and not because it was taken. To be asked when it is closed.
    #[must_use]
    pub fn fault(&self) -> Option<Following> {
        self.0.fault.get().cloned()
    }

    /// Whether its workers get on: false when records have waited for 10 s (since boot) and none was applied. To be asked
    /// now and then.
    #[must_use]
    pub fn progresses(&self, now: Duration) -> bool {
        let mut seen = self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progresses = true;
        for ((at, committed), applied) in seen.iter_mut().zip(&self.0.committed).zip(&self.0.applied) {
            let (committed, applied) = (committed.borrow().offset, applied.borrow().offset);
            if applied >= committed || applied != at.0 {
                *at = (applied, now);
            }
            progresses &= now.saturating_sub(at.1) < STUCK_MAX;
        }
        progresses
    }

    /// How its own file stands.
    #[must_use]
    pub fn replica_status(&self) -> ReplicaStatus {
        let Progress { applied, durable, max_epoch } = self.0.store.progress();
        let (shard, node) = (self.0.shard, self.0.node.clone());
        ReplicaStatus { shard, node, applied, durable, max_epoch, following: Following::Live }
    }

    /// Raw entries of its file after `after`; see [`crate::shard::Standby::entries_after`].
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn entries_after(
        &self,
        stream: Stream,
        after: Tail,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, StoreError> {
        self.0.store.entries_after(stream, after, bytes_max).await
    }

    /// Digest of its file at one moment. Reads all of it.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn digest(&self) -> Result<ReplicaDigest, StoreError> {
        self.0.store.replica_digest().await
    }

    /// Writes a snapshot of its file to `path`, which must not exist. The log keeps what follows it for a while.
    ///
    /// # Errors
    /// The disk, or SQLite refused; what was written so far is removed.
    pub async fn snapshot(&self, path: &Path) -> Result<Snapshot, StoreError> {
        // Held back before it is written: a trim must not come between.
        let now = self.0.clock.since_boot();
        let applied = self.0.store.progress().applied.map(|tail| tail.offset);
        self.0.standbys.send_modify(|known| known.seeding(applied, now));
        snapshot::write(&self.0.store, path).await
    }
}
