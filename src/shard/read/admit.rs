//! How a subscriber is let in: its interest is registered, and it gets what it missed.

use std::sync::Arc;
use std::time::Instant;

use crate::ids::{Offset, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::Event;
use crate::problem::Problem;
use crate::shard::command::{Interest, ShardError, Subscribed};
use crate::shard::read::barrier::Reading;
use crate::shard::read::shown::{is_changed_after, withheld};
use crate::shard::state::Inner;
use crate::shard::status::IndexPage;
use crate::shard::write::owner::{Admission, Input, Ticket};
use crate::shard::write::subscriptions::Subscriber;

/// The last event of a closed conversation, for one who took part then and has not seen it.
fn closed(interest: &Interest, event: Arc<Event>) -> Subscribed {
    if interest.after.is_some_and(|after| after >= event.seq) {
        return Subscribed::NotParticipant;
    }
    Subscribed::Closed { event }
}

impl Inner {
    /// Answers one interest of a subscriber.
    pub(in crate::shard) async fn admit(
        &self,
        subscriber: &Subscriber,
        interest: Interest,
        deadline: Instant,
    ) -> Subscribed {
        match self
            .try_admit(subscriber, interest, &Reading::whole(deadline))
            .await
        {
            Ok(subscribed) => subscribed,
            Err(ShardError::Problem(problem)) => Subscribed::Failed(problem),
            Err(ShardError::NotOwner) => {
                Subscribed::Failed(Problem::unavailable("the shard moves; ask again"))
            }
        }
    }

    async fn try_admit(
        &self,
        subscriber: &Subscriber,
        interest: Interest,
        reading: &Reading,
    ) -> Result<Subscribed, ShardError> {
        let (name, of) = (interest.conversation.clone(), interest.user.clone());
        let subscriber = subscriber.clone();
        let asked = self.ask(reading.deadline, |answer| Input::Subscribe {
            subscriber,
            conversation: name,
            user: of,
            answer,
        });

        match asked.await?? {
            Admission::Leaving(ticket) => {
                let ticket = self
                    .with_joined(&interest.conversation, &interest.user, ticket, reading)
                    .await?;
                self.live(&interest, ticket, reading).await
            }
            Admission::Participant(ticket) => self.live(&interest, ticket, reading).await,
            Admission::Stranger(ticket) => self.ended(&interest, ticket, reading).await,
            Admission::Closed(None) => Ok(Subscribed::NotParticipant),
            Admission::Closed(Some(event)) => Ok(closed(&interest, event)),
        }
    }

    /// What a participant missed up to the committed tail. What is after it comes as a push.
    async fn live(
        &self,
        interest: &Interest,
        ticket: Ticket,
        reading: &Reading,
    ) -> Result<Subscribed, ShardError> {
        let Interest {
            conversation,
            user,
            after,
            limit,
            since,
        } = interest;
        let (tail, joined) = (ticket.last_seq, ticket.joined);
        let (mut events, pruned) = match *after {
            Some(after) if after < tail => {
                self.events(conversation, after, *limit, &ticket).await?
            }
            _ => (Vec::new(), Seq(0)),
        };
        // SQLite may have gone on meanwhile; what is after the tail comes as a push.
        events.retain(|event| event.seq <= tail);
        if (is_changed_after(&events, tail) || self.closed_since(&ticket))
            && self.still_in(conversation, user, reading).await.is_err()
        {
            return Err(Problem::unavailable("the participants change; ask again").into());
        }

        let departed = match *since {
            Some(since) => {
                self.left_applied(&ticket, reading).await?;
                let left = self.store.last_left(conversation, user).await?;
                left.filter(|left| *left > since && *left < joined)
            }
            None => None,
        };
        Ok(Subscribed::Live {
            tail,
            joined,
            events,
            departed,
            pruned,
        })
    }

    /// What somebody who is out missed up to their own `left`, when they were in after their
    /// position.
    async fn ended(
        &self,
        interest: &Interest,
        ticket: Ticket,
        reading: &Reading,
    ) -> Result<Subscribed, ShardError> {
        let Interest {
            conversation,
            user,
            after,
            limit,
            since,
        } = interest;
        let Some(after) = *after else {
            return Ok(Subscribed::NotParticipant);
        };
        self.left_applied(&ticket, reading).await?;
        let Some((joined, left)) = self.store.departure(conversation, user).await? else {
            return Ok(Subscribed::NotParticipant);
        };
        if after.next() < joined || after >= left {
            return Ok(Subscribed::NotParticipant);
        }

        let (mut events, pruned) = self.events(conversation, after, *limit, &ticket).await?;
        events.retain(|event| event.seq <= left);
        withheld(&mut events, left);
        let departed = match *since {
            Some(since) => {
                let within = (since, joined);
                let found = self.store.left_within(conversation, user, within).await?;
                // Where what was between is gone, it may have been theirs.
                let gone = pruned.min(Seq(joined.0.saturating_sub(1)));
                found.or_else(|| Some(gone).filter(|gone| *gone > since))
            }
            None => None,
        };
        Ok(Subscribed::Ended {
            left,
            events,
            departed,
            pruned: pruned.min(left),
        })
    }

    /// Waits until the file has all events of the conversation up to the ticket: the last `left` of
    /// a user may be in memory only, with the join before it.
    async fn left_applied(&self, ticket: &Ticket, reading: &Reading) -> Result<(), ShardError> {
        self.barrier(
            PerStream {
                receipts: Offset(0),
                ..ticket.touched
            },
            reading,
        )
        .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "who, whose, what is missing, until when"
    )]
    pub(in crate::shard) async fn index_page(
        &self,
        subscriber: &Subscriber,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, ShardError> {
        let reading = Reading::whole(deadline);
        let (subscriber, of) = (subscriber.clone(), user.clone());
        let touched = self
            .ask(deadline, |answer| Input::SubscribeIndex {
                subscriber,
                user: of,
                answer,
            })
            .await?;
        self.barrier(
            PerStream {
                messages: touched,
                receipts: Offset(0),
            },
            &reading,
        )
        .await?;

        let mut items = self
            .store
            .index_since(&user, after, limit.saturating_add(1))
            .await?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(IndexPage { items, more })
    }
}
