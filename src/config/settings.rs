//! The settings themselves: each field is a flag, its comment the help, and the module's own Config is made from them.
#![expect(clippy::doc_markdown, reason = "the comments of fields are help texts for a terminal")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::auth;
use crate::config::secrets::Secret;
use crate::ids::UserId;
use crate::node::session;
use crate::router;
use crate::router::cors::Origins;
use crate::shard;
use crate::shard::map::ShardMap;
use crate::shard::{store, worker};
use crate::telemetry::LogFormat;

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
    /// Origins that browsers may call from, comma-separated; unset: any localhost origin, *: every origin.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', action = ArgAction::Set)]
    pub cors_origins: Vec<String>,
    /// Connections of clients that are no WebSocket; more wait to be accepted.
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
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = duration)]
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

    /// Of the router.
    ///
    /// # Errors
    /// One clear line: an origin that is none.
    pub fn router(&self) -> Result<router::Config, String> {
        let of = &self.client;
        let origins = match of.cors_origins.as_slice() {
            [] => Origins::Localhost,
            listed => Origins::parse(&listed.join(",")).map_err(|why| format!("--cors-origins: {why}"))?,
        };
        Ok(router::Config {
            connections_max: of.connections_max,
            sockets_max: self.session.sessions_max.saturating_mul(usize::from(self.process.nodes)),
            budget: of.request_budget,
            hold_bytes_max: usize::try_from(of.hold_bytes).unwrap_or(usize::MAX),
            drain_window: self.process.drain_window,
            origins,
            ..router::Config::default()
        })
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
            // One process owns the embedded log.
            takeover_watch: None,
            renew_every: Duration::from_millis(750),
        }
    }
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
