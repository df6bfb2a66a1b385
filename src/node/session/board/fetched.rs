//! Spans that owners gave, taken to the sessions that fetched them: what is shown, what is a gap,
//! and where a cursor ends.

use std::sync::Arc;

use crate::ids::{ConversationName, Seq, SessionId};
use crate::log::record::Event;
use crate::node::session::board::Board;
use crate::node::session::board::advance::Fetched;
use crate::node::session::board::entries::{Interest, Membership, Origin, Place};
use crate::node::session::board::state::{Cursor, Cut, Gap};
use crate::node::session::board::work::{Ask, Fetch};
use crate::node::session::window::Session;
use crate::protocol::{GapReason, RESUME_EVENTS_MAX};
use crate::shard::command::Subscribed;

/// What an owner told of a span beside its events.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The tail, or the user's own `left`.
    end: Seq,
    /// Everything up to there is gone.
    pruned: Seq,
    /// An earlier `left` of the user.
    departed: Option<Seq>,
}

impl Board {
    /// Spans for a session came.
    pub(in crate::node::session) fn fetched(&mut self, fetch: &Fetch, answers: Vec<Subscribed>) {
        let mut any = false;
        for (ask, answer) in fetch.asks.iter().zip(answers) {
            any |= self.span(fetch.session, ask, answer) == Fetched::Progress;
        }
        self.fetch_done(fetch, any);
        self.tell_progress(fetch.session);
        self.pump(fetch.session);
    }

    fn span(&mut self, id: SessionId, ask: &Ask, answer: Subscribed) -> Fetched {
        let Ask {
            conversation, user, ..
        } = ask;
        if self
            .users
            .get(user)
            .is_none_or(|known| known.generation != ask.generation)
        {
            if matches!(answer, Subscribed::Live { .. }) && !self.users.contains_key(user) {
                self.work.ended.push((conversation.clone(), user.clone()));
            }
            return Fetched::Progress;
        }

        let Some(place) = self
            .feeds
            .get_mut(conversation)
            .and_then(|feed| feed.place(user, id))
        else {
            return Fetched::Progress;
        };

        let (Cursor::Behind { .. }, true) = (place.cursor, place.cursor.seq() == ask.after) else {
            // Set anew meanwhile: not the answer to where it stands now.
            if matches!(place.cursor, Cursor::Behind { .. }) {
                self.requeue(id, conversation);
            }
            return Fetched::Progress;
        };

        let session = Arc::clone(&place.session);
        self.span_told(&session, ask, answer)
    }

    /// A span came for where a session stands.
    fn span_told(&mut self, session: &Session, ask: &Ask, answer: Subscribed) -> Fetched {
        let Ask {
            conversation, user, ..
        } = ask;
        let id = session.id;
        match answer {
            Subscribed::Live {
                tail,
                joined,
                events,
                departed,
                pruned,
            } => {
                let span = Span {
                    end: tail,
                    pruned,
                    departed,
                };
                self.span_inside(id, ask, (span, joined), &events)
            }
            Subscribed::Ended {
                left,
                events,
                departed,
                pruned,
            } => {
                let span = Span {
                    end: left,
                    pruned,
                    departed,
                };
                self.span_ended(id, ask, span, &events)
            }
            Subscribed::Closed { event } => self.span_closed(id, ask, &event),
            // The refusal is older than what is known of their memberships.
            Subscribed::NotParticipant if self.changed_since(ask).is_some() => {
                self.requeue(id, conversation);
                Fetched::Nothing
            }
            Subscribed::NotParticipant => {
                let after = ask.after.unwrap_or_default();
                session.tell_gap(conversation, Some(not_participant(after)));
                self.note_left(user, conversation, None);
                // The gap stands for every membership that was known when it was asked.
                self.end_place(id, ask, after.max(ask.told));
                Fetched::Progress
            }
            Subscribed::Failed(_) => {
                self.requeue(id, conversation);
                Fetched::Nothing
            }
        }
    }

    /// A span for a user who is in, up to the tail, since `joined`.
    fn span_inside(
        &mut self,
        id: SessionId,
        ask: &Ask,
        (span, joined): (Span, Seq),
        events: &[Arc<Event>],
    ) -> Fetched {
        let Ask {
            conversation, user, ..
        } = ask;
        let stale = self.note_member(user, conversation, joined, span.end);
        self.note_tail(ask, span.end);
        if !stale {
            self.note_interest(ask);
        }
        if self.sets_back(id, ask, span.departed) {
            self.note_place(id, conversation);
            self.requeue(id, conversation);
            return Fetched::Progress;
        }
        self.advance(id, ask, (span.pruned, span.end), events)
    }

    /// A span for a user who is out, up to their `left`.
    fn span_ended(
        &mut self,
        id: SessionId,
        ask: &Ask,
        span: Span,
        events: &[Arc<Event>],
    ) -> Fetched {
        let Ask {
            conversation, user, ..
        } = ask;
        let left = span.end;
        self.note_left(user, conversation, Some(left));
        self.tell_departed(id, ask, span.departed);
        let fetched = self.advance(id, ask, (span.pruned, left), events);
        let feed = self.feeds.get_mut(conversation);
        let at = feed
            .and_then(|feed| feed.place(user, id))
            .and_then(|now| now.cursor.seq());
        if at.is_some_and(|at| at >= left) {
            self.end_place(id, ask, left);
            return Fetched::Progress;
        }
        fetched
    }

