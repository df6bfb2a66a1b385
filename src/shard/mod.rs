//! One single-writer unit of order. [`ShardHandle`] is the only way in; behind it one loop decides every command against
//! the head, appends to the log, answers after the commit, and pushes to subscribed nodes. Workers apply the log to the
//! shard's SQLite file a few milliseconds behind. The shard knows no HTTP, no session, no token of a client.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::ids::{ConversationName, Epoch, NodeId, Offset, Seq, ShardId, UserId};
use crate::problem::{Code, Problem};
use crate::shard::command::{Command, Done, Found, Freshness, IndexItem, Interest, Query, ShardError, Subscribed};
use crate::shard::log::record::{OutboxPosition, Tail};
use crate::shard::log::{Stream, Token};
use crate::shard::owner::{Accepted, Input, Write};
use crate::shard::store::{OutboxRow, Store};
use crate::shard::subscriptions::{Subscriber, SubscriberId};
use crate::shard::worker::Workers;

pub mod map;

pub mod command;

mod open;

mod owner;

mod head;

mod filter;

mod append;

pub mod lane;

pub mod log;

pub mod subscriptions;

mod read;

mod paging;

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
    pub log: Arc<dyn log::ShardLog>,
    /// The node's append lane to that log.
    pub lane: lane::Lane,
    /// The time of day.
    pub clock: Clock,
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
    pub barrier_max: Duration,
}

/// How long an answer to a changed membership waits for the users' indexes, beyond the caller's own.
const INDEXES_WAIT: Duration = Duration::from_millis(500);

/// The way into an owned shard. Cheap to clone; outlives the shard, and then answers [`ShardError::NotOwner`].
#[derive(Debug, Clone)]
pub struct ShardHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shard: ShardId,
    node: NodeId,
    token: Token,
    applied: [watch::Receiver<Tail>; 2],
    durable: watch::Receiver<[Offset; 2]>,
    workers: Mutex<Option<Workers>>,
    store: Store,
    clock: Clock,
    config: Config,
    inputs: mpsc::Sender<Input>,
    committed: [Arc<watch::Sender<Tail>>; 2],
    /// Offset of the last record that has rows in the outbox.
    outbox_due: Arc<watch::Sender<Offset>>,
    /// Delivered up to there.
    outbox_done: watch::Sender<OutboxPosition>,
    closed: watch::Receiver<bool>,
}

impl Inner {
    fn applied(&self, stream: Stream) -> watch::Receiver<Tail> {
        let [messages, receipts] = &self.applied;
        match stream {
            Stream::Messages => messages.clone(),
            Stream::Receipts => receipts.clone(),
        }
    }

