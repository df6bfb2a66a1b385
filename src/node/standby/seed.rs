//! The receiving end of a snapshot: asks the owner of the shard for one, reads it piece by piece no
//! faster than it may, goes on where it was after a broken link, begins anew when the owner has it
//! no more, and checks it before use.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::backoff::Backoff;
use crate::files::beside;
use crate::ids::{NodeId, ShardId};
use crate::log::Identity;
use crate::node::link::replica::{PIECE_BYTES_MAX, ReplicaAnswer, ReplicaAsk};
use crate::node::owners::Owners;
use crate::node::owners::offers::ENOUGH;
use crate::shard::file::snapshot::{self, Snapshot};
use crate::telemetry::{SNAPSHOT_BYTES, SNAPSHOTS};

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Pause before an owner that is still writing, or did not answer, is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// An owner that does not answer for so long has to be asked for another snapshot: it has dropped
/// this one.
const UNANSWERED_MAX: Duration = Duration::from_secs(60);

/// How often a disk without room is looked at again.
const ROOM_EVERY: Duration = Duration::from_secs(5);

/// Pauses before an owner that cannot write one is asked again.
const BACKOFF: Backoff = Backoff::new(PAUSE, Duration::from_secs(30));

/// Tells what room is left where a file will be.
pub(super) type FreeBytes = Arc<dyn Fn(PathBuf) -> BoxFuture<'static, Option<u64>> + Send + Sync>;

/// Seeds the standbys of a node.
pub(in crate::node) struct Seeding {
    owners: Owners,
    identity: Identity,
    rate: DefaultDirectRateLimiter,
    piece_bytes: NonZeroU32,
    room: FreeBytes,
    /// Bytes that the copies under way still need, all together.
    promised: Arc<AtomicU64>,
}

/// What is promised to a copy, until this is dropped.
struct Promise {
    promised: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl fmt::Debug for Seeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeding").finish_non_exhaustive()
    }
}

/// Why a transfer ended early.
pub(super) enum Ended {
    /// The owner has it no more, or another node owns the shard now.
    Gone,
    /// This node cannot write. One sentence.
    Disk(String),
}

