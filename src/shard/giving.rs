//! The owner's part of a hand-over (ADR 19): the shard stands still, then its token is given to
//! another node.

use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::ids::NodeId;
use crate::log::record::{OutboxPosition, Tail};
use crate::log::{Claim, ClaimOutcome, Control, PerStream, ShardLog, Token};
use crate::shard::command::{Delivered, ShardError};
use crate::shard::handle::ShardHandle;
use crate::shard::state::Inner;
use crate::shard::write::owner::Input;

/// Attempts to give while only the beat moves, which renewals do.
const GIVES_MAX: u32 = 8;

/// How long an answer of the shard waits for the end of an attempt to give it away.
const SETTLED_WITHIN: Duration = Duration::from_millis(250);

/// How long a shard that stands still waits for rows of its outbox that are on their way.
const ROWS_WITHIN: Duration = Duration::from_millis(100);

/// A shard that decides nothing and has nothing on its way. It goes on when this is dropped, unless
/// it was given away.
#[derive(Debug)]
pub(crate) struct Still {
    handle: ShardHandle,
    tails: PerStream<Tail>,
}

/// How an attempt to give a shard away ended.
#[derive(Debug)]
pub(crate) enum Given {
    /// It is the other node's, by this token. The marks were gathered here and are for whoever owns
    /// it.
    Away {
        /// The token that the log holds now.
        token: Token,
        /// Delivered marks of sessions that nobody has decided.
        marks: Vec<Delivered>,
    },
    /// It surely is not: the shard goes on here. One sentence.
    Kept(String),
    /// Nobody here knows. The shard decides nothing until its next renewal says whose it is. One
    /// sentence.
    InDoubt(String),
    /// Somebody else has taken it meanwhile; it ends here.
    Taken,
}

impl ShardHandle {
    /// Has the shard stand still: nothing is decided from now on, and what was is committed and
    /// answered. Dropping the future, or what it returns, has it go on.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`] when it has ended; `unavailable` when that is not so by `deadline`,
    /// or when nothing proves the ownership.
    pub(crate) async fn stand_still(&self, deadline: Instant) -> Result<Still, ShardError> {
        if !self.is_proven() {
            return Err(crate::problem::Problem::unavailable(
                "the ownership of this shard is not proven now",
            )
            .into());
        }
        // Made first, so that it is released however this ends.
        let mut still = Still {
            handle: self.clone(),
            tails: PerStream::both(Tail::EMPTY),
        };
        still.tails = self.0.ask(deadline, Input::Hold).await?;
        self.rows_arrive(deadline).await;
        Ok(still)
    }

    /// Waits for rows of the outbox that are on their way, so that whoever waits for them is
    /// answered here; not for long, for they may lead to a shard that nobody serves.
    async fn rows_arrive(&self, deadline: Instant) {
        let upto = OutboxPosition {
            offset: *self.0.outbox_due.borrow(),
            index: u32::MAX,
        };
        let mut done = self.0.outbox.done.subscribe();
        let until = deadline.min(Instant::now() + ROWS_WITHIN);
        drop(
            tokio::time::timeout_at(
                until.into(),
                done.wait_for(|reached| reached.prefix() >= upto),
            )
            .await,
        );
    }
}

impl Still {
    /// Where its streams end.
    #[must_use]
    pub(crate) fn tails(&self) -> PerStream<Tail> {
        self.tails
    }

    /// Gives the shard to another node, in one step in the log. Whoever calls this has made sure
    /// that the other holds everything up to [`Still::tails`]. Dropped before its end, it is as
    /// [`Given::InDoubt`].
    pub(crate) async fn give(self, log: &dyn ShardLog, to: &NodeId) -> Given {
        let inner = &self.handle.0;
        let _giving = Giving::begin(&inner.giving);
        let mut control = match log.control(inner.shard).await {
            Ok(Some(control)) if control.token == inner.token => control,
            Ok(Some(_)) => return self.taken(),
            Ok(None) => return Given::Kept("the log has no control record of it".to_owned()),
            Err(error) => return Given::Kept(error.to_string()),
        };

        for _ in 0..GIVES_MAX {
            // After the beat was read, and before the claim is sent: a renewal that was sent
            // earlier and counts here would have moved the beat, and one that is sent later either
            // moves it or is told that the token is gone.
            inner.lease.end(inner.clock.since_boot());
            match log.claim(self.claim(&control, to)).await {
                Ok(ClaimOutcome::Claimed(given)) => return self.away(given.token).await,
                Ok(ClaimOutcome::Refused(Some(found))) if found.token != inner.token => {
                    return self.taken();
                }
                Ok(ClaimOutcome::Refused(Some(found))) if found.beat != control.beat => {
                    control = found
                }
                Ok(ClaimOutcome::Refused(found)) => {
                    inner.lease.go_on();
                    let ends = found.map(|found| found.tails.map(|tail| tail.offset));
                    return Given::Kept(format!(
                        "its streams end at {ends:?}, and not where this owner left them"
                    ));
                }
                Err(error) => return Given::InDoubt(error.to_string()),
            }
        }

        inner.lease.go_on();
        Given::Kept("its beat moves all the time".to_owned())
    }

    fn claim(&self, control: &Control, to: &NodeId) -> Claim {
        let inner = &self.handle.0;
        let epoch = inner
            .token
            .epoch
            .max(inner.store.progress().max_epoch)
            .next();
        Claim {
            shard: inner.shard,
            expected: Some((control.token, control.beat)),
            token: Token::new(epoch),
            owner: to.clone(),
            identity: control.identity,
            begin_at: self.tails,
            ends_at: Some(self.tails),
        }
    }

    /// Ends the shard here, for it is another node's.
    async fn away(&self, token: Token) -> Given {
        self.handle.0.lease.lose();
        let (answer, answered) = oneshot::channel();
        self.handle.tell(Input::Given(answer));
        let marks = answered.await.unwrap_or_default();
        // Whoever waits for the end of the attempt finds it closed.
        self.handle.closed().await;
        Given::Away { token, marks }
    }

    fn taken(&self) -> Given {
        self.handle.renewed(self.handle.0.clock.since_boot(), false);
        Given::Taken
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.handle.tell(Input::Release);
    }
}

/// While it lives, answers of the shard wait.
struct Giving<'a>(&'a watch::Sender<bool>);

impl<'a> Giving<'a> {
    fn begin(giving: &'a watch::Sender<bool>) -> Self {
        giving.send_replace(true);
        Self(giving)
    }
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Inner {
    /// Waits, for a moment at most, until it is known whether the shard was given away. False when
    /// it is not known then.
    pub(super) async fn settled(&self) -> bool {
        if !*self.giving.borrow() {
            return true;
        }
        let mut giving = self.giving.subscribe();
        let settled = giving.wait_for(|giving| !giving);
        tokio::time::timeout(SETTLED_WITHIN, settled).await.is_ok()
    }
}
