//! Gathers every setting: flags, `ROOKERY_*` environment, a `.env` file in the working folder, defaults, in that order of
//! precedence. Nothing else reads the environment.
//!
//! Each flag `--some-thing` is also the variable `ROOKERY_SOME_THING`. Secrets have no flag, so that they never show in a
//! list of processes: they come from the environment or from a file, and no type here shows them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::auth;
use crate::ids::UserId;
use crate::node::session;
use crate::shard;
use crate::shard::map::ShardMap;
use crate::shard::{store, worker};
use crate::telemetry::LogFormat;

/// Variable of the shared secret of HS256 tokens.
pub const JWT_SECRET: &str = "ROOKERY_JWT_SECRET";

/// Variable of the key by which nodes trust each other's links.
pub const CLUSTER_KEY: &str = "ROOKERY_CLUSTER_KEY";

const PREFIX: &str = "ROOKERY_";

const SECRETS_HELP: &str = "\
Secrets have no flag. They come from the environment or from a file:
  ROOKERY_JWT_SECRET        shared secret of HS256 tokens, at least 32 bytes
  ROOKERY_JWT_SECRET_FILE   a file with that secret
  ROOKERY_CLUSTER_KEY       key by which nodes trust each other's links, at least 32 bytes
  ROOKERY_CLUSTER_KEY_FILE  a file with that key
Without them a random one is made in the data folder at the first start.

Every flag can also be given as ROOKERY_<FLAG> in the environment or in a file .env in the
working folder. A flag wins over the environment, which wins over .env.";

/// What was asked for, with all its settings.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Run the one-process cluster.
    Dev(Box<Settings>, Secrets),
    /// Make a token.
    Token(TokenSettings, Secrets),
}

/// Why there is no invocation.
#[derive(Debug)]
pub enum Refused {
    /// Flags that cannot be read, or `--help` and `--version`: to be printed as clap does.
    Flags(clap::Error),
    /// One clear line.
    Line(String),
}

impl Invocation {
    /// Gathers from the command line, the environment of the process and `.env` in the working folder.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn gather() -> Result<Self, Refused> {
        Self::from_parts(std::env::args_os(), &Environment::of_process()?)
    }

    /// Gathers from given parts.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn from_parts(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<Self, Refused> {
        let command = with_variables(Cli::command().args_override_self(true));
        let args = with_environment(args.into_iter().collect(), &command, environment);
        let matches = command.try_get_matches_from(args).map_err(Refused::Flags)?;
        let cli = Cli::from_arg_matches(&matches).map_err(Refused::Flags)?;
        let secrets = Secrets::gather(environment)?;
        match cli.subcommand {
            None => Ok(Self::Dev(Box::new(cli.settings), secrets)),
            Some(Sub::Dev(settings)) => Ok(Self::Dev(settings, secrets)),
            Some(Sub::Token(settings)) => Ok(Self::Token(settings, secrets)),
        }
    }
}

/// Self-hosted real-time messaging backend. Without a subcommand: `dev`.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, args_conflicts_with_subcommands = true, after_help = SECRETS_HELP)]
struct Cli {
    #[command(subcommand)]
    subcommand: Option<Sub>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run router and nodes in one process, with nothing beside it.
    #[command(after_help = SECRETS_HELP)]
    Dev(Box<Settings>),
    /// Print a token for a user, signed with the shared secret.
    #[command(after_help = SECRETS_HELP)]
    Token(TokenSettings),
}

