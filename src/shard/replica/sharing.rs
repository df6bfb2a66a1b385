//! What an owner shares with the other replicas of its shard: who keeps up, how its own file
//! stands, entries and snapshots of it, and whether it is fit to go on.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::ids::{NodeId, Offset, UserId};
use crate::log::record::Tail;
use crate::log::{PerStream, RawEntry, Stream};
use crate::shard::file::snapshot::{self, Snapshot};
use crate::shard::file::store::{Progress, StoreError};
use crate::shard::handle::ShardHandle;
use crate::shard::replicas::{Following, ReplicaDigest, ReplicaStatus};
use crate::shard::write::owner::Input;
use crate::telemetry;

/// Records that wait so long, and none is applied: the workers are stuck.
const STUCK_MAX: Duration = Duration::from_secs(10);

/// Applied records wait so long, and none is durable: the disk makes nothing durable. Longer than
/// several checkpoints.
const UNSAFE_MAX: Duration = Duration::from_secs(30);

/// How often it is told that a copy is still being written.
const WRITES_EVERY: Duration = Duration::from_secs(10);

impl ShardHandle {
    /// The other nodes of its row, in order. For those that are new all of the log is kept until
    /// they report or 30 s have passed. To be told right after opening, also when there are none:
    /// until then nothing is trimmed.
    pub(crate) fn set_standbys(&self, standbys: Vec<NodeId>) {
        let now = self.0.clock.since_boot();
        self.0
            .standbys
            .send_modify(|known| known.set(standbys, now));
    }

    /// A standby told how it stands. One that does not follow is not in sync.
    pub(crate) fn reported(&self, status: ReplicaStatus) {
        let now = self.0.clock.since_boot();
        self.0
            .standbys
            .send_modify(|known| known.reported(&status, now));
    }

    /// The standbys and whether each is in sync.
    #[must_use]
    pub(crate) fn standbys(&self) -> Vec<(NodeId, bool)> {
        let committed = self.0.committed.each_ref().map(|tail| tail.borrow().offset);
        let standbys = self
            .0
            .standbys
            .borrow()
            .standbys(committed, self.0.clock.since_boot());
        let in_sync = u32::try_from(standbys.iter().filter(|(_, in_sync)| *in_sync).count())
            .unwrap_or(u32::MAX);
        telemetry::SHARD_STANDBYS_IN_SYNC.set(
            f64::from(in_sync),
            &[("shard", &self.0.shard.0.to_string())],
        );
        standbys
    }

    /// The standbys that are in sync, in the order of the row.
    #[must_use]
    pub(crate) fn standbys_in_sync(&self) -> Vec<NodeId> {
        let in_sync = self.standbys().into_iter().filter(|(_, in_sync)| *in_sync);
        in_sync.map(|(standby, _)| standby).collect()
    }

    /// Why it ended by itself, when that is for its file and not because it was taken. To be asked
    /// when it is closed.
    #[must_use]
    pub(crate) fn fault(&self) -> Option<Following> {
        self.0.fault.get().cloned()
    }

    /// Whether its file gets on: false when records have waited for 10 s (since boot) and none was
    /// applied; and when applied ones have waited for 30 s and none was made durable, while a
    /// standby in sync has more on its disk. Alone it keeps the shard: nobody does better. To be
    /// asked now and then.
    #[must_use]
    pub(crate) fn progresses(&self, now: Duration) -> bool {
        let mut seen = self
            .0
            .progressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let committed = self.0.committed.each_ref().map(|tail| tail.borrow().offset);
        let applied = self.0.applied.each_ref().map(|tail| tail.borrow().offset);
        let durable = self.0.store.progress().durable.map(|tail| tail.offset);
        let is_applying = moves(&mut seen.applied, (applied, committed), now, STUCK_MAX);
        let is_safe = moves(&mut seen.durable, (durable, applied), now, UNSAFE_MAX);
        is_applying && (is_safe || !self.0.standbys.borrow().is_outdone(durable, committed, now))
    }

    /// How its own file stands.
    #[must_use]
    pub(crate) fn replica_status(&self) -> ReplicaStatus {
        let Progress {
            applied,
            durable,
            max_epoch,
        } = self.0.store.progress();
        let (shard, node) = (self.0.shard, self.0.node.clone());
        ReplicaStatus {
            shard,
            node,
            applied,
            durable,
            max_epoch,
            following: Following::Live,
        }
    }

