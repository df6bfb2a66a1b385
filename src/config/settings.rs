//! The settings themselves: each field is a flag, its comment the help, and the module's own Config
//! is made from them.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of fields are help texts for a terminal"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::auth;
use crate::auth::UserClaim;
use crate::config::secrets::Secret;
use crate::config::values;
use crate::ids::UserId;
use crate::node::session;
use crate::router;
use crate::router::cors::Origins;
use crate::shard;
use crate::shard::file::{store, worker};
use crate::telemetry::LogFormat;

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

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct RunSettings {
    /// File to write the bound addresses and the pid to, as JSON, when serving.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// When stopping, time over which sessions are told to connect again; at most 6s.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::drain_window)]
    pub drain_window: Duration,
    /// Threads that do the work, beside those of SQLite; unset: one for each processor. Fewer where
    /// several processes share the processors.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
    /// Look of log lines on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Least level of log lines, or a list of filters such as info,rookery::shard=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct AuthSettings {
    /// JWKS file with the public keys of RS256, ES256 and EdDSA tokens; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Required `iss` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// Required `aud` of tokens; unset: any.
    #[arg(long, value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// The claim of a token that names the user.
    #[arg(long, value_name = "CLAIM", default_value = "sub", value_parser = values::user_claim)]
    pub user_claim: String,
    /// Verified tokens that each node and router remembers.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub token_cache: usize,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct FrontSettings {
    /// Origins that browsers may call from, comma-separated; unset: any localhost origin, *: every
    /// origin.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', action = ArgAction::Set)]
    pub cors_origins: Vec<String>,
    /// Connections of clients that are no WebSocket; the one that has been idle longest gives way
    /// to one more, which is refused when none is idle.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub connections_max: usize,
    /// Bytes of requests that the router holds while a shard moves; more get 503.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    pub hold_bytes: u64,
    /// Time for one request, however many waits it meets.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub request_budget: Duration,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct RateSettings {
    /// Requests per second of one user at one node, sustained; more get 429.
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_second: u32,
    /// Requests that one user may send at once on top of that.
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..))]
    pub request_burst: u32,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionSettings {
    /// Bytes of events queued for one session; beyond it the session falls behind and is served by
    /// spans. Answers: half as much again.
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = values::size)]
    pub outbox: u64,
    /// A session is pinged at least this often; two unanswered pings end it.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = values::duration)]
    pub heartbeat: Duration,
    /// A socket that takes nothing for this long is closed with 4420.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub write_timeout: Duration,
    /// Sessions of one user; more are closed with 4429.
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub sessions_per_user_max: usize,
    /// Sessions of one node; more are closed with 1013.
    #[arg(long, value_name = "COUNT", default_value = "20000")]
    pub sessions_max: usize,
    /// Frames per second that a session may send, sustained; four times that at once, more closes
    /// it with 4429.
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames_per_second_max: u32,
    /// How often delivered marks are gathered.
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = values::duration)]
    pub delivered_every: Duration,
    /// Longest wait for the resume frame of a socket opened with ?resume=wait.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub resume_wait: Duration,
}

#[expect(
    missing_docs,
    reason = "the comments of the fields are the help of the flags; one here would replace them"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shards")]
pub struct ShardSettings {
    /// Commands waiting for one shard; more get 503.
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    pub shard_queue: usize,
    /// Heads of conversations kept in memory per shard.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub heads: usize,
    /// Bytes of heads kept in memory by a process, estimated; one shard takes a quarter of them at
    /// most.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub heads_bytes: u64,
    /// Bytes of untrimmed log per shard; beyond it sends get 503.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = values::size)]
    pub stream_cap: u64,
    /// How long a read waits for the worker before it gets 503.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::duration)]
    pub read_barrier: Duration,
    /// How far behind the log a worker stays on purpose, to apply several entries at once; up to
    /// ten times as long where little comes, but at most a second more.
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = values::apply_tick)]
    pub apply_tick: Duration,
    /// Most records of one apply transaction.
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub apply_records: usize,
    /// Most time spent gathering one apply transaction.
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = values::duration)]
    pub apply_gather: Duration,
    /// Readers of one shard's SQLite file at once, each a thread.
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    pub readers: u32,
    /// A connection to a shard's SQLite file, which is a thread, is closed after this long without
    /// use; the next use opens it again.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub file_rest: Duration,
    /// A checkpoint after this many pages of WAL …
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    pub checkpoint_pages: u32,
    /// … or after this long, whichever is first.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub checkpoint_every: Duration,
    /// Durable entries stay in the log, and raw entries in SQLite, at least this long …
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub trim_floor: Duration,
    /// … but, of each of a shard's two streams, not more than this many bytes of them.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = values::size)]
    pub trim_floor_bytes: u64,
}

