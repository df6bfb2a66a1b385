//! This process's follow of the table: one task asks the store, everyone else watches what it saw.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::cluster::table::follow::Follower;
use crate::cluster::table::reach::Reach;
use crate::cluster::table::{Table, TableStore};

/// How often the store is asked.
pub(crate) const POLL: Duration = Duration::from_millis(250);

/// Waits for the first table, then follows it as a [`Follower`] does until `stop` fires or nobody
/// watches any more, and notes in `reach` how that goes. `None` when stopped before there was a
/// table.
pub(crate) async fn follow(
    store: Arc<dyn TableStore>,
    poll: Duration,
    stop: CancellationToken,
    reach: Arc<Reach>,
) -> Option<watch::Receiver<Arc<Table>>> {
    let mut follower = Follower::new(store);
    let first = loop {
        // The follower tells of failures.
        if let Ok(Some(table)) = follower.poll().await {
            break table;
        }
        tokio::select! {
            () = sleep(poll) => {}
            () = stop.cancelled() => return None,
        }
    };
    reach.read(first.version, Instant::now());
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sleep(poll) => {}
                () = sender.closed() => return,
                () = stop.cancelled() => return,
            }
            let begun = Instant::now();
            match follower.poll().await {
                Ok(table) => {
                    if let Some(table) = table {
                        sender.send_replace(table);
                    }
                    // As of before it was asked for.
                    reach.read(sender.borrow().version, begun);
                }
                Err(_) => reach.failed(Instant::now()),
            }
        }
    });

    Some(receiver)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::cluster::table::follow::FALLEN_AFTER;
    use crate::cluster::table::{NodeAddresses, TableError};
    use crate::ids::{ClusterId, NodeId};
    use crate::log::Identity;

    #[derive(Debug, Default)]
    struct Shelf(Mutex<Option<Result<Table, TableError>>>);

    #[async_trait]
    impl TableStore for Shelf {
        async fn identity(&self) -> Result<Option<Identity>, TableError> {
            Ok(None)
        }
        async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
            Ok(identity)
        }
        async fn load(&self) -> Result<Option<Table>, TableError> {
            self.0.lock().expect("not poisoned").clone().transpose()
        }
        async fn swap(&self, _: u64, _: Table) -> Result<bool, TableError> {
            Ok(false)
        }
        async fn register(&self, _: &NodeId, _: &NodeAddresses) -> Result<(), TableError> {
            Ok(())
        }
        async fn lead(&self, _: &NodeId, _: Duration) -> Result<bool, TableError> {
            Ok(false)
        }
        async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
            Ok(BTreeMap::new())
        }
    }

    fn table(version: u64) -> Table {
        let identity = Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards: 1,
        };
        Table {
            version,
            identity,
            nodes: BTreeMap::new(),
            rows: vec![Vec::new()],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_table_is_awaited_and_what_stands_is_followed() {
        let shelf = Arc::new(Shelf::default());
        let put =
            |load: Result<Table, TableError>| *shelf.0.lock().expect("not poisoned") = Some(load);
        let store: Arc<dyn TableStore> = Arc::<Shelf>::clone(&shelf);
        let following = tokio::spawn(follow(
            store,
            POLL,
            CancellationToken::new(),
            Arc::default(),
        ));
        sleep(POLL * 3).await;
        assert!(!following.is_finished());

        put(Ok(table(2)));
        let mut seen = following.await.expect("no panic").expect("a table");
        assert_eq!(seen.borrow_and_update().version, 2);

        put(Ok(table(1)));
        sleep(FALLEN_AFTER - POLL * 2).await;
        put(Err(TableError::Unanswered));
        sleep(POLL * 3).await;
        assert!(!seen.has_changed().expect("it is followed"));

        put(Ok(table(3)));
        seen.changed().await.expect("it is followed");
        assert_eq!(seen.borrow_and_update().version, 3);

        put(Ok(table(2)));
        seen.changed().await.expect("it is followed");
        assert_eq!(seen.borrow().version, 2, "it fell back, and stands");
    }
}
