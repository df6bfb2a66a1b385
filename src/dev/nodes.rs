//! The nodes of the one process: their start, the table that they wait for, and how the operations
//! port tells them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::cluster::assignment::first_table;
use crate::cluster::claimed::Claimed;
use crate::cluster::table::{NodeAddresses, Table, TableStore};
use crate::config::settings::Settings;
use crate::dev::shared::Shared;
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::log::embedded::EmbeddedLog;
use crate::node::audit::AuditOrder;
use crate::node::link::replica::ReplicaAsk;
use crate::node::{self, Beside, Listeners, Node, Setup};
use crate::operations::{self, Auditing, Backing, Cluster, ClusterNode, Digesting, Subject};
use crate::router::Router;

/// Nodes that hold a shard: its owner alone.
const REPLICAS: usize = 1;

/// Attempts to open a shard before the start fails: what does not mend within them is told to the
/// operator.
const FIRST_ATTEMPTS_MAX: u32 = 3;

/// Longest wait until all nodes are registered.
const REGISTER_WAIT_MAX: Duration = Duration::from_secs(30);

/// The nodes of this process, as its operations port tells them.
pub(super) struct Process {
    nodes: Vec<Arc<Node>>,
    router: Router,
    key: ClusterKey,
    draining: AtomicBool,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Process {
    /// The process of started nodes and the router before them.
    pub(super) fn new(nodes: Vec<Arc<Node>>, router: Router, key: ClusterKey) -> Self {
        Self {
            nodes,
            router,
            key,
            draining: AtomicBool::new(false),
        }
    }

    /// Is not ready from now on.
    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Does something with all nodes side by side.
    pub(super) async fn each<F, T>(&self, act: F)
    where
        F: Fn(Arc<Node>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut acts: JoinSet<()> = self.nodes.iter().cloned().map(act).collect();
        while acts.join_next().await.is_some() {}
    }
}

impl Subject for Process {
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        match self.nodes.iter().find(|node| !node.ready()) {
            Some(node) => Err(format!("{} is not ready", node.id())),
            None => self
                .router
                .readiness()
                .map_err(|why| format!("router: {why}")),
        }
    }

    fn cluster(&self) -> Cluster {
        let told = |node: &Arc<Node>| {
            let peer = node.addresses().peer.clone();
            let (ready, cut_off) = (Some(node.ready()), Some(node.cut_off()));
            let told = ClusterNode {
                sessions: Some(node.sessions()),
                ready,
                cut_off,
                ..ClusterNode::at(&peer)
            };
            (node.id().clone(), told)
        };

        let table = self
            .nodes
            .iter()
            .map(|node| node.table())
            .max_by_key(|table| table.version);
        let statuses: Vec<_> = self.nodes.iter().flat_map(|node| node.statuses()).collect();
        Cluster::of(
            table.as_deref(),
            self.nodes.iter().map(told).collect(),
            &statuses,
        )
    }

    fn backup(&self, shard: ShardId, ask: ReplicaAsk) -> Backing {
        // Whichever: it asks the owner.
        operations::backup::ask_of(self.nodes.first().cloned(), shard, ask)
    }

    fn audit(&self, shard: ShardId, order: AuditOrder) -> Auditing {
        operations::audit::ask_of(self.nodes.first().cloned(), shard, order)
    }

    fn key(&self) -> Option<ClusterKey> {
        Some(self.key.clone())
    }

    fn digest(&self, shard: ShardId, of: Option<NodeId>) -> Digesting {
        let named = self
            .nodes
            .iter()
            .filter(|node| of.as_ref().is_none_or(|of| of == node.id()));
        let owners = |node: &&Arc<Node>| node.table().owner(shard) != Some(node.id());
        operations::digest_of(named.min_by_key(owners).cloned(), shard)
    }
}

