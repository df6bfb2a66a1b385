//! The table of a cluster in one process: identity and table in the embedded log, registrations and
//! the coordinator's lease in memory.
//!
//! All nodes of the process share one [`EmbeddedTable`]; a second one over the same log would not
//! see who registered with the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use crate::ids::NodeId;
use crate::log::Identity;
use crate::log::embedded::{Cell, EmbeddedLog};

/// After this long without a sign of life a node leaves the list.
pub const REGISTRATION_LIFE: Duration = Duration::from_secs(90);
/// Most nodes at a time; a further one is refused.
pub const NODES_MAX: usize = 1024;

const IDENTITY: &str = "identity";
const TABLE: &str = "table";

#[derive(Debug)]
struct Registration {
    addresses: NodeAddresses,
    announced: Instant,
}

/// The table store of one process; see the head of this file.
#[derive(Debug)]
pub struct EmbeddedTable {
    log: Arc<EmbeddedLog>,
    registered: Mutex<BTreeMap<NodeId, Registration>>,
    leader: Mutex<Option<(NodeId, Instant)>>,
}

impl EmbeddedTable {
    /// A table store in this log.
    #[must_use]
    pub fn new(log: Arc<EmbeddedLog>) -> Self {
        Self {
            log,
            registered: Mutex::default(),
            leader: Mutex::default(),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TableError> {
        let cell = self.log.cell(name)?;
        let parse = |stored: Cell| serde_json::from_slice(&stored.body);
        cell.map(parse).transpose().map_err(|error| {
            TableError::Malformed(format!("the stored {name} is malformed: {error}"))
        })
    }

    async fn write<T: Serialize + Sync>(
        &self,
        name: &str,
        expected: u64,
        value: &T,
    ) -> Result<bool, TableError> {
        let body =
            serde_json::to_vec(value).map_err(|error| TableError::Malformed(error.to_string()))?;
        Ok(self
            .log
            .swap_cell(name, expected, Bytes::from(body))
            .await?)
    }

    /// The registrations that still live.
    fn living(&self) -> MutexGuard<'_, BTreeMap<NodeId, Registration>> {
        let mut registered = self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        registered.retain(|_, registration| registration.announced.elapsed() < REGISTRATION_LIFE);
        registered
    }
}

#[async_trait]
impl TableStore for EmbeddedTable {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        self.read(IDENTITY)
    }

    async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
        if self.write(IDENTITY, 0, &identity).await? {
            return Ok(identity);
        }
        let written = self.read(IDENTITY)?;
        written.ok_or_else(|| {
            TableError::Malformed("the identity is neither absent nor there".to_owned())
        })
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        self.read(TABLE)
    }

    async fn swap(&self, expected: u64, table: Table) -> Result<bool, TableError> {
        if table.version != expected + 1 {
            return Err(TableError::Refused(format!(
                "version {} does not follow {expected}",
                table.version
            )));
        }
        Ok(self.write(TABLE, expected, &table).await?
            || self.load().await?.as_ref() == Some(&table))
    }

    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError> {
        let mut living = self.living();
        if living.len() >= NODES_MAX && !living.contains_key(node) {
            return Err(TableError::Refused(format!(
                "{NODES_MAX} nodes are registered already"
            )));
        }
        living.insert(
            node.clone(),
            Registration {
                addresses: addresses.clone(),
                announced: Instant::now(),
            },
        );
        Ok(())
    }

    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError> {
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_free = leader
            .as_ref()
            .is_none_or(|(leads, until)| leads == node || *until <= now);
        if is_free {
            *leader = Some((node.clone(), now + life));
        }
        Ok(is_free)
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        Ok(self
            .living()
            .iter()
            .map(|(node, registration)| (node.clone(), registration.addresses.clone()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::table::conformance::{Setup, table_conformance};

    struct Embedded {
        folder: tempfile::TempDir,
        log: Arc<EmbeddedLog>,
        table: Arc<EmbeddedTable>,
    }

    async fn embedded() -> Embedded {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
            .await
            .expect("opens");
        let table = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
        Embedded { folder, log, table }
    }

    #[async_trait]
    impl Setup for Embedded {
        fn table(&self) -> Arc<dyn TableStore> {
            Arc::clone(&self.table) as Arc<dyn TableStore>
        }

        async fn reopen(&mut self) {
            self.log.close().await;
            self.log = EmbeddedLog::open(&self.folder.path().join("log.sqlite"))
                .await
                .expect("opens again");
            self.table = Arc::new(EmbeddedTable::new(Arc::clone(&self.log)));
        }
    }

    table_conformance!(embedded);

    #[tokio::test]
    async fn a_node_that_stops_announcing_leaves_after_90_s() {
        let Embedded {
            folder: _folder,
            log: _log,
            table,
        } = embedded().await;

        let addresses = NodeAddresses {
            http: "h:1".to_owned(),
            peer: "h:2".to_owned(),
            ..NodeAddresses::default()
        };
        let (silent, lively) = (NodeId::from("silent"), NodeId::from("lively"));
        tokio::time::pause();
        table.register(&silent, &addresses).await.unwrap();
        table.register(&lively, &addresses).await.unwrap();
        tokio::time::advance(REGISTRATION_LIFE - Duration::from_millis(1)).await;
        assert_eq!(table.nodes().await.unwrap().len(), 2);

        table.register(&lively, &addresses).await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(
            table.nodes().await.unwrap().into_keys().collect::<Vec<_>>(),
            [lively]
        );
    }
}
