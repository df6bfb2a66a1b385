//! Begins the task of each shard that the table names this node for, or that it has a file of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};

use crate::ids::ShardId;
use crate::log::lane::Lane;
use crate::node::context::{Life, Setup};
use crate::node::custody::opening::common::{Inner, OPENING_MAX, TAKING_MAX, Ways};
use crate::node::custody::opening::turns::Turns;
use crate::node::custody::opening::{files, keeper};
use crate::node::folder::shards_of;

/// Keeps shards. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::node) struct Opener {
    inner: Arc<Inner>,
}

impl Opener {
    pub(in crate::node) fn new(setup: &Setup, ways: Ways, life: Life) -> Self {
        let inner = Inner {
            node: setup.id.clone(),
            identity: setup.identity,
            folder: shards_of(&setup.folder),
            log: Arc::clone(&setup.log),
            lane: Lane::spawn(Arc::clone(&setup.log)),
            clock: setup.clock.clone(),
            config: setup.config.shard.clone(),
            ways,
            life,
            first_attempts_max: setup.first_attempts_max,
            replicas: setup.config.replicas,
            claimed: setup.claimed.clone(),
            opening: Semaphore::new(OPENING_MAX),
            taking: Semaphore::new(TAKING_MAX),
            held: Mutex::default(),
            refused: Mutex::default(),
            giving: Turns::new(),
            awaited: Arc::default(),
            leaving: AtomicBool::new(false),
        };

        let inner = Arc::new(inner);
        let custody: Weak<Inner> = Arc::downgrade(&inner);
        inner.ways.owners.kept_by(custody);
        Self { inner }
    }

    /// Gives away the shards that are owned here, to standbys in sync, at most until `deadline`;
    /// see ADR 19. Takes none from now on, but by what a failover or a start makes its own.
    pub(in crate::node) async fn leave(&self, deadline: Instant) {
        self.inner.leave(deadline).await;
    }

    /// Begins to keep all shards that the table names this node for, or that it has a file of, side
    /// by side. Done when those that it owns are open and the others are followed; one that has to
    /// wait for something that only another node can give (its file, its end) is not waited for
    /// when attempts are without limit, nor is one that is refused: that costs itself only.
    ///
    /// # Errors
    /// The line of the first shard that belongs to another cluster; where attempts have a limit, of
    /// the first refused.
    pub(in crate::node) async fn open_first(&self) -> Result<(), String> {
        let folder = &self.inner.folder;
        let of_folder =
            |error: std::io::Error| format!("data folder {}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(of_folder)?;
        self.inner.send_unsent(folder).map_err(of_folder)?;
        let mut shards = self.named();
        shards.extend(
            files::shards_in(folder)
                .into_iter()
                .filter(|shard| u32::from(shard.0) < self.inner.identity.shards),
        );

        let opening: Vec<_> = shards
            .into_iter()
            .filter_map(|shard| self.hold(shard))
            .collect();
        for opened in opening {
            opened
                .await
                .unwrap_or_else(|_ended| Err("the node ended while it started".to_owned()))?;
        }
        Ok(())
    }

    /// Keeps what later tables give to this node, until the node takes no more.
    pub(in crate::node) async fn follow(self) {
        let stop = self.inner.life.opening.clone();
        let mut table = self.inner.ways.table.clone();

        loop {
            // For good, also if a later table leaves it out.
            self.inner
                .claimed
                .add(table.borrow_and_update().claimed.iter().copied());
            for shard in self.named() {
                // How its first attempt ends concerns nobody: it is tried until it succeeds.
                drop(self.hold(shard));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = table.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The shards that are refused here, and why.
    pub(in crate::node) fn refused(&self) -> BTreeMap<ShardId, String> {
        self.inner.refused().clone()
    }

    /// Counts the shards that are refused here, whenever it is called.
    pub(in crate::node) fn counts_refused(&self) -> impl Fn() -> usize + Send + 'static {
        let inner = Arc::clone(&self.inner);
        move || inner.refused().len()
    }

    /// The shards of whose rows this node is one.
    fn named(&self) -> BTreeSet<ShardId> {
        let table = self.inner.ways.table.borrow();
        let rows = (0..=u16::MAX).map(ShardId).zip(&table.rows);
        rows.filter(|(_, row)| row.contains(&self.inner.node))
            .map(|(shard, _)| shard)
            .collect()
    }

    /// Starts the task of a shard, unless it has one. The receiver is told how the first attempts
    /// ended.
    fn hold(&self, shard: ShardId) -> Option<oneshot::Receiver<Result<(), String>>> {
        if !self
            .inner
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard)
        {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.inner
            .life
            .tasks
            .spawn(keeper::keep(Arc::clone(&self.inner), shard, sender));
        Some(receiver)
    }
}