    /// The conversation was deleted when the user took part: its last event, and a gap for all that
    /// they miss before it.
    fn span_closed(&mut self, id: SessionId, ask: &Ask, event: &Arc<Event>) -> Fetched {
        let place = self.feeds.get_mut(&ask.conversation);
        if let Some(place) = place.and_then(|feed| feed.place(&ask.user, id)) {
            place.origin = Origin::Position;
            let gap = place.cursor.pass_to(event.seq);
            place.session.tell_gap(&ask.conversation, gap);
        }
        let span = Span {
            end: event.seq,
            pruned: Seq(0),
            departed: None,
        };
        self.span_ended(id, ask, span, std::slice::from_ref(event))
    }

    /// A cursor that starts with a `joined` and had to be fetched at once: true when it goes back
    /// to the memberships before that, of which nothing was known.
    fn sets_back(&mut self, id: SessionId, ask: &Ask, departed: Option<Seq>) -> bool {
        let Some((place, since)) = self.starts_with_joined(id, ask) else {
            return false;
        };
        place.origin = Origin::Position;
        let Some(_) = departed.filter(|left| *left > since) else {
            return false;
        };

        let position = ask.after.unwrap_or_default();
        if position.0.saturating_sub(since.0) > RESUME_EVENTS_MAX {
            let gap = Gap {
                from: since.next(),
                to: position,
                reason: GapReason::TooFar,
            };
            place.session.tell_gap(&ask.conversation, Some(gap));
            return false;
        }

        place.cursor = Cursor::Behind {
            seq: since,
            cut: Cut::Never,
        };
        place.origin = Origin::Memberships { inside: false };
        true
    }

    /// Likewise, when that membership has ended too: what was before it is not given to who is out,
    /// and told as a gap.
    fn tell_departed(&mut self, id: SessionId, ask: &Ask, departed: Option<Seq>) {
        let Some((place, since)) = self.starts_with_joined(id, ask) else {
            return;
        };
        place.origin = Origin::Position;
        if departed.is_some_and(|left| left > since) {
            place
                .session
                .tell_gap(&ask.conversation, Some(not_participant(since)));
        }
    }

    fn starts_with_joined(&mut self, id: SessionId, ask: &Ask) -> Option<(&mut Place, Seq)> {
        let place = self
            .feeds
            .get_mut(&ask.conversation)?
            .place(&ask.user, id)?;
        match place.origin {
            Origin::Joined { since } => Some((place, since)),
            Origin::Position | Origin::Memberships { .. } => None,
        }
    }

    /// A fetch registers the interest too.
    fn note_interest(&mut self, ask: &Ask) {
        if let Some(feed) = self
            .feeds
            .get_mut(&ask.conversation)
            .filter(|feed| feed.round == ask.round)
        {
            let member = feed.member(&ask.user);
            if member.interest == Interest::None {
                member.interest = Interest::Live;
            }
        }
    }

    /// Back into the queue; fetched when the rest of this batch is done.
    pub(super) fn requeue(&mut self, id: SessionId, conversation: &ConversationName) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            let shard = self.map.shard_of(conversation.slot());
            entry
                .spans
                .entry(shard)
                .or_default()
                .queue
                .push_back(conversation.clone());
        }
    }

    /// The session has all that it may have of a conversation up to `left`. If the user is in
    /// again, it starts with their `joined`; if another membership has ended since, it is looked at
    /// too.
    fn end_place(&mut self, id: SessionId, ask: &Ask, left: Seq) {
        let Ask {
            conversation, user, ..
        } = ask;
        if let Some(member) = self
            .feeds
            .get_mut(conversation)
            .and_then(|feed| feed.members.get_mut(user))
        {
            member.places.retain(|place| place.session.id != id);
        }

        self.note_out(id, conversation);
        self.settle(id, conversation, false);
        let membership = self
            .users
            .get(user)
            .and_then(|known| known.memberships.get(conversation))
            .copied();
        match membership {
            Some(Membership { seq, joined: true }) if seq > left => {
                self.start_joined(id, conversation, seq, left);
                self.ask_anew(user, conversation);
            }
            Some(Membership { seq: Seq(0), .. }) => {
                let feed = self
                    .feeds
                    .get(conversation)
                    .and_then(|feed| feed.members.get(user));
                let others = feed.is_some_and(|member| !member.places.is_empty());
                if let Some(known) = self.users.get_mut(user).filter(|_| !others) {
                    known.memberships.remove(conversation);
                }
                self.drop_member_if_idle(user, conversation);
            }
            Some(Membership { seq, joined: false }) if seq > left => {
                self.start_ended(id, conversation, left);
            }
            _ => self.drop_member_if_idle(user, conversation),
        }
    }
}

/// What follows a position is not given to who is out.
fn not_participant(position: Seq) -> Gap {
    Gap {
        from: position.next(),
        to: position.next(),
        reason: GapReason::NotParticipant,
    }
}
