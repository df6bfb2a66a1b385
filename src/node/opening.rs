//! Opens the shards that the table gives this node and keeps each open: one task a shard that opens it, delivers its
//! outbox while it lives, and opens it again when it ended by itself. At most [`OPENING_MAX`] are being opened at once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};

use crate::clock::Clock;
use crate::ids::{NodeId, ShardId};
use crate::node::outbox;
use crate::node::owners::Owners;
use crate::node::table::Table;
use crate::node::{Life, Setup, Shards};
use crate::shard::lane::Lane;
use crate::shard::log::{Identity, ShardLog};
use crate::shard::replicas::Alone;
use crate::shard::{Config, OpenError, Opening, ShardHandle};
use crate::telemetry;

/// Shards being opened at the same time.
const OPENING_MAX: usize = 4;

/// Time for closing a shard that was opened too late to be of use.
const CLOSE_UNUSED_MAX: Duration = Duration::from_secs(2);

/// Pause after the first failed attempt; doubled after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pause before a shard that is refused, or that another node owns, is looked at again.
const PAUSE_SLOW: Duration = Duration::from_secs(15);

/// Opens shards. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    identity: Identity,
    folder: PathBuf,
    log: Arc<dyn ShardLog>,
    lane: Lane,
    clock: Clock,
    config: Config,
    owners: Owners,
    shards: Shards,
    life: Life,
    first_attempts_max: Option<u32>,
    permits: Semaphore,
    /// Shards that have a task.
    held: Mutex<BTreeSet<ShardId>>,
}

