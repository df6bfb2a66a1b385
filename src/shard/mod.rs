//! One single-writer unit of order. [`ShardHandle`] is the only way in; behind it one loop decides every command against
//! the head, appends to the log, answers after the commit, and pushes to subscribed nodes. Workers apply the log to the
//! shard's SQLite file a few milliseconds behind. The shard knows no HTTP, no session, no token of a client.

use std::time::Instant;

use crate::ids::{ConversationName, Epoch, NodeId, Offset, ShardId, UserId};
use crate::shard::command::{Command, Done, Found, Freshness, IndexItem, Interest, Query, ShardError, Subscribed};
use crate::shard::log::record::{OutboxPosition, Tail};
use crate::shard::store::OutboxRow;
use crate::shard::subscriptions::{Subscriber, SubscriberId};

pub mod map;

pub mod command;

pub mod subscriptions;

pub mod lane;

pub mod log;

pub(crate) mod apply;

pub mod worker;

pub mod store;

/// A page of a user's index, changes in the order of their versions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexPage {
    /// Rows (also those of conversations left) changed after the version asked for, ascending by version.
    pub items: Vec<IndexItem>,
    /// More rows follow after the last version given.
    pub more: bool,
}

/// What `/cluster` and the metrics tell of an owned shard.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ShardStatus {
    /// Which shard.
    pub shard: ShardId,
    /// Who owns it.
    pub owner: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Committed offsets by stream.
    pub committed: [Offset; 2],
    /// Applied offsets by stream.
    pub applied: [Offset; 2],
    /// Durable offsets by stream.
    pub durable: [Offset; 2],
    /// Records committed but not yet applied.
    pub lag: u64,
}

/// What a shard is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Which shard.
    pub shard: ShardId,
    /// Of which cluster.
    pub identity: log::Identity,
    /// By which node.
    pub node: NodeId,
    /// Its SQLite file.
    pub path: std::path::PathBuf,
    /// The log.
    pub log: std::sync::Arc<dyn log::ShardLog>,
    /// The node's append lane to that log.
    pub lane: lane::Lane,
    /// The time of day.
    pub clock: crate::clock::Clock,
    /// Settings.
    pub config: Config,
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
    /// Heads kept per shard beyond those with unapplied records.
    pub heads_max: usize,
    /// Bytes of untrimmed stream per shard beyond which sends are refused with `unavailable`.
    pub stream_bytes_max: u64,
    /// How long a read waits for the worker before it answers `lagging`.
    pub barrier_max: std::time::Duration,
}

/// The way into an owned shard. Cheap to clone; outlives the shard, and then answers [`ShardError::NotOwner`].
#[derive(Debug, Clone)]
pub struct ShardHandle {}

impl ShardHandle {
    /// Claims the shard, brings its file up to the log's tail, and starts it.
    ///
    /// # Errors
    /// One clear sentence why it is not opened; nothing was served.
    pub async fn open(opening: Opening) -> Result<Self, String> {
        let _ = opening;
        todo!()
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        todo!()
    }

    /// Executes a command. It is *enqueued* before this returns, so that two calls in a row are decided in that order;
    /// the returned future waits for the answer, at most until `deadline`. Dropping the future does not undo the command.
    ///
    /// When the queue is full the future answers `unavailable` at once.
    pub fn execute(
        &self,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Done, ShardError>> + Send + 'static {
        let _ = (command, deadline);
        async { todo!() }
    }

    /// Reads. May be dropped.
    ///
    /// # Errors
    /// Refusals for the client; `lagging` when the barrier is not reached in time; `NotOwner`.
    pub async fn query(&self, query: Query, deadline: Instant) -> Result<(Found, Freshness), ShardError> {
        let _ = (query, deadline);
        todo!()
    }

    /// Registers interests of a subscribing node and answers each, in order. From the moment of the answer's `tail` on
    /// every later event of the conversation is pushed to `subscriber`. Interest in what is subscribed already only
    /// returns the missing events. All interests must be of this shard.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`]; single interests fail inside the answer.
    pub async fn subscribe(
        &self,
        subscriber: &Subscriber,
        interests: Vec<Interest>,
        deadline: Instant,
    ) -> Result<Vec<Subscribed>, ShardError> {
        let _ = (subscriber, interests, deadline);
        todo!()
    }

    /// Ends interests. The node's last user of a conversation ends its pushes.
    pub fn unsubscribe(&self, subscriber: SubscriberId, interests: Vec<(ConversationName, UserId)>) {
        let _ = (subscriber, interests);
    }

    /// Registers interest in a user's index and returns its rows changed after `after`. From then on each committed
    /// change is pushed.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`], or `lagging`/`unavailable` when it cannot be read now.
    pub async fn subscribe_index(
        &self,
        subscriber: &Subscriber,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, ShardError> {
        let _ = (subscriber, user, after, limit, deadline);
        todo!()
    }

    /// Ends interest in a user's index.
    pub fn unsubscribe_index(&self, subscriber: SubscriberId, user: UserId) {
        let _ = (subscriber, user);
    }

    /// Forgets a subscriber altogether (its link is gone).
    pub fn forget(&self, subscriber: SubscriberId) {
        let _ = subscriber;
    }

    /// The next undelivered rows of the outbox, in order; waits until there is one. `None` when the shard is closed.
    pub async fn outbox(&self, limit: u32) -> Option<Vec<OutboxRow>> {
        let _ = limit;
        todo!()
    }

    /// Tells that the outbox is delivered up to and including `upto`; logged as a record (not at once), after which the
    /// rows are dropped. Wakes those who wait for it.
    pub fn outbox_delivered(&self, upto: OutboxPosition) {
        let _ = upto;
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ShardStatus {
        todo!()
    }

    /// Takes no more commands, finishes what is begun, applies and checkpoints everything, ends. At most until
    /// `deadline`.
    pub async fn close(&self, deadline: Instant) {
        let _ = deadline;
    }
}

/// Placeholder use.
const _: Option<Tail> = None;