/// Settings of `rookery token`.
#[derive(Debug, Clone, Args)]
pub struct TokenSettings {
    /// The user: becomes the `sub` of the token.
    #[arg(value_parser = |text: &str| UserId::parse(text))]
    pub user: UserId,
    /// How long the token is good.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub ttl: Duration,
    /// The data folder of `dev`, whose secret is used unless `ROOKERY_JWT_SECRET` is set.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}

/// Settings of `rookery dev`. Holds no secret.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[expect(missing_docs, reason = "flattened; clap would take a comment for the help of the command")]
    #[command(flatten)]
    pub process: ProcessSettings,
    #[expect(missing_docs, reason = "flattened; clap would take a comment for the help of the command")]
    #[command(flatten)]
    pub client: ClientSettings,
    #[expect(missing_docs, reason = "flattened; clap would take a comment for the help of the command")]
    #[command(flatten)]
    pub session: SessionSettings,
    #[expect(missing_docs, reason = "flattened; clap would take a comment for the help of the command")]
    #[command(flatten)]
    pub shard: ShardSettings,
}

#[expect(missing_docs, reason = "the comments of the fields are the help of the flags; one here would replace them")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessSettings {
    /// Address that clients connect to; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// Address of /metrics, /livez, /readyz and /cluster; keep it away from clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9082")]
    pub operations_listen: SocketAddr,
    /// Folder of everything that is kept; only one process may use it.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
    /// Nodes in this process; may grow, but not fall below the number that the data folder was made with.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Number of shards, a power of two; fixed when the data folder is made.
    #[arg(long, value_name = "COUNT", default_value = "16", value_parser = shards)]
    pub shards: u32,
    /// File to write {"client", "operations", "pid"} to, as JSON, when serving.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// When stopping, time over which sessions are told to connect again; at most 6s.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = drain_window)]
    pub drain_window: Duration,
    /// Look of log lines on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Least level of log lines, or a list of filters such as info,rookery::shard=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

#[expect(missing_docs, reason = "the comments of the fields are the help of the flags; one here would replace them")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientSettings {
    /// JWKS file with the public keys of RS256, ES256 and EdDSA tokens; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Required `iss` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// Required `aud` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// Verified tokens that each node remembers.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub token_cache: usize,
    /// Origins that browsers may call from, comma-separated; unset: any localhost origin.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', action = ArgAction::Set)]
    pub cors_origins: Vec<String>,
    /// Sockets of clients at once; more wait to be accepted.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub connections_max: usize,
    /// Requests per second of one user at one node, sustained; more get 429.
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_second: u32,
    /// Requests that one user may send at once on top of that.
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..))]
    pub request_burst: u32,
    /// Bytes of requests that the router holds while a shard moves; more get 503.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub hold_bytes: u64,
    /// Time for one request, however many waits it meets.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub request_budget: Duration,
}

#[expect(missing_docs, reason = "the comments of the fields are the help of the flags; one here would replace them")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionSettings {
    /// Bytes queued for one session; beyond it the session is closed with 4420.
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = size)]
    pub outbox: u64,
    /// A session is pinged at least this often; two unanswered pings end it.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration)]
    pub heartbeat: Duration,
    /// A socket that takes nothing for this long is closed with 4420.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub write_timeout: Duration,
    /// Sessions of one user; more are closed with 4429.
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub sessions_per_user_max: usize,
    /// Sessions of one node; more are closed with 1013.
    #[arg(long, value_name = "COUNT", default_value = "20000")]
    pub sessions_max: usize,
    /// Frames per second that a session may send, sustained; four times that at once, more closes it with 4429.
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames_per_second_max: u32,
    /// How often delivered marks are gathered.
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = duration)]
    pub delivered_every: Duration,
    /// Longest wait for the resume frame of a socket opened with ?resume=wait.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub resume_wait: Duration,
}

