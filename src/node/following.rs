//! Announces the node every second and follows the table. Both go on for ever, through any outage of the table's store:
//! the last table seen stays good. An outage is logged once, when it begins, and once, when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::ids::NodeId;
use crate::node::table::{NodeAddresses, Table, TableError, TableStore};
use crate::node::{Life, Setup};
use crate::telemetry;

/// A node announces itself this often.
pub(super) const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// The table is asked for this often.
pub(super) const POLL_EVERY: Duration = Duration::from_millis(250);

/// As often before the first table is there, so that a start is quick.
const FIRST_POLL_EVERY: Duration = Duration::from_millis(20);

/// One call to the store is given up after this long.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Longest wait for a table that names this node under its present addresses.
const TABLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Registers and waits for a table that names this node under its present addresses; from then on keeps announcing and
/// following until the node ends.
///
/// # Errors
/// One clear line: the first registration failed, there is no such table in time.
pub(super) async fn start(
    setup: &Setup,
    addresses: &NodeAddresses,
    life: &Life,
) -> Result<watch::Receiver<Arc<Table>>, String> {
    let (store, id) = (Arc::clone(&setup.table), setup.id.clone());
    store.register(&id, addresses).await.map_err(|error| format!("{id}: cannot register: {error}"))?;
    life.spawn(announce(Arc::clone(&store), id.clone(), addresses.clone()));
    let first = tokio::time::timeout(TABLE_WAIT_MAX, first_table(store.as_ref(), &id, addresses)).await;
    let seconds = TABLE_WAIT_MAX.as_secs();
    let first = first.map_err(|_late| format!("{id}: no table names this node within {seconds} s"))?;
    let (sender, receiver) = watch::channel(Arc::new(first));
    life.spawn(follow(store, id, sender));
    Ok(receiver)
}

async fn announce(store: Arc<dyn TableStore>, id: NodeId, addresses: NodeAddresses) {
    let mut outage = Outage::new(id.clone(), "announcing the node");
    let mut every = ticks(ANNOUNCE_EVERY);
    loop {
        every.tick().await;
        let answered = tokio::time::timeout(CALL_MAX, store.register(&id, &addresses)).await;
        outage.told(answered);
    }
}

async fn first_table(store: &dyn TableStore, id: &NodeId, addresses: &NodeAddresses) -> Table {
    let mut outage = Outage::new(id.clone(), "waiting for the first table");
    let mut every = ticks(FIRST_POLL_EVERY);
    loop {
        every.tick().await;
        let answered = tokio::time::timeout(CALL_MAX, store.load()).await;
        match outage.told(answered) {
            Some(Some(table)) if table.addresses(id) == Some(addresses) => return table,
            _ => {}
        }
    }
}

async fn follow(store: Arc<dyn TableStore>, id: NodeId, sender: watch::Sender<Arc<Table>>) {
    let mut outage = Outage::new(id, "following the table");
    let mut every = ticks(POLL_EVERY);
    loop {
        every.tick().await;
        let answered = tokio::time::timeout(CALL_MAX, store.load()).await;
        let Some(Some(loaded)) = outage.told(answered) else { continue };
        sender.send_if_modified(|current| {
            // An older version is an answer that was overtaken.
            let newer = loaded.version > current.version;
            if newer {
                *current = Arc::new(loaded);
            }
            newer
        });
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Logs the beginning and the end of an outage, counts each failure.
struct Outage {
    node: NodeId,
    doing: &'static str,
    lasts: bool,
}

impl Outage {
    fn new(node: NodeId, doing: &'static str) -> Self {
        Self { node, doing, lasts: false }
    }

    fn told<T>(&mut self, answered: Result<Result<T, TableError>, tokio::time::error::Elapsed>) -> Option<T> {
        let error = match answered {
            Ok(Ok(answer)) => {
                if std::mem::take(&mut self.lasts) {
                    tracing::info!(node = %self.node, doing = self.doing, "the store of the table answers again");
                }
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        telemetry::TABLE_ERRORS.add(1, &[("node", &self.node.0)]);
        if !std::mem::replace(&mut self.lasts, true) {
            tracing::warn!(node = %self.node, doing = self.doing, error, "the store of the table does not answer");
        }
        None
    }
}
