//! One read under way: how it asks the loop, how long it waits for the worker, and what it does
//! when the log is silent and the lease has ended. Then it waits no more: it goes on with what
//! SQLite and memory have, and its answer is marked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::ids::{ConversationName, Offset, UserId};
use crate::log::PerStream;
use crate::problem::{Code, Problem};
use crate::shard::command::{Freshness, ShardError};
use crate::shard::state::Inner;
use crate::shard::write::head::{Head, not_participant};
use crate::shard::write::owner::{Input, Ticket, Want, page_of};

/// How often a wait looks at the lease, at least.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the loop needs, at most, to answer what hangs on no commit: so long it is waited for after
/// the lease has ended.
const LOOP_WAIT: Duration = Duration::from_millis(100);

/// A read's budget, and whether it went on without what it waited for.
#[derive(Debug)]
pub(in crate::shard) struct Reading {
    pub(in crate::shard) deadline: Instant,
    /// Whether it may go on so.
    may_lag: bool,
    /// Age of the last proof when it did, in milliseconds; 0: it did not.
    lagged_ms: AtomicU64,
}

impl Reading {
    /// For an answer that can be marked stale.
    pub(in crate::shard) fn marked(deadline: Instant) -> Self {
        Self {
            deadline,
            may_lag: true,
            lagged_ms: AtomicU64::new(0),
        }
    }

    /// For an answer that cannot: it waits, and fails when the wait is too long.
    pub(in crate::shard) fn whole(deadline: Instant) -> Self {
        Self {
            deadline,
            may_lag: false,
            lagged_ms: AtomicU64::new(0),
        }
    }

    /// How sure an answer is that is gathered by now. The lease is looked at only here, *after* the
    /// gathering: a process may be stopped between any two instructions, and the shard taken
    /// meanwhile.
    pub(in crate::shard) fn freshness(&self, shard: &Inner) -> Freshness {
        let by_lease = shard.lease.freshness(shard.clock.since_boot());
        match self.lagged_ms.load(Ordering::Relaxed) {
            0 => by_lease,
            // Also when the lease was renewed since: the answer was not.
            ms => by_lease.stalest(Freshness::Stale { ms }),
        }
    }
}

impl Inner {
    /// Asks the loop, waits for its answer.
    pub(in crate::shard) async fn ask<T>(
        &self,
        deadline: Instant,
        input: impl FnOnce(oneshot::Sender<T>) -> Input,
    ) -> Result<T, ShardError> {
        let (answer, answered) = oneshot::channel();
        let wait = async {
            // Either way the loop is gone.
            self.inputs
                .send(input(answer))
                .await
                .ok()
                .ok_or(ShardError::NotOwner)?;
            answered.await.ok().ok_or(ShardError::NotOwner)
        };
        tokio::time::timeout_at(deadline.into(), wait)
            .await
            .unwrap_or_else(|_| {
                Err(Problem::unavailable("the shard did not answer in time; retry").into())
            })
    }

    /// A ticket for a reader who participates. May wait for the commit of what changes the
    /// participants.
    pub(in crate::shard) async fn begin(
        &self,
        conversation: &ConversationName,
        reader: &UserId,
        want: Want,
        reading: &Reading,
    ) -> Result<Ticket, ShardError> {
        let (name, of, wanted) = (conversation.clone(), reader.clone(), want.clone());
        let asked = self.ask(reading.deadline, |answer| Input::Begin {
            conversation: name,
            reader: of,
            want,
            answer,
        });
        tokio::select! {
            biased;
            ticket = asked => Ok(ticket??),
            () = self.lease_ended(reading, LOOP_WAIT) => {
                Box::pin(self.begin_behind(conversation, reader, &wanted, reading)).await
            }
        }
    }

    /// Whether a conversation of this shard was closed after the ticket was made: rows of it may be
    /// missing in what was gathered.
    pub(super) fn closed_since(&self, ticket: &Ticket) -> bool {
        *self.closings.borrow() != ticket.closings
    }

    /// What was gathered may be given to its reader: they participate still.
    pub(in crate::shard) async fn still_in(
        &self,
        name: &ConversationName,
        reader: &UserId,
        reading: &Reading,
    ) -> Result<(), ShardError> {
        Box::pin(self.begin(name, reader, Want::Tail, reading))
            .await
            .map(drop)
    }