impl Opener {
    pub(super) fn new(setup: &Setup, owners: Owners, shards: Shards, life: Life) -> Self {
        let inner = Inner {
            node: setup.id.clone(),
            identity: setup.identity,
            folder: setup.folder.join("shards"),
            log: Arc::clone(&setup.log),
            lane: Lane::spawn(Arc::clone(&setup.log)),
            clock: setup.clock.clone(),
            config: setup.config.shard.clone(),
            owners,
            shards,
            life,
            first_attempts_max: setup.first_attempts_max,
            permits: Semaphore::new(OPENING_MAX),
            held: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens these shards side by side; done when all are open, but those that another node owns when attempts are
    /// without limit.
    ///
    /// # Errors
    /// The line of the first shard that is refused.
    pub(super) async fn open_first(&self, shards: Vec<ShardId>) -> Result<(), String> {
        let folder = &self.inner.folder;
        std::fs::create_dir_all(folder).map_err(|error| format!("data folder {}: {error}", folder.display()))?;
        let opening: Vec<_> = shards.into_iter().filter_map(|shard| self.hold(shard)).collect();
        for opened in opening {
            opened.await.unwrap_or_else(|_ended| Err("the node ended while it started".to_owned()))?;
        }
        Ok(())
    }

    /// Opens what later tables give to this node, until the node takes no more.
    pub(super) async fn follow(self, mut table: watch::Receiver<Arc<Table>>) {
        let stop = self.inner.life.opening.clone();
        loop {
            let given: Vec<ShardId> = table.borrow_and_update().owned_by(&self.inner.node).collect();
            for shard in given {
                // How its first attempt ends concerns nobody: it is tried until it succeeds.
                drop(self.hold(shard));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = table.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Starts the task of a shard, unless it has one. The receiver is told how the first attempts ended.
    fn hold(&self, shard: ShardId) -> Option<oneshot::Receiver<Result<(), String>>> {
        if !self.inner.held.lock().unwrap_or_else(PoisonError::into_inner).insert(shard) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let task = Arc::clone(&self.inner).keep_open(shard, sender);
        self.inner.life.tasks.spawn(task);
        Some(receiver)
    }
}

impl Inner {
    async fn keep_open(self: Arc<Self>, shard: ShardId, first: oneshot::Sender<Result<(), String>>) {
        let mut first = Some(first);
        let mut tries = Tries::default();
        loop {
            let opening = async {
                // Never closed: the error cannot be.
                let _permit = self.permits.acquire().await;
                ShardHandle::open(self.opening(shard)).await
            };
            // A claim that is under way is not cut off: its outcome would be in doubt.
            let opened = opening.await;
            if self.life.opening.is_cancelled() {
                if let Ok(handle) = opened {
                    handle.close(Instant::now() + CLOSE_UNUSED_MAX).await;
                }
                return;
            }
            match opened {
                Ok(handle) => {
                    tries = Tries::default();
                    self.serve(shard, handle, first.take()).await;
                    if self.life.opening.is_cancelled() {
                        return;
                    }
                    // Why, the shard has said.
                    tracing::warn!(node = %self.node, %shard, "a shard ended by itself; it is opened again");
                }
                Err(why) => {
                    tries.failed(&self.node, shard, &why);
                    if let Some(told) = first_outcome(&why, tries.failed, self.first_attempts_max)
                        && let Some(first) = first.take()
                    {
                        drop(first.send(told));
                    }
                }
            }
            tokio::select! {
                () = self.life.opening.cancelled() => return,
                () = tokio::time::sleep(tries.pause()) => {}
            }
        }
    }

    /// Serves an open shard until it ends.
    async fn serve(&self, shard: ShardId, handle: ShardHandle, first: Option<oneshot::Sender<Result<(), String>>>) {
        tracing::info!(node = %self.node, %shard, epoch = %handle.status().epoch, "shard opened");
        self.shards.insert(shard, handle.clone());
        self.owners.insert_local(handle.clone());
        if let Some(first) = first {
            drop(first.send(Ok(())));
        }
        outbox::deliver(handle, self.owners.clone(), self.life.all.clone()).await;
        if !self.life.opening.is_cancelled() {
            self.shards.remove(shard);
            drop(self.owners.remove_local(shard));
        }
    }

    fn opening(&self, shard: ShardId) -> Opening {
        Opening {
            shard,
            identity: self.identity,
            node: self.node.clone(),
            path: self.folder.join(format!("{:04}.sqlite", shard.0)),
            log: Arc::clone(&self.log),
            lane: self.lane.clone(),
            replicas: Arc::new(Alone),
            clock: self.clock.clone(),
            config: self.config.clone(),
        }
    }
}

/// What the `failed`th failure of a first opening means for the start of the node, of at most `max` attempts; `None` while
/// it waits for the next attempt.
fn first_outcome(why: &OpenError, failed: u32, max: Option<u32>) -> Option<Result<(), String>> {
    match why {
        // The other shards of this node are not made to wait for it.
        OpenError::Elsewhere(_) if max.is_none() => Some(Ok(())),
        OpenError::Refused(line)
        | OpenError::Diverged(line)
        | OpenError::Damaged(line)
        | OpenError::Behind(line)
        | OpenError::Elsewhere(line) => Some(Err(line.clone())),
        OpenError::Failed(line) => max.is_some_and(|max| failed >= max).then(|| Err(line.clone())),
    }
}

/// Failed attempts in a row.
#[derive(Debug, Default)]
struct Tries {
    failed: u32,
    last: Option<OpenError>,
}

impl Tries {
    /// Counts a failure; logs it unless it is the same as the one before.
    fn failed(&mut self, node: &NodeId, shard: ShardId, why: &OpenError) {
        self.failed = self.failed.saturating_add(1);
        telemetry::SHARD_OPEN_FAILURES.add(1, &[("node", &node.0)]);
        if self.last.as_ref() != Some(why) {
            if matches!(why, OpenError::Elsewhere(_)) {
                tracing::warn!(%node, %shard, error = %why, "a shard is not ours now; looking again and again");
            } else {
                tracing::error!(%node, %shard, error = %why, "a shard cannot be opened; trying again");
            }
            self.last = Some(why.clone());
        }
    }

    fn pause(&self) -> Duration {
        if !matches!(self.last, None | Some(OpenError::Failed(_))) {
            return PAUSE_SLOW;
        }
        let doublings = self.failed.saturating_sub(1).min(16);
        PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut tries = Tries::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            tries.failed(&NodeId::from("node-1"), ShardId(3), &OpenError::Failed("disk full".to_owned()));
            pauses.push(tries.pause());
        }
        assert_eq!(pauses[0], PAUSE_MIN);
        assert_eq!(pauses[1], PAUSE_MIN * 2);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert_eq!(pauses.last(), Some(&PAUSE_MAX));
        tries.failed(&NodeId::from("node-1"), ShardId(3), &OpenError::Elsewhere("owned by node-2".to_owned()));
        assert_eq!(tries.pause(), PAUSE_SLOW);
    }

    #[test]
    fn a_start_ends_at_what_will_not_mend_and_waits_for_what_may_pass() {
        let line = || "why".to_owned();
        let outcome = |why: fn(String) -> OpenError, failed, max| first_outcome(&why(line()), failed, max);
        for max in [None, Some(3)] {
            assert_eq!(outcome(OpenError::Refused, 1, max), Some(Err(line())));
        }
        assert_eq!(outcome(OpenError::Failed, 1_000, None), None);
        assert_eq!([2, 3].map(|failed| outcome(OpenError::Failed, failed, Some(3))), [None, Some(Err(line()))]);
        assert_eq!(outcome(OpenError::Elsewhere, 1, None), Some(Ok(())), "the others are served meanwhile");
        assert_eq!(outcome(OpenError::Elsewhere, 1, Some(3)), Some(Err(line())));
    }
}
