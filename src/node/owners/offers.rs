//! The giving end of a snapshot: written by the owner into a folder of the node, read piece by
//! piece by the node that asked for it, and dropped when nobody reads on. One that was read to its
//! end is spare for a while: who asks for the shard again gets it, as long as the log has what
//! follows it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ids::{NodeId, ShardId};
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::node::link::replica::{PIECE_BYTES_MAX, ReplicaAnswer};
use crate::node::owners::offer::{
    Offer, Owned, Spare, State, answer_begun, offer_spare, take_abandoned,
};
use crate::shard::ShardHandle;
use crate::shard::file::snapshot::Snapshot;
use crate::shard::file::store::StoreError;
use crate::telemetry::SNAPSHOTS;

/// Snapshots written or read at once; who asks for another one asks again later.
const OFFERS_MAX: usize = 2;

/// A snapshot that nobody asked for during this time is dropped.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Spare ones that are kept, and for how long.
const SPARES_MAX: usize = 2;
const SPARE_FOR: Duration = Duration::from_secs(300);

/// One that cannot be written is not tried again for so long.
const FAILED_FOR: Duration = Duration::from_secs(15);

/// What is answered to one more than are given at once.
pub(crate) const ENOUGH: &str = "enough snapshots are given now; ask again";

/// How often it is looked for those.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The snapshots that this node gives. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::node) struct Offers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    offers: Mutex<HashMap<u64, Offer>>,
    /// Read to their ends, the newest last.
    spares: Mutex<Vec<Spare>>,
    /// Shards whose snapshot could not be written, since when, and why.
    failed: Mutex<HashMap<ShardId, (Instant, String)>>,
    permits: Arc<Semaphore>,
}

impl Offers {
    /// None yet. What a former process left in the folder is removed.
    pub(in crate::node) fn new(folder: PathBuf) -> Self {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "old snapshots cannot be removed");
            }
            _ => {}
        }

        let permits = Arc::new(Semaphore::new(OFFERS_MAX));
        let (offers, spares, failed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            inner: Arc::new(Inner {
                folder,
                offers,
                spares,
                failed,
                permits,
            }),
        }
    }

    /// Begins a snapshot for a node, or tells how the one that was begun for it stands.
    pub(in crate::node) fn begin(&self, handle: &ShardHandle, to: &NodeId) -> ReplicaAnswer {
        let (writing, by) = (handle.clone(), to.clone());
        let is_fresh = |said: &Snapshot| handle.can_seed(said.applied);
        let write = move |path: PathBuf| async move { writing.snapshot(&by, &path).await }.boxed();
        let answer = self.begin_with((handle.id(), to), is_fresh, write);
        if let ReplicaAnswer::Ready { said, .. } = &answer {
            handle.seeds(to, said.applied);
        }
        answer
    }

    /// Begins a copy for a backup. To be asked first whether it was begun: [`Offers::begun`]. One
    /// that another was given will do when it has `floor`.
    pub(in crate::node) fn begin_backup(
        &self,
        handle: &ShardHandle,
        to: &NodeId,
        floor: PerStream<Tail>,
    ) -> ReplicaAnswer {
        let writing = handle.clone();
        let has_all = |said: &Snapshot| {
            floor
                .zip(said.applied)
                .all(|(floor, has)| has.offset >= floor.offset)
        };
        self.begin_with((handle.id(), to), has_all, |path| {
            async move { writing.copy(&path).await }.boxed()
        })
    }

    /// How the copy of a shard stands that was begun for `to`, if one was.
    pub(in crate::node) fn begun(&self, shard: ShardId, to: &NodeId) -> Option<ReplicaAnswer> {
        let mut offers = self.inner.offers();
        let (&id, offer) = offers
            .iter_mut()
            .find(|(_, offer)| (offer.shard, &offer.to) == (shard, to))?;
        offer.asked = Instant::now();
        Some(match &offer.state {
            State::Writing => ReplicaAnswer::Preparing,
            State::Written(said) => ReplicaAnswer::Ready {
                id,
                said: said.clone(),
            },
        })
    }

    pub(crate) fn begin_with(
        &self,
        (shard, to): (ShardId, &NodeId),
        is_fresh: impl Fn(&Snapshot) -> bool,
        write: impl FnOnce(PathBuf) -> BoxFuture<'static, Result<Snapshot, StoreError>>,
    ) -> ReplicaAnswer {
        let mut offers = self.inner.offers();
        if let Some(answer) = answer_begun(&mut offers, (shard, to), &is_fresh) {
            return answer;
        }
        if let Some(why) = self.inner.failed_lately(shard) {
            return ReplicaAnswer::Failed(why);
        }
        let permit = Arc::clone(&self.inner.permits).try_acquire_owned();
        let Some(permit) = permit.ok().or_else(|| take_abandoned(&mut offers)) else {
            return ReplicaAnswer::Failed(ENOUGH.to_owned());
        };
        if let Some(spare) = self
            .inner
            .take_spare(shard)
            .filter(|spare| is_fresh(&spare.said))
        {
            return offer_spare(&mut offers, (shard, to), spare, permit);
        }

        if let Err(error) = std::fs::create_dir_all(&self.inner.folder) {
            return ReplicaAnswer::Failed(format!("{}: {error}", self.inner.folder.display()));
        }
        let id = rand::random();
        let path = self
            .inner
            .folder
            .join(format!("{:04}-{id:016x}.given", shard.0));
        let offer = Offer {
            shard,
            to: to.clone(),
            asked: Instant::now(),
            state: State::Writing,
            file: Owned(path.clone()),
            permit,
        };
        offers.insert(id, offer);
        drop(offers);
        let (writing, inner) = (write(path), Arc::clone(&self.inner));
        drop(tokio::spawn(
            async move { inner.written(id, writing.await) },
        ));
        ReplicaAnswer::Preparing
    }

    /// Some bytes of a snapshot that was begun for this node. Asked for from its end on, it is
    /// dropped.
    pub(in crate::node) fn read(
        &self,
        id: u64,
        shard: ShardId,
        by: &NodeId,
        from: u64,
    ) -> BoxFuture<'static, ReplicaAnswer> {
        let mut offers = self.inner.offers();
        let answer = match offers
            .get_mut(&id)
            .filter(|offer| (offer.shard, &offer.to) == (shard, by))
        {
            Some(Offer {
                state: State::Written(said),
                file,
                asked,
                ..
            }) => {
                *asked = Instant::now();
                if from < said.length {
                    let path = file.0.clone();
                    return async move { piece(path, from).await }.boxed();
                }
                if let Some(read) = offers.remove(&id) {
                    self.inner.spare(read);
                }
                ReplicaAnswer::Piece(Vec::new())
            }
            Some(Offer {
                state: State::Writing,
                ..
            })
            | None => ReplicaAnswer::Gone,
        };
        std::future::ready(answer).boxed()
    }

    /// Drops what nobody reads, for ever.
    pub(in crate::node) async fn tidy(&self) {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            self.inner
                .spares()
                .retain(|spare| spare.since.elapsed() < SPARE_FOR);
            self.inner.offers().retain(|_, offer| {
                let kept = matches!(offer.state, State::Writing) || offer.asked.elapsed() < UNREAD_MAX;
                if !kept {
                    tracing::warn!(shard = %offer.shard, to = %offer.to, "a snapshot is not read on; dropped");
                    SNAPSHOTS.add(1, &[("result", "unread")]);
                }
                kept
            });
        }
    }
}

