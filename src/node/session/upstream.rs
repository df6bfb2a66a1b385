//! What sessions need of the rest of the node: the way to owners. A trait, so that the hub is
//! tested without shards.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Told;
use crate::ids::{ConversationName, Epoch, Offset, ShardId, UserId};
use crate::node::owners::Owners;
use crate::problem::Problem;
use crate::protocol::Presence;
use crate::shard::IndexPage;
use crate::shard::command::{
    Command, Done, Found, Freshness, Interest, Query, Subscribed, Watched,
};

/// See the methods of the same names of [`Owners`].
#[async_trait]
pub(crate) trait Upstream: Send + Sync + 'static {
    /// The map of slots to shards.
    fn map(&self) -> ShardMap;

    /// Enqueues before it returns.
    fn execute(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>>;

    /// Answers in the order asked.
    async fn subscribe(&self, interests: Vec<Interest>, deadline: Instant) -> Vec<Subscribed>;

    /// Ends interests.
    fn unsubscribe(&self, interests: Vec<(ConversationName, UserId)>);

    /// Subscribes to a user's index.
    async fn subscribe_index(
        &self,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, Problem>;

    /// Ends interest in a user's index.
    fn unsubscribe_index(&self, user: UserId);

    /// Reads at the owner of a shard.
    fn query(
        &self,
        _: ShardId,
        _: Query,
        _: Instant,
    ) -> BoxFuture<'static, Result<(Found, Freshness), Problem>> {
        Box::pin(async { Err(Problem::unavailable("no owner can be reached")) })
    }

    /// How users are, in the order asked, each with the epoch of the owner that says so. What
    /// changes is pushed from now on.
    fn presence(
        &self,
        users: Vec<Watched>,
        _deadline: Instant,
    ) -> BoxFuture<'static, Vec<Result<(Epoch, Presence), Problem>>> {
        let none = users
            .into_iter()
            .map(|_| Err(Problem::unavailable("no owner can be reached")));
        Box::pin(std::future::ready(none.collect()))
    }

    /// These users are watched no more.
    fn unwatch(&self, _users: Vec<UserId>) {}

    /// Takes in which table a router follows, and how many milliseconds ago it read it.
    fn hear(&self, _version: u64, _age_ms: Option<u64>) {}

    /// Version of the table that is followed here.
    fn table_version(&self) -> u64 {
        0
    }

    /// The table as it is followed here.
    fn follow_table(&self) -> Option<watch::Receiver<Arc<Table>>> {
        None
    }

    /// Another node owns a shard, as far as is known here.
    fn is_elsewhere(&self, _shard: ShardId) -> bool {
        false
    }
}

#[async_trait]
impl Upstream for Owners {
    fn map(&self) -> ShardMap {
        Self::map(self)
    }

    fn execute(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>> {
        Box::pin(Self::execute(self, shard, command, deadline))
    }

    async fn subscribe(&self, interests: Vec<Interest>, deadline: Instant) -> Vec<Subscribed> {
        Self::subscribe(self, interests, deadline).await
    }

    fn unsubscribe(&self, interests: Vec<(ConversationName, UserId)>) {
        Self::unsubscribe(self, interests);
    }

    async fn subscribe_index(
        &self,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, Problem> {
        Self::subscribe_index(self, user, after, limit, deadline).await
    }

    fn unsubscribe_index(&self, user: UserId) {
        Self::unsubscribe_index(self, user);
    }

    fn query(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<(Found, Freshness), Problem>> {
        let owners = self.clone();
        Box::pin(async move { Self::query(&owners, shard, query, deadline).await })
    }

    fn presence(
        &self,
        users: Vec<Watched>,
        deadline: Instant,
    ) -> BoxFuture<'static, Vec<Result<(Epoch, Presence), Problem>>> {
        let owners = self.clone();
        Box::pin(async move { Self::presence(&owners, users, true, deadline).await })
    }

    fn unwatch(&self, users: Vec<UserId>) {
        Self::unwatch(self, users);
    }

    fn hear(&self, version: u64, age_ms: Option<u64>) {
        self.reach().hear(Told { version, age_ms }, Instant::now());
    }

    fn table_version(&self) -> u64 {
        self.reach().told(Instant::now()).version
    }

    fn follow_table(&self) -> Option<watch::Receiver<Arc<Table>>> {
        Some(self.watch_table())
    }

    fn is_elsewhere(&self, shard: ShardId) -> bool {
        self.owner_of(shard)
            .is_some_and(|owner| owner != *self.node())
    }
}
