//! Settings of what nodes serve with: their sessions and their shards.

use std::time::Duration;

use clap::Args;

use crate::config::values;
use crate::node::session;
use crate::protocol::Retention;
use crate::shard;
use crate::shard::file::{store, worker};

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

impl SessionSettings {
    /// Returns the configuration of the sessions of a node.
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
    /// How long messages and events are kept where their conversation does not say it; without it
    /// for ever.
    #[arg(long, value_name = "DURATION", value_parser = values::retention)]
    pub retention_default: Option<u32>,
    /// How long they are kept at most, whatever their conversation says; without it there is no
    /// limit.
    #[arg(long, value_name = "DURATION", value_parser = values::retention)]
    pub retention_max: Option<u32>,
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

impl ShardSettings {
    /// Returns the configuration of the shards of a node.
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
            retention: Retention {
                default_s: self.retention_default,
                max_s: self.retention_max,
            },
            retention_every: Duration::from_secs(10),
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