impl Settings {
    /// Of the sessions of a node.
    #[must_use]
    pub fn session(&self) -> session::Config {
        self.session.config()
    }

    /// Of the shards of a node.
    #[must_use]
    pub fn shard(&self) -> shard::Config {
        self.shard.config()
    }

    /// Of the router.
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

impl AuthSettings {
    /// Which tokens are good, given the secret.
    #[must_use]
    pub fn config(&self, secret: Option<&Secret>) -> auth::Config {
        auth::Config {
            hs256_secret: secret.map(|secret| secret.expose().to_owned()),
            jwks: self.jwks.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            user_claim: UserClaim::new(&self.user_claim),
            cache_max: self.token_cache,
        }
    }
}

impl FrontSettings {
    /// Of a router.
    ///
    /// # Errors
    /// One clear line: an origin that is none.
    pub fn config(
        &self,
        run: &RunSettings,
        auth: &AuthSettings,
        sockets_max: usize,
    ) -> Result<router::Config, String> {
        let origins = match self.cors_origins.as_slice() {
            [] => Origins::Localhost,
            listed => {
                Origins::parse(&listed.join(",")).map_err(|why| format!("--cors-origins: {why}"))?
            }
        };
        Ok(router::Config {
            connections_max: self.connections_max,
            sockets_max,
            budget: self.request_budget,
            hold_bytes_max: usize::try_from(self.hold_bytes).unwrap_or(usize::MAX),
            drain_window: run.drain_window,
            user_claim: UserClaim::new(&auth.user_claim),
            origins,
            ..router::Config::default()
        })
    }
}

impl SessionSettings {
    /// Of the sessions of a node.
    #[must_use]
    pub fn config(&self) -> session::Config {
        session::Config {
            outbox_bytes_max: usize::try_from(self.outbox).unwrap_or(usize::MAX),
            heartbeat: self.heartbeat,
            write_timeout: self.write_timeout,
            sessions_per_user_max: self.sessions_per_user_max,
            sessions_max: self.sessions_max,
            frames_per_second_max: self.frames_per_second_max,
            delivered_every: self.delivered_every,
            resume_wait_max: self.resume_wait,
        }
    }
}

impl ShardSettings {
    /// Of the shards of a node.
    #[must_use]
    pub fn config(&self) -> shard::Config {
        shard::Config {
            store: store::Config {
                readers_max: self.readers,
                rest_after: self.file_rest,
                checkpoint_pages: self.checkpoint_pages,
                checkpoint_every: self.checkpoint_every,
                raw_floor: self.trim_floor,
                raw_bytes_max: self.trim_floor_bytes,
            },
            worker: worker::Config {
                tick: self.apply_tick,
                records_max: self.apply_records,
                gather_max: self.apply_gather,
                trim_floor: self.trim_floor,
                trim_floor_bytes: self.trim_floor_bytes,
            },
            queue_max: self.shard_queue,
            heads_max: self.heads,
            heads_bytes_max: self.heads_bytes,
            common: shard::Common::default(),
            stream_bytes_max: self.stream_cap,
            barrier_max: self.read_barrier,
            // One process owns the embedded log.
            takeover_watch: None,
            renew_every: Duration::from_millis(750),
            adopt_local: false,
        }
    }
}