impl Seeding {
    /// All its snapshots together come in at so many bytes a second at most.
    #[must_use]
    pub(in crate::node) fn new(
        owners: Owners,
        identity: Identity,
        bytes_per_second: NonZeroU32,
    ) -> Self {
        let piece = u32::try_from(PIECE_BYTES_MAX)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MAX);
        let rate = RateLimiter::direct(Quota::per_second(bytes_per_second).allow_burst(piece));
        let room: FreeBytes = Arc::new(|path| async move { snapshot::room(&path).await }.boxed());
        Self {
            owners,
            identity,
            rate,
            piece_bytes: piece,
            room,
            promised: Arc::default(),
        }
    }

    /// With a disk that says so.
    #[cfg(test)]
    pub(super) fn with_room(self, room: FreeBytes) -> Self {
        Self { room, ..self }
    }

    /// Promises room for a copy, if the disk has it beside what is promised already. A disk that
    /// does not say is tried.
    async fn promise(&self, part: &Path, length: u64) -> Option<Promise> {
        let bytes = snapshot::needs(length);
        let room = (self.room)(part.to_owned()).await;
        let before = self.promised.fetch_add(bytes, Ordering::SeqCst);
        let promise = Promise {
            promised: Arc::clone(&self.promised),
            bytes,
        };
        room.is_none_or(|room| before.saturating_add(bytes) <= room)
            .then_some(promise)
    }

    /// Waits until there is room for a copy, which it tells once that there is not.
    async fn room_for(&self, shard: ShardId, part: &Path, length: u64) {
        let needs = snapshot::needs(length);
        tracing::error!(%shard, needs, path = %part.display(), "the disk has no room for a replica; waiting until it has");
        SNAPSHOTS.add(1, &[("result", "no_room")]);
        while self.promise(part, length).await.is_none() {
            tokio::time::sleep(ROOM_EVERY).await;
        }
        tracing::info!(%shard, "the disk has room for a replica again");
    }

    /// Brings a snapshot of the shard from its owner to `to`, which is replaced. Goes on until
    /// there is one; dropped, it leaves a part of it beside `to`.
    ///
    /// # Errors
    /// One sentence: what came is not as the owner said, or this node cannot write it.
    pub(in crate::node) async fn seed(&self, shard: ShardId, to: &Path) -> Result<(), String> {
        let part = part_of(to);
        loop {
            // What a former attempt left only takes room.
            tokio::fs::remove_file(&part).await.ok();
            let (owner, id, said) = self.begin(shard).await;
            let Some(_promise) = self.promise(&part, said.length).await else {
                self.room_for(shard, &part, said.length).await;
                continue;
            };
            tracing::info!(%shard, %owner, bytes = said.length, "a snapshot is read from the owner");
            match self.transfer((shard, &owner), (id, &said), &part).await {
                Ok(()) => {}
                Err(Ended::Gone) => continue,
                Err(Ended::Disk(why)) => {
                    tokio::fs::remove_file(&part).await.ok();
                    return Err(format!("{}: {why}", part.display()));
                }
            }
            let installed = snapshot::install(&part, &said, (self.identity, shard), to).await;
            let result = if installed.is_ok() {
                "installed"
            } else {
                "refused"
            };
            SNAPSHOTS.add(1, &[("result", result)]);
            return installed.map_err(|error| error.to_string());
        }
    }

    /// Waits until the owner by the table has written one.
    async fn begin(&self, shard: ShardId) -> (NodeId, u64, Snapshot) {
        let (mut told, mut pauses) = (String::new(), BACKOFF.pauses());
        loop {
            let mut pause = PAUSE;
            let table = self.owners.table();
            if let Some(owner) = table
                .owner(shard)
                .filter(|owner| *owner != self.owners.node())
            {
                match self.ask(shard, owner, ReplicaAsk::SnapshotBegin).await {
                    Some(ReplicaAnswer::Ready { id, said }) => return (owner.clone(), id, said),
                    Some(ReplicaAnswer::Failed(why)) => {
                        // Others are given theirs now: that is soon over. What fails does so again.
                        pause = if why == ENOUGH { PAUSE } else { pauses.next() };
                        if why != told {
                            note_refused(shard, owner, &why);
                            told = why;
                        }
                    }
                    _ => pauses.reset(),
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) async fn transfer(
        &self,
        (shard, owner): (ShardId, &NodeId),
        (id, said): (u64, &Snapshot),
        part: &Path,
    ) -> Result<(), Ended> {
        let disk = |error: std::io::Error| Ended::Disk(error.to_string());
        let mut file = File::create(part).await.map_err(disk)?;
        let (mut from, mut heard) = (0, Instant::now());
        // The last one, at the end, tells the owner that it may drop it.
        while from <= said.length {
            // A piece is no larger than a burst: there is always room for it in the end.
            self.rate.until_n_ready(self.piece_bytes).await.ok();
            match self
                .ask(shard, owner, ReplicaAsk::SnapshotRead { id, from })
                .await
            {
                Some(ReplicaAnswer::Piece(bytes)) if bytes.is_empty() && from == said.length => {
                    break;
                }
                Some(ReplicaAnswer::Piece(bytes)) if !bytes.is_empty() => {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    SNAPSHOT_BYTES.add(length, &[]);
                    file.write_all(&bytes).await.map_err(disk)?;
                    (from, heard) = (from.saturating_add(length), Instant::now());
                }
                // Everything is here; that it cannot be told is no harm.
                _ if from == said.length => break,
                Some(ReplicaAnswer::Failed(why)) => {
                    tracing::warn!(%shard, %owner, why, "a snapshot cannot be read on");
                    return Err(Ended::Gone);
                }
                Some(_) => return Err(Ended::Gone),
                None if heard.elapsed() > UNANSWERED_MAX
                    || self.owners.table().owner(shard) != Some(owner) =>
                {
                    return Err(Ended::Gone);
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }

        file.flush().await.map_err(disk)
    }

    async fn ask(&self, shard: ShardId, owner: &NodeId, ask: ReplicaAsk) -> Option<ReplicaAnswer> {
        self.owners
            .ask_replica(owner, shard, ask, Instant::now() + ANSWER_MAX)
            .await
    }
}

fn note_refused(shard: ShardId, owner: &NodeId, why: &str) {
    if why == ENOUGH {
        tracing::info!(%shard, %owner, why, "the owner gives no snapshot now; asking again");
    } else {
        tracing::warn!(%shard, %owner, why, "the owner gives no snapshot now; asking again");
    }
}

/// Beside the file, so that it can take its place in one step.
fn part_of(to: &Path) -> PathBuf {
    beside(to, ".part")
}
