//! What is loaded: a `rookery dev` that is started for it, what `scripts/cluster` has running, or any URL.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::client::dial::{Dialer, Endpoint};
use crate::client::http::Pool;
use crate::client::tokens::{Source, Tokens};
use crate::target::dev::Dev;

pub(crate) mod cluster;
pub(crate) mod dev;
pub(crate) mod metrics;
pub(crate) mod redis;

/// What to load, by flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// The rookery program that is started as `rookery dev` when neither --cluster nor --url is given [default: the one
    /// beside this program]
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
    #[arg(long, value_name = "COMMAND", requires = "url", conflicts_with = "token_secret_file")]
    token_command: Option<String>,
    /// With --url: the operations ports of its processes, for CPU and memory
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "url")]
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
    /// `dev`, `cluster` or `url`.
    pub(crate) kind: &'static str,
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
    _dev: Option<Dev>,
}

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
        let dialer = Arc::new(Dialer::new(options.source_addresses.clone())?);
        let (kind, found, dev) = if let Some(folder) = &options.cluster {
            ("cluster", cluster::find(folder)?, None)
        } else if options.url.is_empty() {
            let (dev, found) = Dev::start(options.binary.clone(), &options.arguments).await?;
            ("dev", found, Some(dev))
        } else {
            ("url", options.found()?, None)
        };
        let pool = |endpoint: &Endpoint| Arc::new(Pool::new(Arc::clone(&dialer), endpoint.clone(), options.timeout));
        Ok(Self {
            kind,
            pools: found.clients.iter().map(pool).collect(),
            clients: found.clients,
            operations: found.operations,
            redis: found.redis,
            tokens: Arc::new(Tokens::new(found.tokens)?),
            dialer,
            _dev: dev,
        })
    }

    /// Where this user connects: users take the clients' addresses in turn.
    pub(crate) fn endpoint(&self, user: usize) -> Result<&Endpoint, String> {
        self.clients.get(user % self.clients.len().max(1)).ok_or_else(|| "no address for clients".to_owned())
    }

    /// The connections of this user.
    pub(crate) fn pool(&self, user: usize) -> Result<&Arc<Pool>, String> {
        self.pools.get(user % self.pools.len().max(1)).ok_or_else(|| "no address for clients".to_owned())
    }
}

impl TargetOptions {
    fn found(&self) -> Result<Found, String> {
        let tokens = match (&self.token_secret_file, &self.token_command) {
            (Some(file), _) => {
                let secret = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                Source::Secret(secret.trim().to_owned())
            }
            (None, Some(command)) => Source::Command(command.clone()),
            (None, None) => return Err("--url needs --token-secret-file or --token-command".to_owned()),
        };
        let mut operations = Vec::new();
        for address in &self.operations {
            operations.push(Operations { name: address.clone(), endpoint: Endpoint::plain(address)?, pid: None });
        }
        let clients = self.url.iter().map(|url| Endpoint::parse(url)).collect::<Result<_, _>>()?;
        Ok(Found { clients, operations, redis: Vec::new(), tokens })
    }
}
