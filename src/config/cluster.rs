//! Settings of the separate processes, `rookery node` and `rookery router`, over Redis.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of fields are help texts for a terminal"
)]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::clients::{AuthSettings, FrontSettings, RateSettings};
use crate::config::run::RunSettings;
use crate::config::secrets::{REDIS, Secret, Secrets};
use crate::config::serving::{SessionSettings, ShardSettings};
use crate::config::values;
use crate::ids::NodeId;
use crate::log;
use crate::node;
use crate::router;

/// Renewals within one watch time: two may be late or lost.
const RENEWALS_MIN: u32 = 3;

/// Settings of `rookery node`.
#[derive(Debug, Clone, Args)]
pub struct NodeSettings {
    #[command(flatten)]
    pub node: NodePlace,
    #[command(flatten)]
    pub run: RunSettings,
    #[command(flatten)]
    pub cluster: ClusterSettings,
    #[command(flatten)]
    pub redis: RedisSettings,
    #[command(flatten)]
    pub commit: CommitSettings,
    #[command(flatten)]
    pub auth: AuthSettings,
    #[command(flatten)]
    pub rates: RateSettings,
    #[command(flatten)]
    pub session: SessionSettings,
    #[command(flatten)]
    pub shard: ShardSettings,
}

/// Settings of `rookery router`.
#[derive(Debug, Clone, Args)]
pub struct RouterSettings {
    #[command(flatten)]
    pub router: RouterPlace,
    #[command(flatten)]
    pub run: RunSettings,
    #[command(flatten)]
    pub redis: RedisSettings,
    #[command(flatten)]
    pub auth: AuthSettings,
    #[command(flatten)]
    pub front: FrontSettings,
    #[command(flatten)]
    pub sockets: SocketSettings,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct NodePlace {
    /// Name of this node, its own for ever; unset: the name of the host.
    #[arg(long, value_name = "NAME", value_parser = values::node_id)]
    pub node_id: Option<NodeId>,
    /// Address that routers and other nodes connect to, with the cluster key. Port 0 takes any free
    /// one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7081")]
    pub peer_listen: SocketAddr,
    /// Address of /metrics, /livez, /readyz and /cluster; keep it away from clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7082")]
    pub operations_listen: SocketAddr,
    /// Where routers and nodes reach --peer-listen; unset: that address, or the name of the host
    /// when it is 0.0.0.0.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = values::host)]
    pub advertise_peer: Option<String>,
    /// Zone that this node stands in: what fails together, a rack or a data centre. Replicas of a
    /// shard stand in different zones wherever there are several. Nodes without one are one zone.
    #[arg(long, value_name = "NAME", value_parser = values::zone)]
    pub zone: Option<String>,
    /// Folder of this node's files, on its own disk; only one process may use it.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
    /// Redis has lost this cluster: make it anew from the files of this node. What only Redis had
    /// is gone.
    #[arg(long, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    pub adopt_local: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct RouterPlace {
    /// Address that clients connect to; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// Address of /metrics, /livez, /readyz and /cluster; keep it away from clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9082")]
    pub operations_listen: SocketAddr,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct SocketSettings {
    /// WebSockets of this router; more get 503.
    #[arg(long, value_name = "COUNT", default_value = "20000")]
    pub sockets_max: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterSettings {
    /// Number of shards, a power of two; fixed when the cluster is created.
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = values::shards)]
    pub shards: u32,
    /// Nodes that must have registered before shards are given to nodes for the first time.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub expect_nodes: u16,
    /// Nodes that hold each shard: its owner, and standbys that take over when it is gone. All
    /// nodes must have the same.
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=5))]
    pub replicas: u16,
    /// Whether shards are evened out among the nodes while they run: on, or off. All nodes should
    /// have the same.
    #[arg(long, value_name = "ON", default_value = "on", value_parser = values::on_or_off, action = clap::ArgAction::Set)]
    pub balance: bool,
    /// Watch time T: an owner silent for so long may be taken for dead. All nodes must have the
    /// same.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::duration)]
    pub takeover_watch: Duration,
    /// How often an owner shows that it lives; well below the watch time.
    #[arg(long, value_name = "DURATION", default_value = "750ms", value_parser = values::duration)]
    pub renew_every: Duration,
    /// Bytes a second at which a standby without a file of use reads one from the owner, for all
    /// its shards together.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = values::rate)]
    pub snapshot_rate: NonZeroU32,
    /// How often each standby is compared with the owner of its shard, which reads both files; 0:
    /// never.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = values::duration_or_never)]
    pub verify_every: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port` of the server, or of some of a cluster, comma-separated.
    /// With a password rather by ROOKERY_REDIS_FILE, a file that holds it.
    #[arg(long, value_name = "URLS", value_parser = |text: &str| Ok::<_, String>(Secret::new(text)))]
    pub redis: Option<Secret>,
    /// The servers are a Redis Cluster.
    #[arg(long, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    pub redis_cluster: bool,
    /// First part of every key; two clusters over one Redis need two.
    #[arg(long, value_name = "TEXT", default_value = "rk", value_parser = values::prefix)]
    pub redis_prefix: String,
    /// A call to Redis without an answer after this long has failed.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::duration)]
    pub redis_timeout: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct CommitSettings {
    /// When a write counts: once Redis has it, or a replica too; unset: replicated with
    /// --redis-cluster, else log.
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub commit_level: Option<CommitLevel>,
    /// How long one WAIT waits for a replica.
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = values::duration)]
    pub replica_wait: Duration,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CommitLevel {
    /// Redis has it.
    Log,
    /// A replica has it too.
    Replicated,
}

impl NodeSettings {
    /// How Redis is reached and used.
    ///
    /// # Errors
    /// One clear line: no URL.
    pub fn redis(&self, secrets: &Secrets) -> Result<log::redis::Config, String> {
        let level = self.commit.commit_level;
        let replicated = level.map_or(self.redis.redis_cluster, |level| {
            level == CommitLevel::Replicated
        });
        let config = self.redis.config(secrets)?;
        let commit = if replicated {
            log::redis::CommitLevel::Replicated
        } else {
            log::redis::CommitLevel::Log
        };
        Ok(log::redis::Config {
            commit,
            replica_wait: self.commit.replica_wait,
            ..config
        })
    }

    /// Returns the configuration of the node.
    ///
    /// # Errors
    /// One clear line: an owner that shows too seldom that it lives.
    pub fn node(&self) -> Result<node::Config, String> {
        let ClusterSettings {
            takeover_watch,
            renew_every,
            ..
        } = self.cluster;

        if renew_every.saturating_mul(RENEWALS_MIN) > takeover_watch {
            return Err(format!(
                "--renew-every {renew_every:?} is too long for --takeover-watch {takeover_watch:?}: at most a \
                 {RENEWALS_MIN}rd of it"
            ));
        }

        let shard = crate::shard::Config {
            takeover_watch: Some(takeover_watch),
            renew_every,
            adopt_local: self.node.adopt_local,
            ..self.shard.config()
        };

        Ok(node::Config {
            session: self.session.config(),
            shard,
            requests_per_second: self.rates.requests_per_second,
            request_burst: self.rates.request_burst,
            replicas: Some(self.cluster.replicas.into()),
            balance: self.cluster.balance,
            seeding: node::standby::Config {
                snapshot_rate: self.cluster.snapshot_rate,
                verify_every: Some(self.cluster.verify_every).filter(|every| !every.is_zero()),
            },
        })
    }
}

impl RouterSettings {
    /// How Redis is reached. A router appends nothing: the commit level is of no concern to it.
    ///
    /// # Errors
    /// One clear line: no URL.
    pub fn redis(&self, secrets: &Secrets) -> Result<log::redis::Config, String> {
        self.redis.config(secrets)
    }

    /// Returns the configuration of the router.
    ///
    /// # Errors
    /// One clear line: an origin that is none.
    pub fn router(&self) -> Result<router::Config, String> {
        self.front
            .config(&self.run, &self.auth, self.sockets.sockets_max)
    }
}

impl RedisSettings {
    fn config(&self, secrets: &Secrets) -> Result<log::redis::Config, String> {
        let urls = self.redis.as_ref().or(secrets.redis.as_ref());
        let urls = urls.ok_or_else(|| {
            format!("no Redis: give --redis redis://host:port, or set {REDIS} or {REDIS}_FILE")
        })?;

        let urls = urls
            .expose()
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty());
        Ok(log::redis::Config {
            urls: urls.map(str::to_owned).collect(),
            cluster: self.redis_cluster,
            prefix: self.redis_prefix.clone(),
            commit: log::redis::CommitLevel::Log,
            replica_wait: self.redis_timeout,
            timeout: self.redis_timeout,
        })
    }
}