    fn hurry(&self, stream: Stream) {
        if let Some(workers) = &*self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            workers.hurry(stream);
        }
    }

    /// Queues a write and waits for its answer.
    fn write(&self, write: Write, deadline: Instant) -> impl Future<Output = Result<Accepted, ShardError>> + use<> {
        let (answer, answered) = oneshot::channel();
        let queued = self.inputs.try_send(Input::Write { write, deadline, answer });
        async move {
            match queued {
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return Err(Problem::unavailable("too many requests wait for this shard; retry later").into());
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ShardError::NotOwner),
                Ok(()) => {}
            }
            match tokio::time::timeout_at(deadline.into(), answered).await {
                Ok(Ok(answer)) => answer,
                // Dropped unanswered: it was never decided.
                Ok(Err(_)) => Err(ShardError::NotOwner),
                Err(_) => {
                    let detail = "the log did not answer in time; the write may yet appear, retry with the same key";
                    Err(Problem::new(Code::OutcomeUnknown, detail).into())
                }
            }
        }
    }

    async fn finish(&self, accepted: Accepted, sender: Option<UserId>, deadline: Instant) -> Result<Done, ShardError> {
        match accepted {
            Accepted::Done(done) => Ok(done),
            Accepted::SentAgain { conversation, seq } => {
                let sender = sender.ok_or_else(|| Problem::unavailable("the message cannot be read now; retry"))?;
                let message = self.sent_again(&conversation, seq, &sender, deadline).await?;
                Ok(Done::Sent { message, replayed: true })
            }
            Accepted::Created { view, replayed, offset, users } => {
                let all = OutboxPosition { offset, index: users.saturating_sub(1) };
                self.outbox_reaches(all, deadline.min(Instant::now() + INDEXES_WAIT)).await;
                // The creator comes first; his own list must have it.
                if !self.outbox_reaches(OutboxPosition { offset, index: 0 }, deadline).await {
                    let detail = "the conversation exists, but your list may lack it yet; retry with the same key";
                    return Err(Problem::new(Code::OutcomeUnknown, detail).into());
                }
                Ok(Done::Created { conversation: view, replayed })
            }
            Accepted::Changed { done, offset, users } => {
                if users > 0 {
                    let all = OutboxPosition { offset, index: users - 1 };
                    self.outbox_reaches(all, deadline.min(Instant::now() + INDEXES_WAIT)).await;
                }
                Ok(done)
            }
        }
    }

    /// Waits until the outbox is delivered up to there; false when the deadline passed first.
    async fn outbox_reaches(&self, position: OutboxPosition, deadline: Instant) -> bool {
        let mut done = self.outbox_done.subscribe();
        if *done.borrow_and_update() >= position {
            return true;
        }
        self.hurry(Stream::Messages);
        let reached = done.wait_for(|upto| *upto >= position);
        matches!(tokio::time::timeout_at(deadline.into(), reached).await, Ok(Ok(_)))
    }

    /// Where the message of a receipt is, then the write.
    async fn receipt(
        &self,
        id: crate::ids::MessageId,
        deadline: Instant,
        write: impl FnOnce(ConversationName, Seq) -> Write,
    ) -> Result<Done, ShardError> {
        let at = self.locate(id, deadline).await?;
        let accepted = self.write(write(at.conversation, at.seq), deadline).await?;
        self.finish(accepted, None, deadline).await
    }

    async fn execute(self: Arc<Self>, begun: Begun, deadline: Instant) -> Result<Done, ShardError> {
        match begun {
            Begun::Queued(answer, sender) => {
                let accepted = answer.await?;
                self.finish(accepted, sender, deadline).await
            }
            Begun::Read(read) => {
                let (id, user, origin) = (read.message_id, read.user, read.origin);
                self.receipt(id, deadline, |conversation, seq| Write::Read { conversation, seq, user, origin }).await
            }
            Begun::React(react) => {
                let (id, user, reaction) = (react.message_id, react.user, react.reaction);
                self.receipt(id, deadline, |conversation, _| Write::React { conversation, id, user, reaction }).await
            }
            Begun::Shed => Ok(Done::Marked),
        }
    }

    fn begin_execute(&self, command: Command, deadline: Instant) -> Begun {
        let (write, sender) = match command {
            Command::Create(create) => (Write::Create(create), None),
            Command::Send(send) => {
                let sender = send.source.clone();
                (Write::Send(send), Some(sender))
            }
            Command::Add(add) => (Write::Add(add), None),
            Command::Remove(remove) => (Write::Remove(remove), None),
            Command::Index(changes) => (Write::Index(changes), None),
            Command::MarkRead(read) => return Begun::Read(read),
            Command::React(react) => return Begun::React(react),
            Command::Delivered(marks) => {
                let count = marks.len() as u64;
                if self.inputs.try_send(Input::Delivered(marks)).is_err() {
                    crate::telemetry::RECEIPTS_SHED.add(count, &[]);
                }
                return Begun::Shed;
            }
        };
        Begun::Queued(Box::pin(self.write(write, deadline)), sender)
    }
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// A command that is on its way.
enum Begun {
    Queued(Boxed<Result<Accepted, ShardError>>, Option<UserId>),
    Read(command::MarkRead),
    React(command::React),
    Shed,
}

impl ShardHandle {
    /// Claims the shard, brings its file up to the log's tail, and starts it.
    ///
    /// # Errors
    /// One clear sentence why it is not opened; nothing was served.
    pub async fn open(opening: Opening) -> Result<Self, String> {
        // Boxed as `dyn`: the compiler cannot prove the nested futures `Send` through their lifetimes.
        let opened: Boxed<Result<Self, String>> = Box::pin(open::open(opening));
        opened.await
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.0.shard
    }

