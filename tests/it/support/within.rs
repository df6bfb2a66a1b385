//! A cluster within the process of a test: nodes and a router over the embedded log, in a folder
//! that goes with it.
#![allow(
    dead_code,
    reason = "compiled for every test target; each uses its part of it"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use rookery::auth::{self, Verifier};
use rookery::clock::Clock;
use rookery::cluster::assignment::first_table;
use rookery::cluster::claimed::Claimed;
use rookery::cluster::table::embedded::EmbeddedTable;
use rookery::cluster::table::{NodeAddresses, Table, TableStore};
use rookery::config::settings::Settings;
use rookery::ids::{ClusterId, NodeId};
use rookery::link;
use rookery::link::proof::ClusterKey;
use rookery::log::Identity;
use rookery::log::embedded::EmbeddedLog;
use rookery::node::{self, Listeners, Setup};
use rookery::router::Router;
use rookery::router::directory::Directory;
use rookery::router::links::{Links, Ways};
use rookery::watchdog::Watchdog;

/// Shards of such a cluster; as many as `rookery dev` has.
pub(crate) const SHARDS: u32 = 16;

/// What nodes and routers of such a cluster prove to each other.
const KEY: [u8; 32] = [7; 32];

/// Its log and its table, and what all of its parts are told.
pub(crate) struct Within {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) table: Arc<EmbeddedTable>,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    identity: Identity,
    settings: Settings,
    verifier: Verifier,
    folder: tempfile::TempDir,
}

impl Within {
    /// Makes the log and an empty table. `flags` are those of `rookery dev`, and tokens are signed
    /// with `secret`.
    pub(crate) async fn new(flags: &[&str], secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log")).await.unwrap();
        let table = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: SHARDS,
        };
        let identity = table.create(identity).await.unwrap();

        let command = Settings::augment_args(clap::Command::new("rookery"));
        let matches = command.get_matches_from([&["rookery"], flags].concat());
        let auth = auth::Config {
            hs256_secret: Some(secret.to_owned()),
            jwks: None,
            issuer: None,
            audience: None,
            user_claim: auth::UserClaim::default(),
            cache_max: 100,
        };
        Self {
            log,
            table,
            stop: CancellationToken::new(),
            identity,
            settings: Settings::from_arg_matches(&matches).unwrap(),
            verifier: Verifier::new(auth, Clock::system()).unwrap(),
            folder,
        }
    }

    /// Writes the first table, in which these nodes own everything.
    pub(crate) async fn begin(&self, nodes: &BTreeMap<NodeId, NodeAddresses>) -> Table {
        let first = first_table(self.identity, nodes, 1);
        assert!(self.table.swap(0, first.clone()).await.unwrap());
        first
    }

    /// What a node is started with that sees the table so.
    pub(crate) fn node(&self, id: NodeId, table: Arc<dyn TableStore>) -> Setup {
        Setup {
            folder: self.folder.path().join(&*id.0),
            id,
            identity: self.identity,
            log: Arc::<EmbeddedLog>::clone(&self.log),
            renewing: None,
            table,
            claimed: Claimed::default(),
            verifier: self.verifier.clone(),
            cluster_key: ClusterKey::new(&KEY).unwrap(),
            clock: Clock::system(),
            watchdog: Watchdog::spawn(self.stop.clone()),
            first_attempts_max: Some(3),
            beside: node::Beside::default(),
            config: node::Config {
                balance: false,
                session: self.settings.session(),
                shard: self.settings.shard(),
                requests_per_second: 1_000_000,
                request_burst: 1_000_000,
                replicas: None,
                seeding: node::standby::Config::default(),
            },
        }
    }

    /// Starts a router, which looks at the table so often. Returns where it takes clients.
    pub(crate) async fn route(&self, every: Duration) -> SocketAddr {
        let table = Arc::<EmbeddedTable>::clone(&self.table);
        let directory = Directory::follow(table, every, self.stop.clone());
        // As between processes: what goes over a link is encoded and decoded.
        let ways = Ways::Sockets(ClusterKey::new(&KEY).unwrap());
        let (config, stop) = (link::Config::front(), self.stop.clone());
        let links = Links::new(ways, directory.clone(), config, stop.clone());
        let verifier = Some(self.verifier.clone());
        let router = Router::new(self.settings.router().unwrap(), directory, links, verifier);
        served(router, stop).await
    }
}

/// Ports of a node.
pub(crate) async fn bound() -> Listeners {
    Listeners::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .await
        .unwrap()
}

/// Waits until a router is ready, and has it serve until it is stopped. Returns where.
pub(crate) async fn served(router: Router, stop: CancellationToken) -> SocketAddr {
    while router.readiness().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { router.serve(listener, stop).await });
    address
}
