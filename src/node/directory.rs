//! This process's follow of the table: one task asks the store, everyone else watches what it saw.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::node::table::{Table, TableStore};

/// How often the store is asked.
pub const POLL: Duration = Duration::from_millis(250);

/// Waits for the first table, then follows it until `stop` fires or nobody watches any more. Versions seen only grow; a
/// table of another cluster is never taken. While the store does not answer the last table stands. `None` when stopped before there was a table.
pub async fn follow(
    store: Arc<dyn TableStore>,
    poll: Duration,
    stop: CancellationToken,
) -> Option<watch::Receiver<Arc<Table>>> {
    let mut failing = false;
    let first = loop {
        if let Some(table) = load(&*store, None, &mut failing).await {
            break table;
        }
        tokio::select! {
            () = sleep(poll) => {}
            () = stop.cancelled() => return None,
        }
    };
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sleep(poll) => {}
                () = sender.closed() => return,
                () = stop.cancelled() => return,
            }
            let known = Arc::clone(&sender.borrow());
            if let Some(table) = load(&*store, Some(&known), &mut failing).await {
                sender.send_if_modified(|current| {
                    let newer = table.version > current.version && table.identity == current.identity;
                    if newer {
                        *current = Arc::new(table);
                    }
                    newer
                });
            }
        }
    });
    Some(receiver)
}

/// Logs when the store begins to fail and when it answers again, not each failure.
async fn load(store: &dyn TableStore, known: Option<&Table>, failing: &mut bool) -> Option<Table> {
    match store.load_unless(known).await {
        Ok(table) => {
            if std::mem::take(failing) {
                tracing::info!("the table can be read again");
            }
            table
        }
        Err(error) => {
            if !std::mem::replace(failing, true) {
                tracing::warn!(%error, "the table cannot be read, the last one stands");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::ids::{ClusterId, NodeId};
    use crate::node::table::{NodeAddresses, TableError};
    use crate::shard::log::Identity;

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
        let identity = Identity { cluster: ClusterId(uuid::Uuid::nil()), shards: 1 };
        Table { version, identity, nodes: BTreeMap::new(), rows: vec![Vec::new()] }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_table_is_awaited_and_only_newer_ones_follow() {
        let shelf = Arc::new(Shelf::default());
        let put = |load: Result<Table, TableError>| *shelf.0.lock().expect("not poisoned") = Some(load);
        let store: Arc<dyn TableStore> = Arc::<Shelf>::clone(&shelf);
        let following = tokio::spawn(follow(store, POLL, CancellationToken::new()));
        sleep(POLL * 3).await;
        assert!(!following.is_finished());
        put(Ok(table(2)));
        let mut seen = following.await.expect("no panic").expect("a table");
        assert_eq!(seen.borrow_and_update().version, 2);
        put(Ok(table(1)));
        sleep(POLL * 3).await;
        put(Err(TableError("down".to_owned())));
        sleep(POLL * 3).await;
        assert!(!seen.has_changed().expect("it is followed"));
        put(Ok(table(3)));
        seen.changed().await.expect("it is followed");
        assert_eq!(seen.borrow().version, 3);
    }
}
