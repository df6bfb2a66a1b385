//! A way to one node alone: a router within the test whose table gives it every shard, and that
//! waits for it however long it is silent. What the node would tell a router that had missed
//! everything, it tells this one.

#![allow(dead_code, reason = "compiled for every test target; one uses it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rookery::cluster::table::redis::RedisTable;
use rookery::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use rookery::ids::NodeId;
use rookery::link;
use rookery::link::proof::ClusterKey;
use rookery::log::Identity;
use rookery::log::redis::servers::Servers;
use rookery::log::redis::{CommitLevel, Config as RedisConfig};
use rookery::router::directory::Directory;
use rookery::router::links::{Links, Ways};
use rookery::router::{Config, Router};
use tokio_util::sync::CancellationToken;

use crate::support::cluster::Cluster;
use crate::support::within::served;

/// A table that never changes.
#[derive(Debug)]
struct Fixed(Table);

fn never<T>() -> Result<T, TableError> {
    Err(TableError::Refused("not asked by a router".to_owned()))
}

#[async_trait]
impl TableStore for Fixed {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        never()
    }

    async fn create(&self, _: Identity) -> Result<Identity, TableError> {
        never()
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        Ok(Some(self.0.clone()))
    }

    async fn swap(&self, _: u64, _: Table) -> Result<bool, TableError> {
        never()
    }

    async fn register(&self, _: &NodeId, _: &NodeAddresses) -> Result<(), TableError> {
        never()
    }

    async fn lead(&self, _: &NodeId, _: Duration) -> Result<bool, TableError> {
        never()
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        never()
    }
}

/// Where the node, and nobody else, is asked for everything; each request waits for it for so long.
pub(crate) async fn direct(
    cluster: &Cluster,
    urls: Vec<String>,
    node: &str,
    budget: Duration,
) -> SocketAddr {
    let redis = RedisConfig {
        urls,
        cluster: true,
        prefix: cluster.prefix.clone(),
        commit: CommitLevel::Log,
        replica_wait: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    let table = RedisTable::new(Servers::new(redis).unwrap())
        .load()
        .await
        .unwrap()
        .expect("a table");
    let node = NodeId::from(node);

    let only = Table {
        nodes: table
            .nodes
            .into_iter()
            .filter(|(id, _)| *id == node)
            .collect(),
        rows: table.rows.iter().map(|_| vec![node.clone()]).collect(),
        ..table
    };

    let stop = CancellationToken::new();
    let directory = Directory::follow(
        Arc::new(Fixed(only)),
        Duration::from_secs(3_600),
        stop.clone(),
    );

    let patient = link::Config {
        heartbeats_missed_max: u32::MAX,
        ..link::Config::front()
    };
    let ways = Ways::Sockets(ClusterKey::new(&cluster.cluster_key()).unwrap());
    let links = Links::new(ways, directory.clone(), patient, stop.clone());
    let router = Router::new(
        Config {
            budget,
            ..Config::default()
        },
        directory,
        links,
        None,
    );

    // Until the test ends.
    served(router, stop).await
}
