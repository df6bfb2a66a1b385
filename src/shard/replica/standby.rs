//! A replica of a shard that another node owns: its file is kept up to date from the same streams
//! by the same workers.
//!
//! What it follows up to is told by whoever looks at the control record ([`Standby::saw`]). A log
//! that falls back does not pull the file back: the file is ahead of it then, and that is an asset
//! as long as the log's tail is in the file's past.

#[cfg(test)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ids::UserId;
use crate::log::record::Tail;
use crate::log::{PerStream, RawEntry, Stream};
use crate::shard::error::OpenError;
use crate::shard::execute::Boxed;
use crate::shard::file::store::{Past, Progress, Store, StoreError};
use crate::shard::file::worker::{Setup, Workers, tell};
use crate::shard::handle::ShardHandle;
use crate::shard::options::Opening;
use crate::shard::replica::open;
use crate::shard::replica::watcher::Watcher;
use crate::shard::replica::way::{Gift, Taking, Way};
use crate::shard::replicas::{Following, ReplicaDigest, ReplicaStatus};

/// A standby. Cheap to clone. When the last clone is dropped it ends as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Standby(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opening: Opening,
    /// `None` when its file cannot be opened.
    store: Option<Store>,
    /// Tails of the log as last told; `None` before the first time.
    seen: watch::Sender<Option<PerStream<Tail>>>,
    following: Arc<watch::Sender<Following>>,
    workers: Mutex<Option<Workers>>,
    /// It is closed, or takes the shard over.
    over: CancellationToken,
}

impl Standby {
    /// Opens or creates the file and follows the log from there. Claims nothing.
    ///
    /// # Errors
    /// Refused: the file is another cluster's or shard's. Failed: may pass. A damaged or unclean
    /// file that fails its check is no error but [`Following::Damaged`].
    pub(crate) async fn open(opening: Opening) -> Result<Self, OpenError> {
        let store = Store::open(
            &opening.path,
            opening.identity,
            opening.shard,
            opening.config.store.clone(),
        )
        .await;
        let (store, following) = match store.map_err(OpenError::from) {
            Ok(store) => (Some(store), Following::Live),
            Err(OpenError::Damaged(line)) => (None, Following::Damaged(line)),
            Err(error) => return Err(error),
        };

        let (following, over) = (
            Arc::new(watch::Sender::new(following)),
            CancellationToken::new(),
        );

        let (seen, sees) = watch::channel(None);
        let workers = store.clone().map(|store| {
            let targets = store.progress().applied.map(watch::Sender::new);
            let workers = Workers::spawn(Setup {
                shard: opening.shard,
                log: Arc::clone(&opening.log),
                store: store.clone(),
                trimming: None,
                committed: targets.each_ref().map(watch::Sender::subscribe),
                config: opening.config.worker.clone(),
            });
            let shard = opening.shard;
            let ends = workers.following();
            let following = Arc::clone(&following);
            let watcher = Watcher {
                shard,
                store,
                targets,
                sees,
                ends,
                following,
                over: over.clone(),
                another_since: None,
            };
            drop(tokio::spawn(watcher.run()));
            workers
        });

        Ok(Self(Arc::new(Inner {
            opening,
            store,
            seen,
            following,
            workers: Mutex::new(workers),
            over,
        })))
    }

    /// The log's tails, as they stand now: followed up to there.
    pub(crate) fn saw(&self, tails: PerStream<Tail>) {
        self.0.seen.send_replace(Some(tails));
    }

    /// How it stands.
    #[must_use]
    pub(crate) fn status(&self) -> ReplicaStatus {
        let progress = self
            .0
            .store
            .as_ref()
            .map(Store::progress)
            .unwrap_or_default();
        let Progress {
            applied,
            durable,
            max_epoch,
        } = progress;
        let (shard, node) = (self.0.opening.shard, self.0.opening.node.clone());

        ReplicaStatus {
            shard,
            node,
            applied,
            durable,
            max_epoch,
            following: self.following(),
        }
    }

    /// Takes in when users were seen last. What its file does not take is older there.
    pub(crate) async fn take_seen(&self, rows: Vec<(UserId, u64)>) {
        if let Some(store) = &self.0.store {
            store.write_seen_behind(self.0.opening.shard, rows).await;
        }
    }

    /// Waits until it no longer follows, and says why. Cancel-safe.
    pub(crate) async fn ended(&self) -> Following {
        let mut following = self.0.following.subscribe();
        let ended = following
            .wait_for(|following| *following != Following::Live)
            .await
            .map(|ended| ended.clone());
        match ended {
            Ok(ended) => ended,
            // Not so: the sender is ours.
            Err(_gone) => std::future::pending().await,
        }
    }

