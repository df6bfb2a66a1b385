//! The one way into an owned shard.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::ids::{ConversationName, Epoch, Offset, ShardId, UserId};
use crate::log::record::Tail;
use crate::log::{PerStream, Token};
use crate::problem::{Code, Problem};
use crate::shard::command::{
    Command, Done, Found, Freshness, Interest, Present, Query, ShardError, Subscribed, Watched,
};
use crate::shard::error::OpenError;
use crate::shard::read::barrier::Reading;
use crate::shard::state::Inner;
use crate::shard::status::{IndexPage, ShardStatus};
use crate::shard::write::owner::Input;
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};
use crate::telemetry;

/// The way into an owned shard. Cheap to clone; outlives the shard, and then answers
/// [`ShardError::NotOwner`].
#[derive(Debug, Clone)]
pub(crate) struct ShardHandle(pub(super) Arc<Inner>);

impl ShardHandle {
    /// Waits until its epoch is committed, at most for `max`: it takes no write before.
    ///
    /// # Errors
    /// Failed: it has ended instead.
    pub(super) async fn announced(&self, max: Duration) -> Result<(), OpenError> {
        let committed = async {
            for (_, (tail, begun)) in self.0.committed.each_ref().zip(self.0.begun) {
                // Its sender is ours.
                drop(tail.subscribe().wait_for(|tail| tail.offset > begun).await);
            }
        };
        tokio::select! {
            biased;
            () = committed => Ok(()),
            () = self.closed() => {
                let line = format!("shard {}: its first append was not accepted", self.0.shard);
                Err(OpenError::Failed(line))
            }
            () = tokio::time::sleep(max) => Ok(()),
        }
    }

    /// Which shard.
    #[must_use]
    pub(crate) fn id(&self) -> ShardId {
        self.0.shard
    }

    /// Under which epoch it is owned.
    #[must_use]
    pub(crate) fn epoch(&self) -> Epoch {
        self.0.token.epoch
    }

    /// What the ownership is proven by: see [`ShardHandle::renewed`].
    #[must_use]
    pub(crate) fn hold(&self) -> (ShardId, Token) {
        (self.0.shard, self.0.token)
    }

    /// A renewal of [`ShardHandle::hold`] is about to be sent. False when the last one was not
    /// answered: it moved a sign by which others hold this owner for alive, and so does the next,
    /// which may be sent only after a question was answered that moves nothing.
    #[must_use]
    pub(crate) fn renewing(&self) -> bool {
        self.0.lease.renewing()
    }

    /// A renewal of [`ShardHandle::hold`] that was sent at `sent` (since boot) was answered.
    /// Current: reads are strict for longer. Not current: the shard was taken, and ends by itself.
    pub(crate) fn renewed(&self, sent: Duration, current: bool) {
        if current {
            return self.0.lease.prove(sent);
        }
        self.0.lease.lose();
        self.tell(Input::Taken);
    }

    /// Its ownership is proven now: nobody else can have taken it.
    #[must_use]
    pub(crate) fn is_proven(&self) -> bool {
        !self.0.lease.has_ended(self.0.clock.since_boot())
    }

