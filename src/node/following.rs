//! Announces the node every second and follows the table. Both go on through any outage of the table's store: the last
//! table seen stays good. An outage is logged once, when it begins, and once, when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::cluster::directory;
use crate::cluster::table::reach::Reach;
use crate::cluster::table::{NodeAddresses, Table, TableStore};
use crate::ids::NodeId;
use crate::node::context::{Life, Setup};
use crate::telemetry;

/// A node announces itself this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// One call to the store is given up after this long.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Announces the node and waits for a table that names it under its present addresses, at most `wait` if that is given;
/// from then on keeps announcing and following until the node ends.
///
/// # Errors
/// One clear line: there is no such table in time.
pub(super) async fn start(
    setup: &Setup,
    addresses: &NodeAddresses,
    life: &Life,
    wait: Option<Duration>,
    reach: &Arc<Reach>,
) -> Result<watch::Receiver<Arc<Table>>, String> {
    let (store, id) = (Arc::clone(&setup.table), setup.id.clone());
    life.spawn(announce(Arc::clone(&store), id.clone(), addresses.clone()));
    let named = async {
        let mut table = directory::follow(store, directory::POLL, life.all.clone(), Arc::clone(reach)).await?;
        let names_us = table.wait_for(|table| table.addresses(&id) == Some(addresses)).await.is_ok();
        names_us.then_some(table)
    };
    let Some(wait) = wait else {
        return named.await.ok_or_else(|| format!("{id}: ended before a table named it"));
    };
    let named = tokio::time::timeout(wait, named).await.ok().flatten();
    named.ok_or_else(|| format!("{id}: no table names this node within {} s", wait.as_secs()))
}

async fn announce(store: Arc<dyn TableStore>, id: NodeId, addresses: NodeAddresses) {
    let mut every = tokio::time::interval(ANNOUNCE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        every.tick().await;
        let error = match tokio::time::timeout(CALL_MAX, store.register(&id, &addresses)).await {
            Ok(Ok(())) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(node = %id, "the node is announced again");
                }
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        telemetry::TABLE_ERRORS.add(1, &[("node", &id.0)]);
        if !std::mem::replace(&mut failing, true) {
            tracing::warn!(node = %id, error, "the node cannot be announced");
        }
    }
}