    /// Waits until the file holds a stream up to exactly this tail; false when that is not so by
    /// `deadline`, or never will.
    ///
    /// Whoever asks says that the log has it: the file is followed up to there.
    pub(crate) async fn holds(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool {
        let Some(store) = self.0.store.as_ref().filter(|_| self.follows()) else {
            return false;
        };
        self.0.seen.send_if_modified(|seen| {
            let mut tails = seen.unwrap_or_else(|| store.progress().applied);
            if tails[stream].offset >= tail.offset {
                return false;
            }
            tails[stream] = tail;
            *seen = Some(tails);
            true
        });

        if let Some(workers) = &*self.workers() {
            workers.hurry(stream);
        }
        let mut progress = store.watch_progress();
        let reaches = progress.wait_for(|progress| progress.applied[stream].offset >= tail.offset);
        let reached = tokio::select! {
            reached = tokio::time::timeout_at(deadline.into(), reaches) => reached.is_ok_and(|reached| reached.is_ok()),
            _ended = self.ended() => false,
        };
        reached && matches!(store.past(stream, tail).await, Ok(Past::Ours)) && self.follows()
    }

    /// Raw entries after `after`, in order, about `bytes_max` of them; none when the file has
    /// another history there, or does not follow.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn entries_after(
        &self,
        stream: Stream,
        after: Tail,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, StoreError> {
        match self.0.store.as_ref().filter(|_| self.follows()) {
            Some(store) => store.entries_after(stream, after, bytes_max).await,
            None => Ok(Vec::new()),
        }
    }

    /// Digest of its file at one moment. Reads all of it.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn digest(&self) -> Result<ReplicaDigest, StoreError> {
        match &self.0.store {
            Some(store) => store.replica_digest().await,
            None => Err(StoreError::Failed("the file cannot be opened".to_owned())),
        }
    }

    /// Its file is not what it ought to be, as somebody found who compared it: it ends as
    /// [`Following::Damaged`].
    pub(crate) fn condemn(&self, why: &str) {
        tell(&self.0.following, Following::Damaged(why.to_owned()));
    }

    /// Takes the shard over: ends following, claims, restores what the log lost, opens. After an
    /// error it is closed.
    ///
    /// # Errors
    /// As [`crate::shard::open`]. `Elsewhere`: the owner lives, or another was faster.
    pub(crate) async fn take_over(self, taking: Taking) -> Result<ShardHandle, OpenError> {
        self.own(Way::Silence(taking)).await
    }

    /// Opens the shard that its owner gave to this node. After an error it is closed, and the shard
    /// is this node's by its control record all the same, unless somebody has taken it since.
    ///
    /// # Errors
    /// As [`crate::shard::open`]. `Elsewhere`: the token is not current.
    pub(crate) async fn receive(self, gift: Gift) -> Result<ShardHandle, OpenError> {
        self.own(Way::Gift(gift)).await
    }

    async fn own(self, way: Way) -> Result<ShardHandle, OpenError> {
        let store = self.stop().await;
        let line = |why: &str| {
            format!(
                "shard {}: this standby no longer follows: {why}",
                self.0.opening.shard
            )
        };

        let refused = match (self.following(), store) {
            (Following::Live, Some(store)) => {
                let opened: Boxed<Result<ShardHandle, OpenError>> =
                    Box::pin(open::take_over(self.0.opening.clone(), store, way));
                return opened.await;
            }
            (Following::Live, None) => OpenError::Failed(line("its file cannot be opened")),
            (Following::Behind, _) => {
                OpenError::Behind(line("the log was trimmed beyond its file"))
            }
            (Following::Diverged(why), _) => OpenError::Diverged(line(&why)),
            (Following::Damaged(why), _) => OpenError::Damaged(line(&why)),
        };

        if let Some(open) = &self.0.store {
            open.close().await;
        }
        Err(refused)
    }

    /// Checkpoints and closes the file, at most until `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let closing = async {
            if let Some(store) = self.stop().await {
                store.close().await;
            }
        };
        if tokio::time::timeout_at(deadline.into(), closing)
            .await
            .is_err()
        {
            tracing::warn!(shard = %self.0.opening.shard, "the file of a standby was not closed in time");
        }
    }

    /// Its file.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn path(&self) -> PathBuf {
        self.0.opening.path.clone()
    }

    fn following(&self) -> Following {
        self.0.following.borrow().clone()
    }

    /// It does, and is neither closed nor the owner.
    fn follows(&self) -> bool {
        !self.0.over.is_cancelled() && *self.0.following.borrow() == Following::Live
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Option<Workers>> {
        self.0
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the workers; afterwards nothing of theirs is on its way to the file.
    async fn stop(&self) -> Option<Store> {
        self.0.over.cancel();
        let workers = self.workers().take();
        if let Some(workers) = workers {
            workers.stop().await;
        }
        self.0.store.clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
