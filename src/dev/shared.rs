//! What the router and all nodes share, opened from the data folder.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::cluster::table::TableStore;
use crate::cluster::table::embedded::EmbeddedTable;
use crate::config::secrets::{CLUSTER_KEY, Secret};
use crate::config::settings::Settings;
use crate::ids::ClusterId;
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::log::embedded::{self, EmbeddedLog};
use crate::process::files;
use crate::watchdog::Watchdog;

/// What the router and all nodes share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) log: Arc<EmbeddedLog>,
    pub(super) table: Arc<dyn TableStore>,
    pub(super) verifier: Verifier,
    pub(super) cluster_key: ClusterKey,
    pub(super) watchdog: Watchdog,
}

/// Opens it. A folder of another cluster or number of shards is refused before anything is written.
///
/// # Errors
/// One clear line.
pub(super) async fn open_shared(
    settings: &Settings,
    cluster_key: Option<Secret>,
    jwt: &Secret,
    stop: &CancellationToken,
) -> Result<Shared, String> {
    let data = &settings.dev.data;
    let cluster_key = files::secret(cluster_key, &data.join(files::CLUSTER_KEY))?;
    let cluster_key = ClusterKey::new(cluster_key.expose().as_bytes());
    let cluster_key = cluster_key.map_err(|error| format!("{CLUSTER_KEY}: {error}"))?;
    let verifier = Verifier::new(settings.auth.config(Some(jwt)), Clock::system())?;
    let folder = data.join(files::LOG);
    if embedded::former::take_over(&data.join(files::FORMER_LOG), &folder).await? {
        tracing::info!(folder = %folder.display(), "took over the log of a former version");
    }

    let log = EmbeddedLog::open(&folder).await?;
    let table: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
    let identity = identify(table.as_ref(), settings.dev.shards, data).await?;
    let watchdog = Watchdog::spawn(stop.clone());
    Ok(Shared {
        identity,
        log,
        table,
        verifier,
        cluster_key,
        watchdog,
    })
}

/// The identity of the data folder's cluster, created if it is new.
async fn identify(table: &dyn TableStore, shards: u32, data: &Path) -> Result<Identity, String> {
    let found = match table.identity().await.map_err(|e| e.to_string())? {
        Some(found) => found,
        None => {
            let new = Identity {
                cluster: ClusterId::random(),
                shards,
            };
            table.create(new).await.map_err(|e| e.to_string())?
        }
    };
    if found.shards != shards {
        let (data, made) = (data.display(), found.shards);
        return Err(format!(
            "data folder {data} was made with {made} shards, not {shards}; give --shards {made} or \
             another --data"
        ));
    }

    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::cluster::table::{NodeAddresses, Table, TableError};
    use crate::ids::NodeId;

    #[derive(Debug, Default)]
    struct MemoryTable(Mutex<Option<Identity>>);

    #[async_trait]
    impl TableStore for MemoryTable {
        async fn identity(&self) -> Result<Option<Identity>, TableError> {
            Ok(*self.0.lock().expect("unpoisoned"))
        }

        async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
            Ok(*self.0.lock().expect("unpoisoned").get_or_insert(identity))
        }

        async fn load(&self) -> Result<Option<Table>, TableError> {
            Ok(None)
        }

        async fn swap(&self, _expected: u64, _table: Table) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn register(
            &self,
            _node: &NodeId,
            _addresses: &NodeAddresses,
        ) -> Result<(), TableError> {
            Ok(())
        }

        async fn lead(&self, _node: &NodeId, _life: Duration) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn nodes(
            &self,
        ) -> Result<std::collections::BTreeMap<NodeId, NodeAddresses>, TableError> {
            Ok(std::collections::BTreeMap::new())
        }
    }

    #[tokio::test]
    async fn another_number_of_shards_than_the_folder_was_made_with_is_refused_in_one_line() {
        let table = MemoryTable::default();
        let made = identify(&table, 16, Path::new("data")).await.expect("new");
        assert_eq!(identify(&table, 16, Path::new("data")).await, Ok(made));
        let refused = identify(&table, 32, Path::new("data"))
            .await
            .expect_err("another S");
        assert!(
            refused.contains("was made with 16 shards, not 32") && !refused.contains('\n'),
            "{refused}"
        );
    }
}
