//! Tickets for readers: what the loop knows of a conversation that SQLite may not have yet.

use std::ops::Bound;

use tokio::sync::oneshot;

use crate::ids::{ConversationName, Offset, Seq, UserId};
use crate::log::PerStream;
use crate::problem::Problem;
use crate::protocol::{Page, Participant};
use crate::shard::write::head::{Head, not_participant};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::input::{Admission, Ticket, Waiter, Want};
use crate::shard::write::subscriptions::Subscriber;

impl Owner {
    pub(super) fn begin(
        &mut self,
        name: &ConversationName,
        reader: &UserId,
        want: &Want,
        answer: oneshot::Sender<Result<Ticket, Problem>>,
    ) {
        let Some(state) = self.conversations.get(name) else {
            return;
        };
        let mut until = state.members_changed;
        let outcome = match state.head() {
            None => Err(not_participant()),
            Some(head) if !head.has(reader) => Err(head.refusal(reader)),
            Some(head) => {
                let mut ticket = self.ticket(name, reader);
                match want {
                    Want::Tail => {}
                    Want::View | Want::May(_) => {
                        let last = state.tail.back().map_or(Offset(0), |(offset, _)| *offset);
                        until = last.max(until);
                        ticket.view = Some(head.view(name, reader, self.now()));
                    }
                    Want::Participants { after, limit } => {
                        let page = page_of(head, (after.as_ref(), *limit), self.now());
                        ticket.participants = Some(page);
                    }
                }
                if let Want::May(action) = want {
                    // It is committed by the time that this is told.
                    let touched = &mut ticket.touched.messages;
                    *touched = state.bans_touched.max(*touched);
                    head.may(reader, *action).map(|_role| ticket)
                } else {
                    Ok(ticket)
                }
            }
        };

        if until <= self.appenders.messages.committed().offset || answer.is_closed() {
            answer.send(outcome).ok();
        } else if let Some(problem) = self.too_many_rest() {
            answer.send(Err(problem)).ok();
        } else {
            let (conversation, reader, want) = (name.clone(), reader.clone(), want.clone());
            let outcome = Box::new(outcome);
            self.appenders.messages.wait(
                until,
                Waiter::Ticket {
                    conversation,
                    reader,
                    want,
                    answer,
                    outcome,
                },
            );
        }
    }

    /// Registers interest, at the committed tail: a user whose joining is on its way is asked for
    /// again when it is committed. Of one whose leaving is on its way all that is committed is
    /// theirs until then, however long that takes.
    pub(super) fn subscribe(
        &mut self,
        name: &ConversationName,
        subscriber: Subscriber,
        user: UserId,
        answer: oneshot::Sender<Result<Admission, Problem>>,
    ) {
        let committed = self.appenders.messages.committed().offset;
        let Some(state) = self.conversations.get(name) else {
            return;
        };

        if state.is_leaving(&user, committed) {
            let ticket = self.committed_ticket(name);
            if !answer.is_closed() {
                self.subscriptions.add(&subscriber, name, &user);
                answer.send(Ok(Admission::Leaving(ticket))).ok();
            }
            return;
        }

        if let Some(until) = state.standing_changes(&user, committed) {
            if let Some(problem) = self.too_many_rest() {
                return drop(answer.send(Err(problem)));
            }
            let conversation = name.clone();
            return self.appenders.messages.wait(
                until,
                Waiter::Subscribe {
                    subscriber,
                    conversation,
                    user,
                    answer,
                },
            );
        }

        let participates = state.head().is_some_and(|head| head.has(&user));
        let closed = state.head().filter(|head| head.closed.is_some());
        let closed = closed.map(|head| head.closed_to(name, &user));
        let ticket = self.ticket(name, &user);
        if answer.is_closed() {
            return;
        }

        let admission = if participates {
            self.subscriptions.add(&subscriber, name, &user);
            Admission::Participant(ticket)
        } else if let Some(event) = closed {
            Admission::Closed(event)
        } else {
            Admission::Stranger(ticket)
        };
        answer.send(Ok(admission)).ok();
    }

    /// What the loop knows of a conversation that SQLite may not have yet.
    pub(super) fn ticket(&self, name: &ConversationName, reader: &UserId) -> Ticket {
        let Some(state) = self.conversations.get(name) else {
            return Ticket::default();
        };
        let standing = state.head().and_then(|head| head.participants.get(reader));
        Ticket {
            joined: standing.map_or(Seq(0), |standing| standing.joined),
            ..self.committed_ticket(name)
        }
    }

    /// Likewise, whoever reads.
    pub(super) fn committed_ticket(&self, name: &ConversationName) -> Ticket {
        let Some(state) = self.conversations.get(name) else {
            return Ticket::default();
        };
        let (committed, receipts) = (
            self.appenders.messages.committed().offset,
            self.appenders.receipts.committed().offset,
        );

        Ticket {
            tail: state.committed_tail(committed),
            last_seq: state.committed_seq(committed),
            touched: PerStream {
                messages: state
                    .messages_touched(committed)
                    .max(state.bans_touched.min(committed)),
                receipts: state.receipts_touched.min(receipts),
            },
            reaction: state.reaction_touched.min(receipts),
            closings: *self.setup.closings.borrow(),
            ..Ticket::default()
        }
    }

    /// Offsets to wait for before SQLite has everything committed of these conversations, and of a
    /// user's index.
    pub(super) fn touched(
        &self,
        conversations: &[ConversationName],
        user: Option<&UserId>,
    ) -> PerStream<Offset> {
        let committed = self
            .appenders
            .each_ref()
            .map(|appender| appender.committed().offset);
        let of_index = user
            .and_then(|user| self.index_touched.get(user))
            .copied()
            .unwrap_or_default();
        let mut touched = PerStream {
            messages: of_index.min(committed.messages),
            receipts: Offset(0),
        };

        for state in conversations
            .iter()
            .filter_map(|name| self.conversations.get(name))
        {
            touched.messages = touched
                .messages
                .max(state.messages_touched(committed.messages));
            touched.receipts = touched
                .receipts
                .max(state.receipts_touched.min(committed.receipts));
        }

        touched
    }
}

/// A page of the participants of a head, by name.
pub(in crate::shard) fn page_of(
    head: &Head,
    (after, limit): (Option<&UserId>, u32),
    now_ms: u64,
) -> Page<Participant> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut users = head
        .participants
        .range::<UserId, _>((from, Bound::Unbounded));
    let items: Vec<Participant> = users
        .by_ref()
        .take(limit as usize)
        .map(|(user, standing)| head.shown(user, standing, now_ms))
        .collect();
    let next = users
        .next()
        .and_then(|_| items.last())
        .map(|last| last.name.to_string());
    Page {
        items,
        next,
        partial: false,
    }
}
