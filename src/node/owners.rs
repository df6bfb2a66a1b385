//! The way from this node to the owner of any shard: the local shard if it is ours, else a link to the node that the
//! table names, with hints followed and one budget for all attempts.

use std::sync::Arc;
use std::time::Instant;

use crate::ids::{ConversationName, Offset, ShardId, UserId};
use crate::node::table::Table;
use crate::problem::Problem;
use crate::shard::command::{Command, Done, Found, Freshness, Interest, Query, Subscribed};
use crate::shard::map::ShardMap;
use crate::shard::{IndexPage, ShardHandle};

/// Reaches owners. Cheap to clone.
///
/// Pushes of everything subscribed through it, local or remote, arrive in the one channel given at its construction. A
/// broken link, a dropped push and a moved shard all arrive there as `Push::Resubscribe` for the shards concerned.
#[derive(Debug, Clone)]
pub struct Owners {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {}

impl Owners {
    /// The map of slots to shards.
    #[must_use]
    pub fn map(&self) -> ShardMap {
        let _ = &self.inner;
        todo!()
    }

    /// The table as followed now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        todo!()
    }

    /// The shard, if this node owns it now.
    #[must_use]
    pub fn local(&self, shard: ShardId) -> Option<ShardHandle> {
        let _ = shard;
        todo!()
    }

    /// Executes a command at the owner of `shard`. The command is *enqueued* before this returns, so two calls in a row
    /// for one conversation are decided in that order; the returned future waits for the answer.
    ///
    /// Dropping the future does not undo the command.
    pub fn execute(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Done, Problem>> + Send + 'static {
        let _ = (shard, command, deadline);
        async { todo!() }
    }

    /// Reads at the owner of `shard`.
    ///
    /// # Errors
    /// As the client sees it.
    pub async fn query(&self, shard: ShardId, query: Query, deadline: Instant) -> Result<(Found, Freshness), Problem> {
        let _ = (shard, query, deadline);
        todo!()
    }

    /// Summaries for a list, with one request per owning *node*, side by side. In the order of `names`; `Err` where the
    /// owner did not answer in time.
    pub async fn summaries(
        &self,
        reader: &UserId,
        names: &[ConversationName],
        deadline: Instant,
    ) -> Vec<Result<Option<crate::protocol::ConversationItem>, Problem>> {
        let _ = (reader, names, deadline);
        todo!()
    }

    /// Subscribes to conversations of any shards, with one request per owning node, side by side. In the order given;
    /// what could not be asked is [`Subscribed::Failed`].
    pub async fn subscribe(&self, interests: Vec<Interest>, deadline: Instant) -> Vec<Subscribed> {
        let _ = (interests, deadline);
        todo!()
    }

    /// Ends interests.
    pub fn unsubscribe(&self, interests: Vec<(ConversationName, UserId)>) {
        let _ = interests;
    }

    /// Subscribes to a user's index; see [`ShardHandle::subscribe_index`].
    ///
    /// # Errors
    /// When the owner cannot be asked now.
    pub async fn subscribe_index(
        &self,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, Problem> {
        let _ = (user, after, limit, deadline);
        todo!()
    }

    /// Ends interest in a user's index.
    pub fn unsubscribe_index(&self, user: UserId) {
        let _ = user;
    }
}