#[expect(missing_docs, reason = "the comments of the fields are the help of the flags; one here would replace them")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shards")]
pub struct ShardSettings {
    /// Commands waiting for one shard; more get 503.
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    pub shard_queue: usize,
    /// Heads of conversations kept in memory per shard.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub heads: usize,
    /// Bytes of untrimmed log per shard; beyond it sends get 503.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size)]
    pub stream_cap: u64,
    /// How long a read waits for the worker before it gets 503.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub read_barrier: Duration,
    /// How far behind the log a worker stays on purpose, to apply several entries at once.
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = duration)]
    pub apply_tick: Duration,
    /// Most records of one apply transaction.
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub apply_records: usize,
    /// Most time spent gathering one apply transaction.
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = duration)]
    pub apply_gather: Duration,
    /// Readers of one shard's SQLite file at once, each a thread.
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    pub readers: u32,
    /// A checkpoint after this many pages of WAL …
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    pub checkpoint_pages: u32,
    /// … or after this long, whichever is first.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub checkpoint_every: Duration,
    /// Durable entries stay in the log, and raw entries in SQLite, at least this long …
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub trim_floor: Duration,
    /// … but, per shard, not more than this many bytes of them.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    pub trim_floor_bytes: u64,
}

impl Settings {
    /// Which tokens are good, given the secret.
    #[must_use]
    pub fn auth(&self, secret: &Secret) -> auth::Config {
        auth::Config {
            hs256_secret: Some(secret.expose().to_owned()),
            jwks: self.client.jwks.clone(),
            issuer: self.client.jwt_issuer.clone(),
            audience: self.client.jwt_audience.clone(),
            cache_max: self.client.token_cache,
        }
    }

    /// Of the sessions of a node.
    #[must_use]
    pub fn session(&self) -> session::Config {
        let of = &self.session;
        session::Config {
            outbox_bytes_max: usize::try_from(of.outbox).unwrap_or(usize::MAX),
            heartbeat: of.heartbeat,
            write_timeout: of.write_timeout,
            sessions_per_user_max: of.sessions_per_user_max,
            sessions_max: of.sessions_max,
            frames_per_second_max: of.frames_per_second_max,
            delivered_every: of.delivered_every,
            resume_wait_max: of.resume_wait,
        }
    }

    /// Of the shards of a node.
    #[must_use]
    pub fn shard(&self) -> shard::Config {
        let of = &self.shard;
        shard::Config {
            store: store::Config {
                readers_max: of.readers,
                checkpoint_pages: of.checkpoint_pages,
                checkpoint_every: of.checkpoint_every,
                raw_floor: of.trim_floor,
                raw_bytes_max: of.trim_floor_bytes,
            },
            worker: worker::Config {
                tick: of.apply_tick,
                records_max: of.apply_records,
                gather_max: of.apply_gather,
                trim_floor: of.trim_floor,
                trim_floor_bytes: of.trim_floor_bytes,
            },
            queue_max: of.shard_queue,
            heads_max: of.heads,
            stream_bytes_max: of.stream_cap,
            barrier_max: of.read_barrier,
        }
    }
}

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret; the space around it (a file's last line end) is dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself, for the place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The secrets that were given.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Shared secret of HS256 tokens.
    pub jwt: Option<Secret>,
    /// Key of the links between nodes.
    pub cluster_key: Option<Secret>,
}

impl Secrets {
    fn gather(environment: &Environment) -> Result<Self, Refused> {
        Ok(Self { jwt: environment.secret(JWT_SECRET)?, cluster_key: environment.secret(CLUSTER_KEY)? })
    }
}

/// The variables that matter: those of the process and, below them, those of `.env`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Of given variables; an empty one counts as unset. The first of two equal names wins.
    pub fn new(variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        let mut kept = BTreeMap::new();
        for (name, value) in variables {
            if name.starts_with(PREFIX) && !value.is_empty() {
                kept.entry(name).or_insert(value);
            }
        }
        Self(kept)
    }

    fn of_process() -> Result<Self, Refused> {
        let process = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let file = dot_env(Path::new(".env"))?;
        Ok(Self::new(process.chain(file)))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, Refused> {
        let file_name = format!("{name}_FILE");
        let text = match (self.0.get(name), self.0.get(&file_name)) {
            (Some(_), Some(_)) => return Err(Refused::Line(format!("set {name} or {file_name}, not both"))),
            (None, None) => return Ok(None),
            (Some(text), None) => {
                text.to_str().ok_or_else(|| Refused::Line(format!("{name} is not valid UTF-8")))?.to_owned()
            }
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Refused::Line(format!("{file_name}: {}: {error}", path.display())))?,
        };
        Ok(Some(Secret::new(&text)))
    }
}