    /// Under which epoch it is owned.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.token.epoch
    }

    /// Executes a command. Writes to a conversation or an index are *enqueued* before this returns, so that two calls in
    /// a row are decided in that order; the returned future waits for the answer, at most until `deadline`. Dropping
    /// the future does not undo the command.
    ///
    /// When the queue is full the future answers `unavailable` at once.
    pub fn execute(
        &self,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Done, ShardError>> + Send + 'static {
        let begun = self.0.begin_execute(command, deadline);
        Arc::clone(&self.0).execute(begun, deadline)
    }

    /// Reads. May be dropped.
    ///
    /// # Errors
    /// Refusals for the client; `lagging` when the barrier is not reached in time; `NotOwner`.
    pub async fn query(&self, query: Query, deadline: Instant) -> Result<(Found, Freshness), ShardError> {
        let found = self.0.find(query, deadline).await?;
        // Checked after reading: a shard that was lost meanwhile may have answered too old.
        if *self.0.closed.borrow() {
            return Err(ShardError::NotOwner);
        }
        Ok((found, Freshness::Strict))
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
        let admissions = interests.into_iter().map(|interest| self.0.admit(subscriber, interest, deadline));
        let answers = futures_util::future::join_all(admissions).await;
        if *self.0.closed.borrow() { Err(ShardError::NotOwner) } else { Ok(answers) }
    }

    /// Ends interests. The node's last user of a conversation ends its pushes.
    pub fn unsubscribe(&self, subscriber: SubscriberId, interests: Vec<(ConversationName, UserId)>) {
        self.tell(Input::Unsubscribe(subscriber, interests));
    }

    /// Registers interest in a user's index and returns its rows changed after `after`. From then on each committed
    /// change is pushed; a push may tell what is known already.
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
        self.0.index_page(subscriber, user, after, limit, deadline).await
    }

    /// Ends interest in a user's index.
    pub fn unsubscribe_index(&self, subscriber: SubscriberId, user: UserId) {
        self.tell(Input::UnsubscribeIndex(subscriber, user));
    }

    /// Forgets a subscriber altogether (its link is gone).
    pub fn forget(&self, subscriber: SubscriberId) {
        self.tell(Input::Forget(subscriber));
    }

    /// What needs no answer. When the queue is full it is sent as soon as there is room.
    fn tell(&self, input: Input) {
        if let Err(mpsc::error::TrySendError::Full(input)) = self.0.inputs.try_send(input) {
            let inputs = self.0.inputs.clone();
            drop(tokio::spawn(async move { inputs.send(input).await.ok() }));
        }
    }

    /// The next undelivered rows of the outbox, in order; waits until there is one. `None` when the shard is closed.
    /// Rows are given again until they are told to be delivered.
    pub async fn outbox(&self, limit: u32) -> Option<Vec<OutboxRow>> {
        let inner = &self.0;
        let mut due = inner.outbox_due.subscribe();
        let mut closed = inner.closed.clone();
        loop {
            let (wanted, done) = (*due.borrow_and_update(), *inner.outbox_done.borrow());
            if wanted > done.offset {
                let mut applied = inner.applied(Stream::Messages);
                inner.hurry(Stream::Messages);
                tokio::select! {
                    reached = applied.wait_for(|tail| tail.offset >= wanted) => drop(reached.ok()?),
                    _ = closed.wait_for(|closed| *closed) => return None,
                }
                match inner.store.outbox(done, limit).await {
                    Ok(rows) if rows.is_empty() => {
                        let none_up_to_there = OutboxPosition { offset: wanted, index: u32::MAX };
                        inner.outbox_done.send_if_modified(|upto| {
                            let grows = *upto < none_up_to_there;
                            *upto = none_up_to_there.max(*upto);
                            grows
                        });
                    }
                    Ok(rows) => return Some(rows),
                    Err(error) => {
                        tracing::warn!(shard = %inner.shard, %error, "outbox cannot be read; trying again");
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
                continue;
            }
            tokio::select! {
                changed = due.changed() => changed.ok()?,
                _ = closed.wait_for(|closed| *closed) => return None,
            }
        }
    }

    /// Tells that the outbox is delivered up to and including `upto`; logged as a record (not at once), after which the
    /// rows are dropped. Wakes those who wait for it.
    pub fn outbox_delivered(&self, upto: OutboxPosition) {
        self.0.outbox_done.send_if_modified(|done| {
            let grows = *done < upto;
            *done = upto.max(*done);
            grows
        });
        self.tell(Input::OutboxDelivered(upto));
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ShardStatus {
        let [messages, receipts] = &self.0.committed;
        let committed = [messages.borrow().offset, receipts.borrow().offset];
        let [messages, receipts] = &self.0.applied;
        let applied = [messages.borrow().offset, receipts.borrow().offset];
        let behind = committed.iter().zip(&applied).map(|(committed, applied)| committed.0.saturating_sub(applied.0));
        ShardStatus {
            shard: self.0.shard,
            owner: self.0.node.clone(),
            epoch: self.0.token.epoch,
            committed,
            applied,
            durable: *self.0.durable.borrow(),
            lag: behind.sum(),
        }
    }

    /// Waits until the shard's loop has ended, by [`ShardHandle::close`] or because it was lost.
    pub async fn closed(&self) {
        let mut closed = self.0.closed.clone();
        closed.wait_for(|closed| *closed).await.ok();
    }

    /// Takes no more commands, finishes what is begun, applies and checkpoints everything, ends. At most until
    /// `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.tell(Input::Close);
        if tokio::time::timeout_at(deadline.into(), self.closed()).await.is_err() {
            tracing::warn!(shard = %self.0.shard, "a batch had no definite answer when the shard was closed");
        }
        let workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(workers) = workers {
            workers.finish(deadline).await;
        }
        self.0.store.close().await;
    }
}