    /// Raw entries of its file after `after`; see [`crate::shard::Standby::entries_after`].
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn entries_after(
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
    pub(crate) async fn digest(&self) -> Result<ReplicaDigest, StoreError> {
        self.0.store.replica_digest().await
    }

    /// Takes in when users were seen last. What its file does not take is older there.
    pub(crate) async fn take_seen(&self, rows: Vec<(UserId, u64)>) {
        self.0.store.write_seen_behind(self.0.shard, rows).await;
    }

    /// Writes a snapshot of its file for a node to `path`, which must not exist. The log keeps what
    /// follows it while it is written, and for a while.
    ///
    /// # Errors
    /// The disk, or SQLite refused; what was written so far is removed.
    pub(crate) async fn snapshot(&self, to: &NodeId, path: &Path) -> Result<Snapshot, StoreError> {
        // Held back before it is written: a trim must not come between.
        self.seeds(to, self.0.store.progress().applied);
        let mut writing = std::pin::pin!(snapshot::write(&self.0.store, path));
        loop {
            match tokio::time::timeout(WRITES_EVERY, &mut writing).await {
                Ok(written) => return written,
                Err(_elapsed) => self.seeding_goes_on(to),
            }
        }
    }

    /// Waits until its file has everything that is committed now. Its applied tails then.
    ///
    /// # Errors
    /// One sentence: it cannot prove that nobody else has taken the shard, or its file does not get
    /// so far in time.
    pub(crate) async fn whole(&self, deadline: Instant) -> Result<PerStream<Tail>, String> {
        let asked = self.0.ask(deadline, Input::Committed).await;
        let committed = asked
            .map_err(|_ended| "its owner has just given it up, or is busy; ask again".to_owned())?;
        // After they were noted: whatever was acknowledged before the question is at or below them,
        // unless another owner acknowledged it.
        if self.is_closed() || !self.is_proven() {
            return Err(
                "its owner cannot prove now that the shard is still its own; ask again".to_owned(),
            );
        }

        for (stream, tail) in committed {
            let mut applied = self.0.applied(stream);
            self.0.hurry(stream);
            let reached = applied.wait_for(|applied| applied.offset >= tail.offset);
            match tokio::time::timeout_at(deadline.into(), reached).await {
                Ok(Ok(_reached)) => {}
                Ok(Err(_ended)) => {
                    return Err("its owner has just given it up; ask again".to_owned());
                }
                Err(_late) => {
                    return Err(
                        "its owner's file is behind what is committed; ask again".to_owned()
                    );
                }
            }
        }
        Ok(self.0.store.progress().applied)
    }

    /// Writes a copy of its file to `path`, which must not exist. The log keeps nothing for it.
    ///
    /// # Errors
    /// The disk, or SQLite refused; what was written so far is removed.
    pub(crate) async fn copy(&self, path: &Path) -> Result<Snapshot, StoreError> {
        snapshot::write(&self.0.store, path).await
    }

    /// A snapshot that stands there is given to a node: the log keeps what follows it for a while.
    pub(crate) fn seeds(&self, to: &NodeId, applied: PerStream<Tail>) {
        let (now, applied) = (self.0.clock.since_boot(), applied.map(|tail| tail.offset));
        self.0
            .standbys
            .send_modify(|known| known.seeding(to, applied, now));
    }

    /// That node reads on: the log keeps what it needs for a while longer.
    pub(crate) fn seeding_goes_on(&self, to: &NodeId) {
        let now = self.0.clock.since_boot();
        // Nobody has to act on it at once.
        self.0.standbys.send_if_modified(|known| {
            known.seeding_goes_on(to, now);
            false
        });
    }

    /// Whether a snapshot that stands there can be given again: the log has what follows it, and
    /// room for more.
    #[must_use]
    pub(crate) fn can_seed(&self, applied: PerStream<Tail>) -> bool {
        self.0
            .standbys
            .borrow()
            .can_seed(applied.map(|tail| tail.offset))
    }
}

/// Takes note of where the streams are, on their way to where they are to be; false when one has
/// stood still for that long.
fn moves(
    seen: &mut PerStream<Option<(Offset, Duration)>>,
    (ats, ends): (PerStream<Offset>, PerStream<Offset>),
    now: Duration,
    still_max: Duration,
) -> bool {
    let mut moves = true;
    for (stream, last) in seen.iter_mut() {
        let (at, end) = (ats[stream], ends[stream]);
        let since = last
            .filter(|(last_at, _)| at < end && at == *last_at)
            .map_or(now, |(_, since)| since);
        *last = Some((at, since));
        moves &= now.saturating_sub(since) < still_max;
    }
    moves
}
