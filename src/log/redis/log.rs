//! The log itself: what it sends to Redis, and what it makes of the answers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use redis::Value;

use crate::ids::{Offset, ShardId};
use crate::log::redis::cache::Cache;
use crate::log::redis::failure::log_error;
use crate::log::redis::keys::{self, Keys, control_of, offset_of, token_text};
use crate::log::redis::servers::{Lua, Servers};
use crate::log::redis::{append, claim, observe};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, Observed, RawEntry,
    ShardLog, Stream, Token,
};
use crate::telemetry::{LOG_CACHE_READS, LOG_REDIS_WAITS_SHORT};

const RENEW: Lua = Lua {
    text: include_str!("renew.lua"),
};
const TRIM: Lua = Lua {
    text: include_str!("trim.lua"),
};

/// Entries of the first page of a read; later pages are as long as the size of the entries so far
/// suggests.
const PAGE_FIRST: usize = 16;
/// Most entries of one page.
const PAGE_MAX: usize = 256;
/// Entries that one step of a trim looks at: a few nodes of the stream.
const TRIM_STEP: &[u8] = b"400";

/// The log on Redis; see the head of its folder.
pub struct RedisLog {
    servers: Arc<Servers>,
    cache: Cache,
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog")
            .field("servers", &self.servers)
            .finish()
    }
}

impl RedisLog {
    /// A log over these servers. Does not connect: calls fail until the servers answer.
    #[must_use]
    pub fn new(servers: Arc<Servers>) -> Arc<Self> {
        // There before the first fault, like those of `telemetry::start_node`.
        LOG_REDIS_WAITS_SHORT.add(0, &[]);
        Arc::new(Self {
            servers,
            cache: Cache::default(),
        })
    }

    fn keys(&self, shard: ShardId) -> Arc<Keys> {
        self.servers.keys(shard)
    }

    async fn renew_one(&self, (shard, token): (ShardId, Token)) -> Result<bool, LogError> {
        let (keys, token) = (self.keys(shard), token_text(token));
        let answer = self
            .servers
            .run("renew", &RENEW, &[keys.control()], &[token.as_bytes()])
            .await?;
        match answer {
            Value::Int(1) => Ok(true),
            Value::Int(_) => Ok(false),
            other => Err(LogError::Malformed(format!(
                "a malformed answer to a renewal: {other:?}"
            ))),
        }
    }

    /// One page of a stream, from the entry after `after`.
    async fn page(
        &self,
        slot: u16,
        stream: &str,
        after: Offset,
        count: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        let mut range = redis::cmd("XRANGE");
        range
            .arg(stream)
            .arg(format!("({}-0", after.0))
            .arg("+")
            .arg("COUNT")
            .arg(count);
        let answer = self
            .servers
            .ask("read", slot, &range)
            .await
            .map_err(log_error)?;
        let Value::Array(entries) = answer else {
            return Err(LogError::Malformed(format!(
                "a malformed answer to XRANGE: {answer:?}"
            )));
        };

        let entries: Option<Vec<RawEntry>> = entries.into_iter().map(entry_of).collect();
        entries.ok_or_else(|| {
            LogError::Malformed(format!("{stream} holds something that is no entry"))
        })
    }
}

/// `[id, ["e", bytes]]`.
fn entry_of(value: Value) -> Option<RawEntry> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [Value::BulkString(id), Value::Array(fields)] = <[Value; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let last = offset_of(&id)?;
    let [_, Value::BulkString(bytes)] = <[Value; 2]>::try_from(fields).ok()? else {
        return None;
    };
    Some(RawEntry {
        last,
        bytes: Bytes::from(bytes),
    })
}

#[async_trait]
impl ShardLog for RedisLog {
    fn place(&self, shard: ShardId) -> u64 {
        self.servers.slots().place(self.keys(shard).slot())
    }

    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        let keys = self.keys(shard);
        let mut read = redis::cmd("HGETALL");
        read.arg(keys.control());
        control_of(
            self.servers
                .ask("control", keys.slot(), &read)
                .await
                .map_err(log_error)?,
        )
    }

    async fn observe(&self, shards: &[ShardId]) -> Vec<Result<Observed, LogError>> {
        observe::observe(&self.servers, shards).await
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        let outcome = claim::claim(&self.servers, &claim).await?;
        if let ClaimOutcome::Claimed(control) = &outcome {
            self.cache.claimed(
                claim.shard,
                claim.token,
                control.tails.map(|tail| tail.offset),
            );
        }
        Ok(outcome)
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let answers = append::append(&self.servers, cycle).await;
        for (batch, answer) in cycle.iter().zip(&answers) {
            match answer {
                Ok(AppendOutcome::Appended | AppendOutcome::AlreadyDone) => {
                    self.cache.committed(batch)
                }
                Ok(AppendOutcome::Fenced { .. } | AppendOutcome::TailMismatch { .. }) => {
                    self.cache.ended(batch.shard, batch.token);
                }
                Err(_) => {}
            }
        }
        answers
    }

    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        // All at once: those of one master share a connection, so they travel as if they were one
        // pipeline.
        let renewed = join_all(holds.iter().map(|&hold| self.renew_one(hold))).await;
        for (&(shard, token), answer) in holds.iter().zip(&renewed) {
            if answer == &Ok(false) {
                self.cache.ended(shard, token);
            }
        }
        renewed
    }

    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        if let Some(entries) = self.cache.read(shard, stream, after, bytes_max) {
            LOG_CACHE_READS.add(1, &[("from", "memory")]);
            return Ok(entries);
        }

        LOG_CACHE_READS.add(1, &[("from", "redis")]);
        let keys = self.keys(shard);
        let key = keys.stream(stream);
        let (mut found, mut size, mut count) = (Vec::<RawEntry>::new(), 0, PAGE_FIRST);
        loop {
            let at = found.last().map_or(after, |entry| entry.last);
            let page = self.page(keys.slot(), key, at, count).await?;
            let complete = page.len() < count;
            for entry in page {
                size += entry.bytes.len();
                found.push(entry);
                if size >= bytes_max {
                    return Ok(found);
                }
            }
            if complete {
                return Ok(found);
            }
            let mean = (size / found.len().max(1)).max(1);
            count = ((bytes_max - size) / mean + 1).clamp(1, PAGE_MAX);
        }
    }

    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        let keys = self.keys(shard);
        let (control, key) = (keys.control(), keys.stream(stream));
        let (token, lowest) = (
            token_text(token),
            keys::entry_id(Offset(upto.0.saturating_add(1))),
        );

        let mut limit = TRIM_STEP;
        // What lies below the lowest id grows no more, so the bounded steps come to an end; then
        // one exact step.
        loop {
            let arguments = [token.as_bytes(), lowest.as_bytes(), limit];
            match self
                .servers
                .run("trim", &TRIM, &[control, key], &arguments)
                .await?
            {
                Value::Int(..0) => return Ok(()),
                Value::Int(_) if limit == b"0" => {
                    self.cache.trimmed(shard, stream, upto);
                    return Ok(());
                }
                Value::Int(0) => limit = b"0",
                Value::Int(_) => {}
                other => {
                    return Err(LogError::Malformed(format!(
                        "a malformed answer to a trim: {other:?}"
                    )));
                }
            }
        }
    }
}
