//! The followed table: slot → node. Polled, and polled at once when a node hints at a newer
//! version.
//!
//! A router that lost the table's store keeps routing by the last table; nodes refuse what is not
//! theirs, so an old table costs hops, not truth. What is taken, and when: [`Follower`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cluster::map::ShardMap;
use crate::cluster::table::follow::Follower;
use crate::cluster::table::reach::Reach;
use crate::cluster::table::{Table, TableStore};
use crate::ids::{NodeId, Slot};
use crate::telemetry::{self, ROUTER_TABLE_ERRORS, ROUTER_TABLE_VERSION};

/// How often the table is polled unless a hint asks for more.
pub const POLL_EVERY: Duration = Duration::from_millis(250);
/// Polls are at least this far apart, however many hints come in.
const POLL_GAP: Duration = Duration::from_millis(20);

/// The table as followed now. Cheap to clone; the poll ends with the last clone or with its `stop`.
#[derive(Debug, Clone)]
pub struct Directory {
    table: watch::Receiver<Option<Arc<Table>>>,
    hints: Arc<Hints>,
    reach: Arc<Reach>,
}

#[derive(Debug, Default)]
struct Hints {
    wanted: AtomicU64,
    poll: Notify,
}

impl Directory {
    /// Starts to follow a table on a task of its own, until `stop` or until the last clone is
    /// dropped.
    #[must_use]
    pub fn follow(store: Arc<dyn TableStore>, every: Duration, stop: CancellationToken) -> Self {
        let (sender, table) = watch::channel(None);
        let hints = Arc::<Hints>::default();
        let reach = Arc::<Reach>::default();
        let poll = Poll {
            follower: Follower::new(store),
            every,
            sender,
            hints: Arc::clone(&hints),
            reach: Arc::clone(&reach),
        };

        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = poll.run() => {}
            }
        });

        Self {
            table,
            hints,
            reach,
        }
    }

    /// The latest table seen, if any was.
    #[must_use]
    pub fn table(&self) -> Option<Arc<Table>> {
        self.table.borrow().clone()
    }

    /// For whoever compares each table with the one before.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Table>>> {
        self.table.clone()
    }

    /// What this router tells nodes of the table that it follows.
    #[must_use]
    pub fn reach(&self) -> Arc<Reach> {
        Arc::clone(&self.reach)
    }

    /// The nodes of a slot's shard: the owner first, then the row's other nodes. Empty without a
    /// table.
    #[must_use]
    pub fn candidates(&self, slot: Slot) -> Vec<NodeId> {
        let Some(table) = self.table() else {
            return Vec::new();
        };
        let Some(map) = ShardMap::new(table.identity.shards) else {
            return Vec::new();
        };
        let row = table.rows.get(usize::from(map.shard_of(slot).0));
        let nodes = row.into_iter().flatten();
        nodes
            .filter(|node| table.addresses(node).is_some())
            .cloned()
            .collect()
    }

    /// A node said that there is a table of this version: polls at once if it is newer than the one
    /// followed.
    pub fn hint(&self, version: u64) {
        let followed = self
            .table
            .borrow()
            .as_ref()
            .map_or(0, |table| table.version);
        if version > followed && self.hints.wanted.fetch_max(version, Ordering::AcqRel) < version {
            self.hints.poll.notify_one();
        }
    }

    /// Polls at once: the table followed did not lead to a node that answers.
    pub fn refresh(&self) {
        self.hints.poll.notify_one();
    }

    /// Waits for the next change of the table, for ever if it is followed no more. Cancel safe; a
    /// change that came before the call is not seen, so bound the wait.
    pub async fn changed(&self) {
        let mut table = self.table.clone();
        table.mark_unchanged();
        if table.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Poll {
    follower: Follower,
    every: Duration,
    sender: watch::Sender<Option<Arc<Table>>>,
    hints: Arc<Hints>,
    reach: Arc<Reach>,
}

impl Poll {
    async fn run(mut self) {
        telemetry::start_router();
        loop {
            let began = Instant::now();
            let polled = self.follower.poll().await;
            let is_read = polled.is_ok();
            match polled {
                Ok(Some(table)) => self.take(table),
                Ok(None) => {}
                // The follower tells of it.
                Err(_) => ROUTER_TABLE_ERRORS.add(1, &[]),
            }
            if is_read {
                let version = self
                    .sender
                    .borrow()
                    .as_ref()
                    .map_or(0, |table| table.version);
                self.reach.read(version, began.into_std());
            }
            tokio::select! {
                () = sleep_until(began + self.every) => {}
                () = self.hints.poll.notified() => sleep_until(began + POLL_GAP).await,
                () = self.sender.closed() => return,
            }
        }
    }

    fn take(&self, table: Arc<Table>) {
        info!(version = table.version, "following a table");
        #[expect(
            clippy::cast_precision_loss,
            reason = "a version beyond 2^53 takes longer than any cluster lives"
        )]
        ROUTER_TABLE_VERSION.set(table.version as f64, &[]);
        // After a fall the versions that were hinted at may never come.
        self.hints.wanted.store(table.version, Ordering::Release);
        self.sender.send_replace(Some(table));
    }
}
