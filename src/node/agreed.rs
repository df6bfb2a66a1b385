//! What this node's shards go by that all nodes of the cluster have in common, kept as the table
//! tells it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::table::Table;
use crate::node::context::{Life, Setup};
use crate::shard::Agreed;

/// What the cluster's key is used for here.
const PURPOSE: &[u8] = b"rookery: what requests under idempotency keys were";

/// Follows the table until the node ends.
pub(super) fn follow(
    setup: &Setup,
    mut table: watch::Receiver<Arc<Table>>,
    life: &Life,
) -> Arc<Agreed> {
    let records = table.borrow_and_update().records();
    let agreed = Arc::new(Agreed::new(setup.cluster_key.tag(PURPOSE, b""), records));
    let (node, told) = (setup.id.clone(), Arc::clone(&agreed));
    life.spawn(async move {
        let mut known = records;
        while table.changed().await.is_ok() {
            let now = table.borrow_and_update().records();
            told.note_records(now);
            if std::mem::replace(&mut known, now) != now {
                tracing::info!(%node, records = now, "the version of records that every node reads");
            }
        }
    });
    agreed
}