impl Inner {
    fn offers(&self) -> MutexGuard<'_, HashMap<u64, Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<ShardId, (Instant, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the snapshot of a shard could not be written a short while ago.
    fn failed_lately(&self, shard: ShardId) -> Option<String> {
        let mut failed = self.failed();
        failed.retain(|_, (since, _)| since.elapsed() < FAILED_FOR);
        failed.get(&shard).map(|(_, why)| why.clone())
    }

    /// Keeps a snapshot for who asks for it again; the oldest spare one gives way.
    fn spare(
        &self,
        Offer {
            shard, state, file, ..
        }: Offer,
    ) {
        let State::Written(said) = state else { return };
        let spare = Spare {
            shard,
            since: Instant::now(),
            said,
            file,
        };
        let mut spares = self.spares();
        spares.retain(|older| older.shard != shard);
        spares.push(spare);
        let surplus = spares.len().saturating_sub(SPARES_MAX);
        drop(spares.drain(..surplus));
    }

    fn take_spare(&self, shard: ShardId) -> Option<Spare> {
        let mut spares = self.spares();
        let place = spares.iter().position(|spare| spare.shard == shard)?;
        Some(spares.remove(place))
    }

    fn written(&self, id: u64, result: Result<Snapshot, StoreError>) {
        let mut offers = self.offers();
        let Some(offer) = offers.get_mut(&id) else {
            return;
        };

        // From now on it has to be asked for.
        offer.asked = Instant::now();
        match result {
            Ok(said) => {
                tracing::info!(shard = %offer.shard, to = %offer.to, bytes = said.length, "a snapshot is written");
                SNAPSHOTS.add(1, &[("result", "written")]);
                offer.state = State::Written(said);
            }
            Err(error) => {
                tracing::warn!(shard = %offer.shard, to = %offer.to, %error, "a snapshot cannot be written");
                SNAPSHOTS.add(1, &[("result", "failed")]);
                // What is spare takes room that the next attempt may need.
                self.spares().clear();
                self.failed()
                    .insert(offer.shard, (Instant::now(), error.to_string()));
                drop(offers.remove(&id));
            }
        }
    }
}

/// Up to [`PIECE_BYTES_MAX`] bytes of a file.
async fn piece(path: PathBuf, from: u64) -> ReplicaAnswer {
    let read = move || read_at(&path, from);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => ReplicaAnswer::Piece(bytes),
        Ok(Err(error)) => ReplicaAnswer::Failed(format!("a snapshot cannot be read: {error}")),
        Err(_ended) => ReplicaAnswer::Failed("this node ends".to_owned()),
    }
}

fn read_at(path: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(from);
    let mut bytes = vec![
        0;
        usize::try_from(left)
            .unwrap_or(PIECE_BYTES_MAX)
            .min(PIECE_BYTES_MAX)
    ];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}
