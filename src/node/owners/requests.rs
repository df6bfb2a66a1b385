//! What is asked of the owners of shards, and of nodes by their names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::ids::{ConversationName, NodeId, ShardId, UserId};
use crate::node::link::frame::{Body, Outcome, SummaryLength};
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::owners::attempt::{outcome_unknown, unavailable};
use crate::node::owners::handle::Owners;
use crate::node::owners::line::line_of;
use crate::node::owners::route::Route;
use crate::problem::Problem;
use crate::protocol::ConversationItem;
use crate::shard::command::{Command, Done, Found, Freshness, Query};

/// One for each name asked for, and how sure all of them are.
pub(crate) type Summaries = (Vec<Result<Option<ConversationItem>, Problem>>, Freshness);

impl Owners {
    /// Executes a command at the owner of `shard`. The command is *enqueued* before this returns,
    /// so two calls in a row for one conversation are decided in that order; the returned future
    /// waits for the answer. Sends (and reactions) of one user to one conversation keep that order
    /// also when they have to be repeated, or the shard moves between them: see `line.rs`.
    /// Therefore their futures are to be polled, all of them.
    ///
    /// Dropping the future does not undo the command.
    ///
    /// # Errors
    /// As the client sees it.
    pub(crate) fn execute(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Done, Problem>> + Send + 'static {
        let line = line_of(&command);
        let body = Body::Execute { shard, command };
        let asked = match line {
            Some(line) => self.ask_in_line(line, shard, body, deadline),
            None => self.ask(shard, body, deadline),
        };
        async move {
            match asked.await? {
                Outcome::Done(done) => Ok(done),
                _ => Err(outcome_unknown()),
            }
        }
    }

    /// Reads at the owner of `shard`.
    ///
    /// # Errors
    /// As the client sees it.
    pub(crate) async fn query(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem> {
        match self
            .ask(shard, Body::Query { shard, query }, deadline)
            .await?
        {
            Outcome::Found(found, freshness) => Ok((found, freshness)),
            _ => Err(unavailable()),
        }
    }

    /// Summaries for a list, with one request per owning *node*, side by side. In the order of
    /// `names`; `Err` where the owner did not answer in time. All of them together are as fresh as
    /// the stalest.
    pub(crate) async fn summaries(
        &self,
        reader: &UserId,
        (names, length): (&[ConversationName], SummaryLength),
        deadline: Instant,
    ) -> Summaries {
        let stale_ms = AtomicU64::new(0);
        let items = names
            .iter()
            .map(|name| (self.shard_of(name), name.clone()))
            .collect();
        let build = |parts| Body::Summaries {
            reader: reader.clone(),
            parts,
            length,
        };

        let unpack = |outcome| match outcome {
            Outcome::Summaries(parts) => Some(parts),
            Outcome::StaleSummaries { parts, ms } => {
                stale_ms.fetch_max(ms.max(1), Ordering::Relaxed);
                Some(parts)
            }
            _ => None,
        };
        let items = self.in_rounds(items, deadline, build, unpack).await;

        let freshness = match stale_ms.into_inner() {
            0 => Freshness::Strict,
            ms => Freshness::Stale { ms },
        };
        (items, freshness)
    }

    /// Asks a node, be it this one, something of its replica of a shard. `None` when it has none,
    /// or does not answer in time.
    pub(crate) async fn ask_replica(
        &self,
        node: &NodeId,
        shard: ShardId,
        ask: ReplicaAsk,
        deadline: Instant,
    ) -> Option<ReplicaAnswer> {
        match self
            .ask_node(node, Body::Replica { shard, ask }, deadline)
            .await?
        {
            Outcome::Replica(answer) => Some(answer),
            _ => None,
        }
    }

    /// Asks a named node once, whatever it owns.
    pub(in crate::node) async fn ask_node(
        &self,
        node: &NodeId,
        body: Body,
        deadline: Instant,
    ) -> Option<Outcome> {
        let route = if node == self.node() {
            Route::Here
        } else {
            Route::Node(node.clone())
        };
        match self.send(&route, &body, deadline).await {
            Ok(outcome) => Some(outcome),
            Err(missed) => {
                tracing::debug!(%node, ?missed, "a node did not answer");
                None
            }
        }
    }
}
