//! A table in memory that a test changes.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;

use super::*;
use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, TableError, TableStore};
use crate::log::Identity;

/// A table in memory that the test changes.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) table: Mutex<Option<Table>>,
    pub(super) loads: AtomicUsize,
}

impl Shelf {
    pub(super) fn put(&self, table: Option<Table>) {
        *self.table.lock().unwrap() = table;
    }
}

#[async_trait]
impl TableStore for Shelf {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn create(&self, _: Identity) -> Result<Identity, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(self.table.lock().unwrap().clone())
    }

    async fn swap(&self, _: u64, _: Table) -> Result<bool, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn register(&self, _: &NodeId, _: &NodeAddresses) -> Result<(), TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn lead(&self, _: &NodeId, _: Duration) -> Result<bool, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }
}

/// The cluster of these tests, and its key.
pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// A node's name: that of its address, which is the same for links and for sockets.
pub(super) fn node_at(address: &SocketAddr) -> NodeId {
    NodeId::from(address.to_string().as_str())
}

/// A table of one shard whose row is these addresses in order.
pub(super) fn table(version: u64, row: &[SocketAddr]) -> Option<Table> {
    let ids: Vec<NodeId> = row.iter().map(node_at).collect();
    let addresses = row.iter().map(|address| NodeAddresses {
        peer: address.to_string(),
        ..NodeAddresses::default()
    });
    let nodes = ids.iter().cloned().zip(addresses);
    let identity = Identity {
        cluster: CLUSTER,
        shards: 1,
    };

    Some(Table {
        version,
        identity,
        nodes: nodes.collect(),
        rows: vec![ids],
        claimed: BTreeSet::new(),
        changes: Changes::default(),
    })
}
