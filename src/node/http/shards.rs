//! What the REST face needs of the shards: the local ones, and the owners of the others. A trait,
//! so that everything above it is tested without a log, a file or a socket.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::ids::{ConversationName, NodeId, ShardId, UserId};
use crate::node::link::frame::SummaryLength;
use crate::node::owners::{Owners, Summaries};
use crate::problem::Problem;
use crate::protocol::Presence;
use crate::shard::command::{Command, Done, Found, Freshness, Query, ShardError, Watched};

/// See [`Owners`], which is the one implementation outside tests.
#[async_trait]
pub(super) trait Shards: fmt::Debug + Send + Sync + 'static {
    fn map(&self) -> ShardMap;

    fn table(&self) -> Arc<Table>;

    /// Who owns a shard: the table says so, unless more is known.
    fn owner_of(&self, shard: ShardId) -> Option<NodeId> {
        self.table().owner(shard).cloned()
    }

    fn owns(&self, shard: ShardId) -> bool;

    /// Executes at the local shard, or says that it is not ours.
    async fn execute_here(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, ShardError>;

    /// Reads from the local shard, or says that it is not ours.
    async fn query_here(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), ShardError>;

    /// Hands a command to the local shard without waiting for its answer; its bounded queue may
    /// shed it.
    fn tell_here(&self, shard: ShardId, command: Command, deadline: Instant);

    async fn execute_at_owner(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, Problem>;

    async fn query_at_owner(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem>;

    async fn summaries(
        &self,
        reader: &UserId,
        asked: (&[ConversationName], SummaryLength),
        deadline: Instant,
    ) -> Summaries;

    /// How users are, in the order given.
    async fn presence(
        &self,
        users: Vec<UserId>,
        deadline: Instant,
    ) -> Result<Vec<Presence>, Problem>;

    /// Whether a users' shard has every change of an index that any shard acknowledged before the
    /// call.
    async fn outboxes_clear(&self, to: ShardId, deadline: Instant) -> bool;
}

#[async_trait]
impl Shards for Owners {
    fn map(&self) -> ShardMap {
        Self::map(self)
    }

    fn table(&self) -> Arc<Table> {
        Self::table(self)
    }

    fn owner_of(&self, shard: ShardId) -> Option<NodeId> {
        Self::owner_of(self, shard)
    }

    fn owns(&self, shard: ShardId) -> bool {
        self.local(shard).is_some()
    }

    async fn execute_here(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, ShardError> {
        let handle = self.local(shard).ok_or(ShardError::NotOwner)?;
        handle.execute(command, deadline).await
    }

    async fn query_here(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), ShardError> {
        let handle = self.local(shard).ok_or(ShardError::NotOwner)?;
        handle.query(query, deadline).await
    }

    fn tell_here(&self, shard: ShardId, command: Command, deadline: Instant) {
        if let Some(handle) = self.local(shard) {
            // Enqueued by the call itself; dropping the future only gives up the answer.
            drop(handle.execute(command, deadline));
        }
    }

    async fn execute_at_owner(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, Problem> {
        self.execute(shard, command, deadline).await
    }

    async fn query_at_owner(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem> {
        self.query(shard, query, deadline).await
    }

    async fn summaries(
        &self,
        reader: &UserId,
        asked: (&[ConversationName], SummaryLength),
        deadline: Instant,
    ) -> Summaries {
        Self::summaries(self, reader, asked, deadline).await
    }

    async fn presence(
        &self,
        users: Vec<UserId>,
        deadline: Instant,
    ) -> Result<Vec<Presence>, Problem> {
        let asked = users
            .into_iter()
            .map(|user| Watched { user, online: None })
            .collect();
        let answers = Self::presence(self, asked, false, deadline).await;
        answers
            .into_iter()
            .map(|answer| answer.map(|(_, presence)| presence))
            .collect()
    }

    async fn outboxes_clear(&self, to: ShardId, deadline: Instant) -> bool {
        Self::outboxes_clear(self, to, deadline).await
    }
}