    /// Its loop has ended; what is asked of it is answered [`ShardError::NotOwner`].
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        *self.0.closed.borrow()
    }

    /// Sets the gauge of the lease.
    pub(crate) fn note_lease(&self) {
        if let Some(left) = self.0.lease.remaining(self.0.clock.since_boot()) {
            telemetry::SHARD_LEASE_SECONDS.set(
                left.as_secs_f64(),
                &[("shard", &self.0.shard.0.to_string())],
            );
        }
    }

    /// Executes a command. Writes to a conversation or an index are *enqueued* before this returns,
    /// so that two calls in a row are decided in that order; the returned future waits for the
    /// answer, at most until `deadline`. Dropping the future does not undo the command.
    ///
    /// When the queue is full the future answers `unavailable` at once.
    pub(crate) fn execute(
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
    pub(crate) async fn query(
        &self,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), ShardError> {
        let reading = Reading::marked(deadline);
        let found = self.0.find(query, &reading).await;
        self.0.settled().await;

        // Checked after reading: a shard that was lost meanwhile may have answered too old.
        if *self.0.closed.borrow() {
            return Err(ShardError::NotOwner);
        }

        match (found, reading.freshness(&self.0)) {
            (Ok(found), freshness) => Ok((found, freshness)),
            // Meanwhile they may have been let in elsewhere; and a refusal has no mark.
            (Err(ShardError::Problem(problem)), Freshness::Stale { .. })
                if hangs_on_standing(&problem) =>
            {
                Err(cannot_be_proven().into())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Registers interests of a subscribing node and answers each, in order. From the moment of the
    /// answer's `tail` on every later event of the conversation is pushed to `subscriber`. Interest
    /// in what is subscribed already only returns the missing events. All interests must be of this
    /// shard.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`]; single interests fail inside the answer.
    pub(crate) async fn subscribe(
        &self,
        subscriber: &Subscriber,
        interests: Vec<Interest>,
        deadline: Instant,
    ) -> Result<Vec<Subscribed>, ShardError> {
        let admissions = interests
            .into_iter()
            .map(|interest| self.0.admit(subscriber, interest, deadline));
        let mut answers = futures_util::future::join_all(admissions).await;
        self.0.settled().await;
        if *self.0.closed.borrow() {
            return Err(ShardError::NotOwner);
        }

        if self.0.lease.has_ended(self.0.clock.since_boot()) {
            // That someone is out is said only when it is sure; what is live is told to ask again
            // if the shard was lost.
            for answer in &mut answers {
                if matches!(
                    answer,
                    Subscribed::NotParticipant
                        | Subscribed::Ended { .. }
                        | Subscribed::Closed { .. }
                ) {
                    *answer = Subscribed::Failed(cannot_be_proven());
                }
            }
        }

        Ok(answers)
    }

    /// Ends interests. The node's last user of a conversation ends its pushes.
    pub(crate) fn unsubscribe(
        &self,
        subscriber: SubscriberId,
        interests: Vec<(ConversationName, UserId)>,
    ) {
        self.tell(Input::Unsubscribe(subscriber, interests));
    }

    /// Registers interest in a user's index and returns its rows changed after `after`. From then
    /// on each committed change is pushed; a push may tell what is known already.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`], or `lagging`/`unavailable` when it cannot be read now.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, whose, what is missing, until when"
    )]
    pub(crate) async fn subscribe_index(
        &self,
        subscriber: &Subscriber,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, ShardError> {
        self.0
            .index_page(subscriber, user, after, limit, deadline)
            .await
    }

    /// Ends interest in a user's index.
    pub(crate) fn unsubscribe_index(&self, subscriber: SubscriberId, user: UserId) {
        self.tell(Input::UnsubscribeIndex(subscriber, user));
    }

    /// How users of this shard are, in the order asked; with `by` that node watches them from now
    /// on, and is pushed what changes.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`], or `unavailable` when it cannot be told now, or too many are
    /// watched.
    pub(crate) async fn presence(
        &self,
        by: Option<Subscriber>,
        users: Vec<Watched>,
        deadline: Instant,
    ) -> Result<Present, ShardError> {
        self.0.presence(by, users, deadline).await
    }

    /// A node watches these users no more.
    pub(crate) fn unwatch(&self, subscriber: SubscriberId, users: Vec<UserId>) {
        self.tell(Input::Unwatch(subscriber, users));
    }

    /// Forgets a subscriber altogether (its link is gone).
    pub(crate) fn forget(&self, subscriber: SubscriberId) {
        self.tell(Input::Forget(subscriber));
    }

    /// What needs no answer. When the queue is full it is sent as soon as there is room.
    pub(super) fn tell(&self, input: Input) {
        if let Err(mpsc::error::TrySendError::Full(input)) = self.0.inputs.try_send(input) {
            let inputs = self.0.inputs.clone();
            drop(tokio::spawn(async move { inputs.send(input).await.ok() }));
        }
    }

    /// How it stands.
    #[must_use]
    pub(crate) fn status(&self) -> ShardStatus {
        let committed = self.0.committed.each_ref().map(|tail| tail.borrow().offset);
        let applied = self.0.applied.each_ref().map(|tail| tail.borrow().offset);
        let behind = committed
            .zip(applied)
            .map(|(committed, applied)| committed.0.saturating_sub(applied.0));
        ShardStatus {
            shard: self.0.shard,
            owner: self.0.node.clone(),
            epoch: self.0.token.epoch,
            committed,
            applied,
            durable: *self.0.durable.borrow(),
            lag: behind.messages + behind.receipts,
            standbys: self.standbys(),
        }
    }

    /// Where its streams end, as far as they are committed.
    #[must_use]
    pub(crate) fn tails(&self) -> PerStream<Tail> {
        self.0.committed.each_ref().map(|tail| *tail.borrow())
    }

    /// Waits until the shard's loop has ended, by [`ShardHandle::close`] or because it was lost.
    pub(crate) async fn closed(&self) {
        let mut closed = self.0.closed.clone();
        closed.wait_for(|closed| *closed).await.ok();
    }

    /// Takes no more commands, finishes what is begun, applies and checkpoints everything, ends. At
    /// most until `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.tell(Input::Close);
        if tokio::time::timeout_at(deadline.into(), self.closed())
            .await
            .is_err()
        {
            tracing::warn!(shard = %self.0.shard, "a batch had no definite answer when the shard was closed");
        }

        let workers = self
            .0
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(workers) = workers {
            workers.finish(deadline).await;
        }
        self.0.store.close().await;
    }
}

/// A refusal that depends on who participates, and as what, and so may be out of date.
fn hangs_on_standing(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::NotParticipant | Code::Forbidden | Code::MessageUnknown
    )
}

fn cannot_be_proven() -> Problem {
    Problem::new(
        Code::Stale,
        "whether you may see this cannot be proven now; try again",
    )
}
