//! The cluster under test: three nodes and a router, and a proxy before each node.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use rookery::cluster::map::ShardMap;
use rookery::cluster::table::Table;
use rookery::ids::{ConversationName, NodeId, ShardId};
use rookery::node::Node;

use crate::client::SECRET;
use crate::proxy::{Proxy, ThroughProxies};
use crate::within::{SHARDS, Within, bound};

pub(crate) struct Cluster {
    /// Where its router takes clients.
    pub(crate) client: SocketAddr,
    pub(crate) proxies: Vec<Arc<Proxy>>,
    nodes: Vec<Node>,
    table: Table,
    within: Within,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let within = Within::new(&[], SECRET).await;
        let (mut listeners, mut proxies) = (BTreeMap::new(), Vec::new());
        let (mut addresses, mut peers) = (BTreeMap::new(), HashMap::new());
        for number in 1..=3 {
            let id = NodeId::from(format!("node-{number}").as_str());
            let ports = bound().await;
            let at = ports.addresses().unwrap();
            let proxy = Proxy::before(at.peer.clone()).await;
            peers.insert(id.clone(), proxy.address.to_string());
            proxies.push(proxy);
            addresses.insert(id.clone(), at);
            listeners.insert(id, ports);
        }

        let table = within.begin(&addresses).await;
        let starting = listeners.into_iter().map(|(id, ports)| {
            let seen = ThroughProxies::of(&within.table, &id, &peers);
            Node::start(within.node(id, Arc::new(seen)), ports)
        });
        let nodes = join_all(starting)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        Self {
            client: within.route(Duration::from_millis(50)).await,
            proxies,
            nodes,
            table,
            within,
        }
    }

    fn owner(&self, shard: ShardId) -> NodeId {
        self.table.owner(shard).unwrap().clone()
    }

    /// Users and conversations, `per_node` of each on each node.
    pub(crate) fn names(&self, kind: &str, per_node: usize) -> Vec<(String, NodeId)> {
        let map = ShardMap::new(SHARDS).unwrap();
        let mut found: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
        for i in 0..1_000 {
            let name = format!("{kind}-{i}");
            let slot = ConversationName::parse(&name).unwrap().slot();
            let of_node = found.entry(self.owner(map.shard_of(slot))).or_default();
            if of_node.len() < per_node {
                of_node.push(name);
            }
        }
        assert_eq!(found.len(), 3);
        found
            .into_iter()
            .flat_map(|(node, names)| names.into_iter().map(move |name| (name, node.clone())))
            .collect()
    }

    pub(crate) async fn stop(self) {
        self.within.stop.cancel();
        let until = Instant::now() + Duration::from_secs(5);
        join_all(self.nodes.iter().map(|node| node.close(until))).await;
        self.within.log.close().await;
    }
}
