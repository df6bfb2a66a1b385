//! Proxies between nodes, which cut or stall what passes, and a table that leads through them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rookery::cluster::table::embedded::EmbeddedTable;
use rookery::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use rookery::ids::NodeId;
use rookery::log::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a proxy does with the bytes between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    Stall,
}

/// Stands before the peer port of one node.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) mode: watch::Sender<Mode>,
    /// Ends the connections of now.
    cut: Mutex<CancellationToken>,
    open: Arc<AtomicUsize>,
    /// Connections that were open when they were cut.
    pub(crate) was_cut: AtomicUsize,
}

impl Proxy {
    /// Begins to pass what comes on to this address.
    pub(crate) async fn before(target: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            mode: watch::Sender::new(Mode::Pass),
            cut: Mutex::default(),
            open: Arc::default(),
            was_cut: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&proxy);

        tokio::spawn(async move {
            loop {
                let (from, _) = listener.accept().await.unwrap();
                let cut = accepting.cut.lock().unwrap().clone();
                let (mode, open) = (accepting.mode.subscribe(), Arc::clone(&accepting.open));
                let target = target.clone();
                tokio::spawn(async move {
                    let Ok(to) = TcpStream::connect(target).await else {
                        return;
                    };
                    open.fetch_add(1, Ordering::SeqCst);
                    let (from_read, from_write) = from.into_split();
                    let (to_read, to_write) = to.into_split();
                    tokio::select! {
                        () = pass(from_read, to_write, mode.clone()) => {}
                        () = pass(to_read, from_write, mode) => {}
                        () = cut.cancelled() => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });

        proxy
    }

    /// Ends every connection of now.
    pub(crate) fn cut(&self) {
        self.was_cut
            .fetch_add(self.open.load(Ordering::SeqCst), Ordering::SeqCst);
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    // Small and odd, so that a cut falls within frames.
    let mut bytes = [0; 1_021];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        if mode.wait_for(|mode| *mode == Mode::Pass).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}

/// The table as one node sees it: the peers of the others are reached by their proxies.
#[derive(Debug)]
pub(crate) struct ThroughProxies {
    table: Arc<EmbeddedTable>,
    me: NodeId,
    peers: HashMap<NodeId, String>,
}

impl ThroughProxies {
    /// The table as this node sees it, with the proxies of all nodes.
    pub(crate) fn of(
        table: &Arc<EmbeddedTable>,
        me: &NodeId,
        peers: &HashMap<NodeId, String>,
    ) -> Self {
        Self {
            table: Arc::clone(table),
            me: me.clone(),
            peers: peers.clone(),
        }
    }
}

#[async_trait]
impl TableStore for ThroughProxies {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        self.table.identity().await
    }

    async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
        self.table.create(identity).await
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        let mut table = self.table.load().await?;
        for (node, addresses) in table.iter_mut().flat_map(|table| &mut table.nodes) {
            if let Some(peer) = self.peers.get(node).filter(|_| *node != self.me) {
                addresses.peer = peer.clone();
            }
        }
        Ok(table)
    }

    async fn swap(&self, expected: u64, mut table: Table) -> Result<bool, TableError> {
        // The proxies are nobody else's.
        for (node, addresses) in self
            .table
            .load()
            .await?
            .into_iter()
            .flat_map(|stands| stands.nodes)
        {
            table.nodes.insert(node, addresses);
        }
        self.table.swap(expected, table).await
    }

    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError> {
        self.table.register(node, addresses).await
    }

    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError> {
        self.table.lead(node, life).await
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        self.table.nodes().await
    }
}
