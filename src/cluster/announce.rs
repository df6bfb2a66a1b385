//! Announces the node every second and follows the table. Both go on through any outage of the
//! table's store: the last table seen stays good. An outage is logged once, when it begins, and
//! once, when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cluster::directory;
use crate::cluster::table::reach::Reach;
use crate::cluster::table::{NodeAddresses, Table, TableStore};
use crate::ids::NodeId;
use crate::telemetry;

/// A node announces itself this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// One call to the store is given up after this long.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Announces a node.
#[derive(Debug, Clone)]
pub(crate) struct Announcer {
    /// Where the table is kept.
    pub(crate) store: Arc<dyn TableStore>,
    /// The node that is announced.
    pub(crate) node: NodeId,
    /// Where others reach it.
    pub(crate) addresses: NodeAddresses,
}

impl Announcer {
    /// Follows the table from now on until `stop`. Returns when a table names the node under its
    /// present addresses; waits for that at most `wait`, if that is given.
    ///
    /// # Errors
    /// One clear line: there is no such table in time.
    pub(crate) async fn follow(
        &self,
        wait: Option<Duration>,
        stop: CancellationToken,
        reach: Arc<Reach>,
    ) -> Result<watch::Receiver<Arc<Table>>, String> {
        let id = &self.node;
        let named = async {
            let mut table =
                directory::follow(Arc::clone(&self.store), directory::POLL, stop, reach).await?;
            let names_us = table
                .wait_for(|table| table.addresses(id) == Some(&self.addresses))
                .await
                .is_ok();
            names_us.then_some(table)
        };

        let Some(wait) = wait else {
            return named
                .await
                .ok_or_else(|| format!("{id}: ended before a table named it"));
        };
        let named = tokio::time::timeout(wait, named).await.ok().flatten();
        named.ok_or_else(|| format!("{id}: no table names this node within {} s", wait.as_secs()))
    }

    /// Announces the node for ever.
    pub(crate) async fn run(self) {
        let Self {
            store,
            node: id,
            addresses,
        } = self;

        let mut every = tokio::time::interval(ANNOUNCE_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            every.tick().await;
            let error = match tokio::time::timeout(CALL_MAX, store.register(&id, &addresses)).await
            {
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
}
