//! What is loaded: a `rookery dev` that is started for it, what `scripts/cluster` has running, or
//! any URL; and beside it a peer.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::client::dial::{Dialer, Endpoint};
use crate::client::http::Pool;
use crate::client::socket::Protocol;
use crate::client::tokens::{Source, Tokens};
use crate::target::peer::Peer;
use crate::target::started::Started;

pub(crate) mod cluster;
pub(crate) mod dev;
pub(crate) mod metrics;
pub(crate) mod peer;
pub(crate) mod redis;
pub(crate) mod started;

/// What to load, by flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// The rookery program that is started as `rookery dev` when neither --cluster nor --url is
    /// given [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Load what runs in this folder of `scripts/cluster`
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["binary", "url", "arguments"])]
    cluster: Option<PathBuf>,
    /// Load what answers here, http or https; several are taken in turn
    #[arg(long, value_name = "URL", value_delimiter = ',', conflicts_with_all = ["binary", "arguments"])]
    url: Vec<String>,
    /// With --url: a file with the secret of HS256 tokens
    #[arg(long, value_name = "FILE", requires = "url")]
    token_secret_file: Option<PathBuf>,
    /// With --url: a shell command that prints a token for {user}
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "url",
        conflicts_with = "token_secret_file"
    )]
    token_command: Option<String>,
    /// With --url: the operations ports of its processes, for CPU and memory
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "url"
    )]
    operations: Vec<String>,
    /// Addresses of this machine to connect from, in turn; each has some 28,000 ports
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    source_addresses: Vec<IpAddr>,
    /// A request without an answer after this long has failed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Further arguments for the `rookery dev` that is started
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// An operations port.
#[derive(Debug, Clone)]
pub(crate) struct Operations {
    /// What the process is called in reports.
    pub(crate) name: String,
    /// Where it answers.
    pub(crate) endpoint: Endpoint,
    /// Its number, when it runs on this machine.
    pub(crate) pid: Option<u32>,
}

/// What is loaded.
pub(crate) struct Target {
    /// `dev`, `cluster`, `url`, or the name of a peer.
    pub(crate) kind: &'static str,
    /// What its sockets speak.
    pub(crate) protocol: Protocol,
    /// The metrics that say how far SQLite is.
    pub(crate) metrics: Metrics,
    /// Connects to all of it.
    pub(crate) dialer: Arc<Dialer>,
    /// Where clients connect; at least one.
    pub(crate) clients: Vec<Endpoint>,
    /// Requests, one pool for each of `clients`.
    pools: Vec<Arc<Pool>>,
    /// Where its processes tell what they use.
    pub(crate) operations: Vec<Operations>,
    /// Servers of Redis, when it is known that they are this target's alone.
    pub(crate) redis: Vec<String>,
    /// Tokens for its users.
    pub(crate) tokens: Arc<Tokens>,
    /// Ended with this value.
    _started: Option<Started>,
}

/// Names of the metrics that say how far SQLite is; what of `/metrics` is Rookery's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    /// Records that it does not have yet.
    pub(crate) lag: &'static str,
    /// Records that it has.
    pub(crate) applied: &'static str,
}

const ROOKERY_METRICS: Metrics = Metrics {
    lag: "rookery_shard_lag_records",
    applied: "rookery_shard_applied_offset",
};
const PEER_METRICS: Metrics = Metrics {
    lag: "peer_lag_records",
    applied: "peer_applied_records",
};

/// What each kind of target tells of itself.
pub(crate) struct Found {
    pub(crate) clients: Vec<Endpoint>,
    pub(crate) operations: Vec<Operations>,
    pub(crate) redis: Vec<String>,
    pub(crate) tokens: Source,
}

impl Target {
    /// Starts or finds it.
    pub(crate) async fn new(options: &TargetOptions) -> Result<Self, String> {
        let (kind, found, started) = if let Some(folder) = &options.cluster {
            ("cluster", cluster::find(folder)?, None)
        } else if options.url.is_empty() {
            let (started, found) = dev::start(options.binary.clone(), &options.arguments).await?;
            ("dev", found, Some(started))
        } else {
            ("url", options.found()?, None)
        };
        Self::of(
            kind,
            (Protocol::Rookery, ROOKERY_METRICS),
            (found, started),
            options,
        )
    }

    /// Starts a peer; of the options those count that are about the client.
    pub(crate) async fn peer(peer: Peer, options: &TargetOptions) -> Result<Self, String> {
        let (started, found) = peer::start(peer).await?;
        let protocol = match peer {
            Peer::SocketIo => Protocol::SocketIo,
        };
        Self::of(
            peer.name(),
            (protocol, PEER_METRICS),
            (found, Some(started)),
            options,
        )
    }

    fn of(
        kind: &'static str,
        (protocol, metrics): (Protocol, Metrics),
        (found, started): (Found, Option<Started>),
        options: &TargetOptions,
    ) -> Result<Self, String> {
        let dialer = Arc::new(Dialer::new(options.source_addresses.clone())?);
        let pool = |endpoint: &Endpoint| {
            Arc::new(Pool::new(
                Arc::clone(&dialer),
                endpoint.clone(),
                options.timeout,
            ))
        };

        Ok(Self {
            kind,
            protocol,
            metrics,
            pools: found.clients.iter().map(pool).collect(),
            clients: found.clients,
            operations: found.operations,
            redis: found.redis,
            tokens: Arc::new(Tokens::new(found.tokens)?),
            dialer,
            _started: started,
        })
    }

    /// Where this user connects: users take the clients' addresses in turn.
    pub(crate) fn endpoint(&self, user: usize) -> Result<&Endpoint, String> {
        self.clients
            .get(user % self.clients.len().max(1))
            .ok_or_else(|| "no address for clients".to_owned())
    }

    /// The connections of this user.
    pub(crate) fn pool(&self, user: usize) -> Result<&Arc<Pool>, String> {
        self.pools
            .get(user % self.pools.len().max(1))
            .ok_or_else(|| "no address for clients".to_owned())
    }
}

impl TargetOptions {
    fn found(&self) -> Result<Found, String> {
        let tokens = match (&self.token_secret_file, &self.token_command) {
            (Some(file), _) => {
                let secret = std::fs::read_to_string(file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                Source::Secret(secret.trim().to_owned())
            }
            (None, Some(command)) => Source::Command(command.clone()),
            (None, None) => {
                return Err("--url needs --token-secret-file or --token-command".to_owned());
            }
        };
        let mut operations = Vec::new();

        for address in &self.operations {
            operations.push(Operations {
                name: address.clone(),
                endpoint: Endpoint::plain(address)?,
                pid: None,
            });
        }

        let clients = self
            .url
            .iter()
            .map(|url| Endpoint::parse(url))
            .collect::<Result<_, _>>()?;
        Ok(Found {
            clients,
            operations,
            redis: Vec::new(),
            tokens,
        })
    }
}