/// Starts all nodes, side by side; done when they serve all shards.
///
/// # Errors
/// One clear line.
pub(super) async fn start(settings: &Settings, shared: &Shared) -> Result<Vec<Arc<Node>>, String> {
    let config = node::Config {
        session: settings.session(),
        shard: settings.shard(),
        requests_per_second: settings.rates.requests_per_second,
        request_burst: settings.rates.request_burst,
        replicas: None,
        balance: false,
        seeding: node::standby::Config::default(),
    };

    let beside = Beside::default();
    let mut expected = BTreeMap::new();
    let mut starting = JoinSet::new();
    for number in 1..=settings.dev.nodes {
        let name = format!("node-{number}");
        let listeners = Listeners::bind(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
        let addresses = listeners
            .addresses()
            .map_err(|error| format!("{name}: no listener: {error}"))?;
        let setup = Setup {
            id: NodeId::from(name.as_str()),
            identity: shared.identity,
            folder: settings.dev.data.join(&name),
            log: Arc::<EmbeddedLog>::clone(&shared.log),
            renewing: None,
            table: Arc::clone(&shared.table),
            claimed: Claimed::default(),
            verifier: shared.verifier.clone(),
            cluster_key: shared.cluster_key.clone(),
            clock: Clock::system(),
            watchdog: shared.watchdog.clone(),
            first_attempts_max: Some(FIRST_ATTEMPTS_MAX),
            beside: beside.clone(),
            config: config.clone(),
        };
        expected.insert(setup.id.clone(), addresses);
        starting.spawn(Node::start(setup, listeners));
    }

    // Nodes wait for the table; the table waits for the nodes to register. A node that cannot start
    // ends both.
    let placed = place(shared.table.as_ref(), shared.identity, &expected);
    let mut nodes = Vec::new();

    let started = async {
        while let Some(started) = starting.join_next().await {
            nodes.push(Arc::new(
                started.map_err(|error| format!("a node ended: {error}"))??,
            ));
        }
        Ok::<_, String>(())
    };
    tokio::try_join!(placed, started)?;
    nodes.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(nodes)
}

/// Waits until all nodes are registered, then writes the first table, or the next one with their
/// present addresses.
async fn place(
    store: &dyn TableStore,
    identity: Identity,
    expected: &BTreeMap<NodeId, NodeAddresses>,
) -> Result<(), String> {
    let registered = async {
        loop {
            let nodes = store.nodes().await.map_err(|e| e.to_string())?;
            if expected
                .iter()
                .all(|(id, addresses)| nodes.get(id) == Some(addresses))
            {
                return Ok::<_, String>(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    let seconds = REGISTER_WAIT_MAX.as_secs();
    let waited = tokio::time::timeout(REGISTER_WAIT_MAX, registered).await;
    waited.map_err(|_late| format!("not all nodes registered within {seconds} s"))??;
    let current = store.load().await.map_err(|e| e.to_string())?;
    let next = match &current {
        None => first_table(identity, expected, REPLICAS),
        Some(current) => next_table(current, expected)?,
    };

    let version = current.map_or(0, |table| table.version);
    match store.swap(version, next).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("another process writes the table of this data folder".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The same rows, with the nodes where they are now.
fn next_table(current: &Table, nodes: &BTreeMap<NodeId, NodeAddresses>) -> Result<Table, String> {
    let mut owners = current.rows.iter().flatten();
    if let Some(missing) = owners.find(|owner| !nodes.contains_key(owner)) {
        return Err(format!(
            "{missing} owns shards of this data folder; give --nodes at least the number it was \
             made with"
        ));
    }
    Ok(Table {
        version: current.version + 1,
        nodes: nodes.clone(),
        ..current.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::ids::ClusterId;

    fn nodes(numbers: std::ops::RangeInclusive<u16>, port: u16) -> BTreeMap<NodeId, NodeAddresses> {
        let one = |number| {
            let addresses = NodeAddresses {
                http: format!("h{number}:{port}"),
                peer: format!("p{number}:{port}"),
                ..NodeAddresses::default()
            };
            (NodeId::from(format!("node-{number}").as_str()), addresses)
        };
        numbers.map(one).collect()
    }

    #[test]
    fn a_restart_keeps_the_rows_and_moves_the_addresses_and_fewer_nodes_are_refused() {
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 2,
        };
        let rows = vec![vec![NodeId::from("node-1")], vec![NodeId::from("node-3")]];
        let current = Table {
            version: 4,
            identity,
            nodes: nodes(1..=3, 1),
            rows: rows.clone(),
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        };
        let more = next_table(&current, &nodes(1..=4, 2)).expect("enough nodes");

        assert_eq!(
            (more.version, &more.rows, &more.nodes),
            (5, &rows, &nodes(1..=4, 2))
        );

        let refused = next_table(&current, &nodes(1..=2, 2)).expect_err("node-3 is missing");
        assert!(
            refused.starts_with("node-3 owns shards") && !refused.contains('\n'),
            "{refused}"
        );
    }
}
