//! Settings of `rookery dev` as a whole, and of `rookery token`. Here as in the files of the other
//! settings each field is a flag, its comment the help, and the Config of each module is made from
//! them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::clients::{AuthSettings, FrontSettings, RateSettings};
use crate::config::run::RunSettings;
use crate::config::serving::{SessionSettings, ShardSettings};
use crate::config::values;
use crate::ids::UserId;
use crate::node::session;
use crate::router;
use crate::shard;

/// Settings of `rookery token`.
#[derive(Debug, Clone, Args)]
pub struct TokenSettings {
    /// The user: becomes the `sub` of the token.
    #[arg(value_parser = |text: &str| UserId::parse(text))]
    pub user: UserId,
    /// How long the token is good.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::duration)]
    pub ttl: Duration,
    /// The data folder of `dev`, whose secret is used unless `ROOKERY_JWT_SECRET` is set.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}

/// Settings of `rookery dev`. Holds no secret.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub dev: DevSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub run: RunSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub auth: AuthSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub front: FrontSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub rates: RateSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub session: SessionSettings,
    #[expect(
        missing_docs,
        reason = "flattened; clap would take a comment for the help of the command"
    )]
    #[command(flatten)]
    pub shard: ShardSettings,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct DevSettings {
    /// Address that clients connect to; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// Address of /metrics, /livez, /readyz and /cluster; keep it away from clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9082")]
    pub operations_listen: SocketAddr,
    /// Folder of everything that is kept; only one process may use it.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
    /// Nodes in this process; may grow, but not fall below the number that the data folder was made
    /// with.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Number of shards, a power of two; fixed when the data folder is made.
    #[arg(long, value_name = "COUNT", default_value = "16", value_parser = values::shards)]
    pub shards: u32,
}

impl Settings {
    /// Returns the configuration of the sessions of a node.
    #[must_use]
    pub fn session(&self) -> session::Config {
        self.session.config()
    }

    /// Returns the configuration of the shards of a node.
    #[must_use]
    pub fn shard(&self) -> shard::Config {
        self.shard.config()
    }

    /// Returns the configuration of the router.
    ///
    /// # Errors
    /// One clear line: an origin that is none.
    pub fn router(&self) -> Result<router::Config, String> {
        let sockets_max = self
            .session
            .sessions_max
            .saturating_mul(usize::from(self.dev.nodes));
        self.front.config(&self.run, &self.auth, sockets_max)
    }
}
