//! The links to the nodes of the table: one for each, opened when it is first needed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cluster::table::Table;
use crate::cluster::table::reach::{Reach, Told};
use crate::ids::NodeId;
use crate::link::front::Down;
use crate::link::front::client::{Consumer, NodeLink, Setup, Way};
use crate::link::front::server::FrontServer;
use crate::link::proof::ClusterKey;
use crate::link::{Config, Credentials, Role};
use crate::router::directory::Directory;

/// How nodes are reached.
pub enum Ways {
    /// By their peer ports, with the key of the cluster.
    Sockets(ClusterKey),
    /// In this process.
    Memory(BTreeMap<NodeId, Arc<FrontServer>>),
}

/// All links of a router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    /// Our name, of this process alone.
    id: NodeId,
    ways: Ways,
    directory: Directory,
    config: Config,
    links: Mutex<HashMap<NodeId, Kept>>,
    consumer: Arc<Consumed>,
    stop: CancellationToken,
}

struct Kept {
    link: NodeLink,
    stop: CancellationToken,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// Links to the nodes that `directory` names, until `stop`.
    #[must_use]
    pub fn new(ways: Ways, directory: Directory, config: Config, stop: CancellationToken) -> Self {
        let id = NodeId::from(format!("router-{}", Uuid::new_v4()).as_str());
        let consumer = Arc::new(Consumed {
            others: OnceLock::new(),
            reach: directory.reach(),
        });
        Self(Arc::new(Inner {
            id,
            ways,
            directory,
            config,
            links: Mutex::default(),
            consumer,
            stop,
        }))
    }

    /// From now on, and for ever, this takes what are no replies. What came before is dropped.
    pub fn consume(&self, consumer: Arc<dyn Consumer>) {
        if self.0.consumer.others.set(consumer).is_err() {
            tracing::error!("a second consumer of links is left out");
        }
    }

    /// The link to a node; none when the table does not tell how it is reached.
    #[must_use]
    pub fn to(&self, node: &NodeId) -> Option<NodeLink> {
        let table = self.0.directory.table()?;
        table.addresses(node)?;
        let mut links = self.links();
        if let Some(kept) = links.get(node) {
            return Some(kept.link.clone());
        }

        let way = self.0.way(node, &table)?;
        // Those of nodes that are gone for good.
        links.retain(|known, kept| {
            let stays = table.addresses(known).is_some();
            if !stays {
                kept.stop.cancel();
            }
            stays
        });

        let stop = self.0.stop.child_token();
        let setup = Setup {
            node: node.clone(),
            way,
            consumer: Arc::<Consumed>::clone(&self.0.consumer),
            config: self.0.config.clone(),
            stop: stop.clone(),
        };
        let link = NodeLink::spawn(setup);
        links.insert(
            node.clone(),
            Kept {
                link: link.clone(),
                stop,
            },
        );

        Some(link)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<NodeId, Kept>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn way(&self, node: &NodeId, table: &Table) -> Option<Way> {
        match &self.ways {
            Ways::Memory(servers) => servers.get(node).map(|server| {
                let server = Arc::clone(server);
                Way::Memory {
                    id: self.id.clone(),
                    server,
                }
            }),
            Ways::Sockets(key) => {
                let credentials = Credentials {
                    id: self.id.clone(),
                    role: Role::Router,
                    cluster: table.identity.cluster,
                    key: key.clone(),
                };
                let (directory, node) = (self.directory.clone(), node.clone());
                let address = move || Some(directory.table()?.addresses(&node)?.peer.clone());
                Some(Way::Socket {
                    credentials,
                    address: Box::new(address),
                })
            }
        }
    }
}

/// Hands on what comes over links to whatever consumes it.
#[derive(Debug)]
struct Consumed {
    others: OnceLock<Arc<dyn Consumer>>,
    reach: Arc<Reach>,
}

impl Consumer for Consumed {
    fn take(&self, node: &NodeId, connection: u64, frames: Vec<Down>) {
        if let Some(consumer) = self.others.get() {
            consumer.take(node, connection, frames);
        }
    }

    fn ended(&self, node: &NodeId, connection: u64) {
        if let Some(consumer) = self.others.get() {
            consumer.ended(node, connection);
        }
    }

    fn heard(&self, version: u64, age_ms: Option<u64>) {
        self.reach.hear(Told { version, age_ms }, Instant::now());
    }
}