    /// Waits until SQLite has these offsets.
    pub(in crate::shard) async fn barrier(
        &self,
        touched: PerStream<Offset>,
        reading: &Reading,
    ) -> Result<(), ShardError> {
        let deadline = reading
            .deadline
            .min(Instant::now() + self.config.barrier_max);
        for (stream, offset) in touched {
            let mut applied = self.applied(stream);
            if applied.borrow_and_update().offset >= offset {
                continue;
            }
            self.hurry(stream);
            tokio::select! {
                biased;
                reached = applied.wait_for(|tail| tail.offset >= offset) => drop(reached.ok().ok_or(ShardError::NotOwner)?),
                () = self.lease_ended(reading, Duration::ZERO) => self.lags(reading),
                () = tokio::time::sleep_until(deadline.into()) => {
                    let detail = "the shard's worker is behind; an answer now would lack what was acknowledged, retry";
                    return Err(Problem::new(Code::Lagging, detail).into());
                }
            }
        }
        Ok(())
    }

    fn lags(&self, reading: &Reading) {
        reading.lagged_ms.fetch_max(
            self.lease.age_ms(self.clock.since_boot()),
            Ordering::Relaxed,
        );
    }

    /// Waits until the lease has ended, and `longer` at least; for ever when the reading may not go
    /// on then.
    async fn lease_ended(&self, reading: &Reading, longer: Duration) {
        if !reading.may_lag || self.lease.never_ends() {
            return std::future::pending().await;
        }
        tokio::time::sleep(longer).await;
        loop {
            match self.lease.remaining(self.clock.since_boot()) {
                None => return std::future::pending().await,
                // Ended by this owner itself: that lasts a moment, and mostly ends the shard here.
                Some(Duration::ZERO) if *self.giving.borrow() && self.settled().await => {}
                Some(Duration::ZERO) => return,
                // It may be renewed meanwhile.
                Some(left) => tokio::time::sleep(left.min(LOOK_EVERY)).await,
            }
        }
    }

    /// A ticket of what is committed, while the loop's own waits for the silent log: the file's
    /// head with the committed tail in memory folded over it.
    async fn begin_behind(
        &self,
        name: &ConversationName,
        reader: &UserId,
        want: &Want,
        reading: &Reading,
    ) -> Result<Ticket, ShardError> {
        self.lags(reading);
        let conversation = name.clone();

        // The tail first: what the file gains meanwhile is passed over.
        let mut ticket: Ticket = self
            .ask(reading.deadline, |answer| Input::Tail {
                conversation,
                answer,
            })
            .await?;
        let mut head = self.store.head(name).await?.map(Head::filled);

        for event in &ticket.tail {
            match &mut head {
                None => head = Head::begun(event, Offset(0)),
                Some(head) if event.seq > head.last_seq => head.advance(event),
                Some(_) => {}
            }
        }

        let head = head.ok_or_else(not_participant)?;
        if !head.has(reader) {
            return Err(head.refusal(reader).into());
        }
        ticket.last_seq = head.last_seq;
        let now_ms = self.clock.now_ms();

        match want {
            Want::Tail => {}
            Want::View => ticket.view = Some(head.view(name, reader, now_ms)),
            Want::Participants { after, limit } => {
                ticket.participants = Some(page_of(&head, (after.as_ref(), *limit), now_ms));
            }
            Want::May(action) => {
                head.may(reader, *action)?;
                ticket.view = Some(head.view(name, reader, now_ms));
            }
        }

        Ok(ticket)
    }

    /// The ticket with the seq since which its reader is in, by the file.
    pub(in crate::shard) async fn with_joined(
        &self,
        conversation: &ConversationName,
        user: &UserId,
        ticket: Ticket,
        reading: &Reading,
    ) -> Result<Ticket, ShardError> {
        self.barrier(
            PerStream {
                receipts: Offset(0),
                ..ticket.touched
            },
            reading,
        )
        .await?;

        let head = self.store.head(conversation).await?.map(Head::filled);
        let standing = head.as_ref().and_then(|head| head.participants.get(user));
        // Meanwhile the removal was committed, and applied.
        let gone = || Problem::unavailable("the participants change; ask again");

        Ok(Ticket {
            joined: standing.ok_or_else(gone)?.joined,
            ..ticket
        })
    }
}
