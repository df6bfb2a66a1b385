//! What the answers of the REST face need: the shards, who is let in, and what requests wait for
//! each other with.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::Verifier;
use crate::ids::{NodeId, ShardId, Slot};
use crate::node::http::answer::Refusal;
use crate::node::http::proofs::Proofs;
use crate::node::http::rate::PerUser;
use crate::node::http::request::Call;
use crate::node::http::shards::Shards;
use crate::protocol::Retention;
use crate::shard::command::{Command, Done, Found, Freshness, Query};

/// Creates of one user under one key wait for each other; so many wait independently.
const CREATE_LOCKS: usize = 1_024;

/// Settings of the REST face.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// This node, which is never named as the owner to go to.
    pub node: NodeId,
    /// Requests of one user per second, sustained; 0 is no limit.
    pub requests_per_second: u32,
    /// Requests of one user at once.
    pub burst: u32,
    /// What the deployment says of how long events are kept.
    pub retention: Retention,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            requests_per_second: 1_000,
            burst: 2_000,
            retention: Retention::default(),
        }
    }
}

/// Everything that requests need. One for the node.
pub(super) struct Rest {
    pub(super) shards: Arc<dyn Shards>,
    pub(super) verifier: Verifier,
    pub(super) config: Config,
    pub(super) rate: PerUser,
    pub(super) creating: Vec<tokio::sync::Mutex<()>>,
    pub(super) proofs: Proofs,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Rest {
    pub(super) fn new(shards: Arc<dyn Shards>, verifier: Verifier, config: Config) -> Self {
        let rate = PerUser::new(config.requests_per_second, config.burst);
        let creating = std::iter::repeat_with(|| tokio::sync::Mutex::new(()))
            .take(CREATE_LOCKS)
            .collect();
        Self {
            shards,
            verifier,
            config,
            rate,
            creating,
            proofs: Proofs::new(Instant::now()),
        }
    }

    pub(super) fn shard_of(&self, slot: Slot) -> ShardId {
        self.shards.map().shard_of(slot)
    }

    /// Writes at the local owner of `slot`.
    pub(super) async fn execute(
        &self,
        call: &Call<'_>,
        slot: Slot,
        command: Command,
    ) -> Result<Done, Refusal> {
        let shard = self.shard_of(slot);
        let done = self
            .shards
            .execute_here(shard, command, call.deadline)
            .await;
        done.map_err(Refusal::from_shard(shard))
    }

    /// Reads at the local owner of `slot`.
    pub(super) async fn query(
        &self,
        call: &Call<'_>,
        slot: Slot,
        query: Query,
    ) -> Result<(Found, Freshness), Refusal> {
        let shard = self.shard_of(slot);
        let found = self.shards.query_here(shard, query, call.deadline).await;
        found.map_err(Refusal::from_shard(shard))
    }
}