/// Reads a `.env` file; none is no error. Lines are told by number only: they may hold a secret.
fn dot_env(path: &Path) -> Result<Vec<(String, OsString)>, Refused> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(dotenvy::Error::Io(error)) => return Err(Refused::Line(format!("{}: {error}", path.display()))),
        Err(_) => return Err(Refused::Line(format!("{} cannot be read", path.display()))),
    };
    let mut variables = Vec::new();
    for line in lines {
        let after = variables.last().map_or_else(|| "at its start".to_owned(), |(name, _)| format!("after {name}"));
        let (name, value) =
            line.map_err(|_hidden| Refused::Line(format!("{}: a line {after} is no NAME=value", path.display())))?;
        variables.push((name, OsString::from(value)));
    }
    Ok(variables)
}

/// The variable of a flag.
fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// Puts the variables' names and the defaults into the help.
fn with_variables(command: clap::Command) -> clap::Command {
    let told = command.mut_args(|arg| {
        let Some(flag) = arg.get_long().filter(|flag| !matches!(*flag, "help" | "version")) else { return arg };
        let name = variable(flag);
        let default = match arg.get_default_values() {
            [] => "none".into(),
            [first, ..] => first.to_string_lossy(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{help} [default: {default}] [env: {name}]");
        arg.help(help).hide_default_value(true)
    });
    told.mut_subcommands(|sub| with_variables(sub.args_override_self(true)))
}

/// Puts what the environment says before the flags of the command line, which override it.
fn with_environment(args: Vec<OsString>, command: &clap::Command, environment: &Environment) -> Vec<OsString> {
    let asks_only = |arg: &OsString| ["--help", "-h", "--version", "-V", "help"].iter().any(|word| arg == word);
    if args.iter().any(asks_only) {
        return args;
    }
    let sub = args.get(1).and_then(|word| command.find_subcommand(word));
    let place = if sub.is_some() { 2 } else { 1 }.min(args.len());
    let flags = sub.unwrap_or(command).get_arguments().filter_map(clap::Arg::get_long);
    let given = flags.filter_map(|flag| {
        let mut arg = OsString::from(format!("--{flag}="));
        arg.push(environment.0.get(&variable(flag))?);
        Some(arg)
    });
    let given: Vec<_> = given.collect();
    let mut args = args;
    args.splice(place..place, given);
    args
}

fn shards(text: &str) -> Result<u32, String> {
    let count: u32 = text.parse().map_err(|error| format!("{error}"))?;
    ShardMap::new(count).map(ShardMap::shards).ok_or_else(|| "not a power of two from 1 to 65536".to_owned())
}

fn drain_window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    if window <= Duration::from_secs(6) { Ok(window) } else { Err("more than 6s: a stop takes at most 10s".to_owned()) }
}

fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_no_number| "does not start with a whole number".to_owned())?;
    Ok((number, unit))
}

/// A whole number with `ms`, `s`, `m`, `h` or `d`; never zero.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let ms_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("needs a unit: ms, s, m, h or d".to_owned()),
    };
    match number.checked_mul(ms_each) {
        Some(ms @ 1..=315_360_000_000) => Ok(Duration::from_millis(ms)),
        _ => Err("must be more than nothing and at most ten years".to_owned()),
    }
}

/// A whole number with `KiB`, `MiB` or `GiB`, or of bytes; never zero.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let bytes_each: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("needs a unit: KiB, MiB, GiB or none for bytes".to_owned()),
    };
    match number.checked_mul(bytes_each) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => Err("must be more than nothing and fit in 64 bits".to_owned()),
    }
}
