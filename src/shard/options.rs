//! What a shard is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::ids::{NodeId, ShardId};
use crate::log::lane::Lane;
use crate::log::{Identity, ShardLog, Token};
use crate::protocol::Retention;
use crate::shard::file::worker::Trimming;
use crate::shard::file::{store, worker};
use crate::shard::insync::InSync;
use crate::shard::replicas::Replicas;
use crate::shard::write::agreed::Agreed;
use crate::shard::write::owner::HeadMemory;

/// What a shard is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    /// Which shard.
    pub shard: ShardId,
    /// Of which cluster.
    pub identity: Identity,
    /// By which node.
    pub node: NodeId,
    /// Its SQLite file.
    pub path: PathBuf,
    /// The log.
    pub log: Arc<dyn ShardLog>,
    /// The node's append lane to that log.
    pub lane: Lane,
    /// The other replicas.
    pub replicas: Arc<dyn Replicas>,
    /// It was claimed before, by whomever: it has a history, and never begins anew.
    pub claimed: bool,
    /// The time of day.
    pub clock: Clock,
    /// Settings.
    pub config: Config,
}

impl Opening {
    /// What the trimming of its log goes by, once it is opened under that token.
    pub(super) fn trimming(&self, token: Token, standbys: &Arc<watch::Sender<InSync>>) -> Trimming {
        let (clock, bytes_max) = (self.clock.clone(), self.config.stream_bytes_max);
        Trimming {
            token,
            standbys: Arc::clone(standbys),
            clock,
            bytes_max,
        }
    }
}

/// What all shards of a process go by.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// Bytes that their heads take.
    pub head_memory: Arc<HeadMemory>,
    /// What all nodes of the cluster have in common.
    pub agreed: Arc<Agreed>,
}

#[cfg(test)]
impl Common {
    /// In a cluster whose nodes all read that version of records.
    pub(crate) fn reading(records: u32) -> Self {
        let agreed = Arc::new(Agreed::new([7; 32], records));
        Self {
            agreed,
            ..Self::default()
        }
    }
}

/// Settings of every shard of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of the file.
    pub store: store::Config,
    /// Of the workers.
    pub worker: worker::Config,
    /// Commands waiting for a shard; more are refused with `unavailable`.
    pub queue_max: usize,
    /// What the deployment says of how long events are kept.
    pub retention: Retention,
    /// Pause before the file is looked at again for events that have been kept long enough.
    pub retention_every: Duration,
    /// Heads kept per shard beyond those with unapplied records.
    pub heads_max: usize,
    /// Bytes of heads, estimated, of all shards of the process together.
    pub heads_bytes_max: u64,
    /// What all shards of the process go by.
    pub common: Common,
    /// Bytes of untrimmed stream per shard beyond which sends are refused with `unavailable`.
    pub stream_bytes_max: u64,
    /// How long a read waits for the worker before it answers `lagging`.
    pub barrier_max: Duration,
    /// How long another node must have seen this shard's control record unchanged before it takes
    /// the shard (T): reads are strict for nine tenths of it after the last proof of ownership.
    /// `None`: nobody else can take it.
    pub takeover_watch: Option<Duration>,
    /// How often the ownership is proven.
    pub renew_every: Duration,
    /// When the log has lost a shard that the file has: make it anew from the file, instead of
    /// refusing to open it.
    pub adopt_local: bool,
}
