//! The log on Redis Streams, one server or Redis Cluster. `docs/adr/0012-redis-log.md` says how it keeps the contract,
//! with the table of answers and the interleavings.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{Offset, ShardId};
use crate::shard::log::{AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, RawEntry};
use crate::shard::log::{ShardLog, Stream, Token};

pub mod servers;

use self::servers::Servers;

/// What makes an append acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitLevel {
    /// Redis has answered it.
    Log,
    /// A replica of that Redis has it too.
    Replicated,
}

/// How Redis is reached and used.
#[derive(Clone)]
pub struct Config {
    /// `redis://[user:password@]host:port` of the server, or of some servers of the cluster.
    pub urls: Vec<String>,
    /// Whether they are a Redis Cluster.
    pub cluster: bool,
    /// First part of every key's hash tag.
    pub prefix: String,
    /// When an append counts as acknowledged.
    pub commit: CommitLevel,
    /// How long one WAIT waits for a replica.
    pub replica_wait: Duration,
    /// A call without an answer after this long has failed; an append is in doubt.
    pub timeout: Duration,
}

/// The log on Redis; see the head of this file.
#[derive(Debug)]
pub struct RedisLog {
    servers: Arc<Servers>,
}

impl RedisLog {
    /// A log over these servers. Does not connect: calls fail until the servers answer.
    #[must_use]
    pub fn new(servers: Arc<Servers>) -> Arc<Self> {
        Arc::new(Self { servers })
    }

    fn missing(&self) -> LogError {
        LogError(format!("not built yet over {:?}", self.servers))
    }
}

#[async_trait]
impl ShardLog for RedisLog {
    async fn control(&self, _shard: ShardId) -> Result<Option<Control>, LogError> {
        Err(self.missing())
    }

    async fn claim(&self, _claim: Claim) -> Result<ClaimOutcome, LogError> {
        Err(self.missing())
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        cycle.iter().map(|_| Err(AppendError::InDoubt(self.missing().0))).collect()
    }

    async fn renew(&self, _holds: &[(ShardId, Token)]) -> Result<Vec<bool>, LogError> {
        Err(self.missing())
    }

    async fn read(&self, _: ShardId, _: Stream, _: Offset, _: usize) -> Result<Vec<RawEntry>, LogError> {
        Err(self.missing())
    }

    async fn trim(&self, _: ShardId, _: Token, _: Stream, _: Offset) -> Result<(), LogError> {
        Err(self.missing())
    }
}
