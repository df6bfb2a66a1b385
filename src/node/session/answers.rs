//! What owners answered, taken to the cursors: tails of subscriptions, and spans for sessions that are behind.

use std::sync::Arc;

use crate::ids::{ConversationName, Seq, SessionId, UserId};
use crate::node::render;
use crate::node::session::board::Board;
use crate::node::session::entries::{Interest, Member, Membership, Origin};
use crate::node::session::outbox;
use crate::node::session::state::{Cursor, Gap};
use crate::node::session::work::{Ask, Fetch};
use crate::planted::{self, Protection};
use crate::protocol::{GapReason, RESUME_EVENTS_MAX};
use crate::shard::command::Subscribed;
use crate::shard::log::record::Event;

/// How often an owner is asked again whose tail is older than what we know of a membership. After that its word stands:
/// it lost that change.
const STALE_ATTEMPTS_MAX: u32 = 8;

/// What a span did for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetched {
    /// It went on, or there was no room.
    Progress,
    /// Nothing came: try later.
    Nothing,
}

impl Board {
    /// A subscription was answered.
    pub(super) fn subscribed(&mut self, ask: &Ask, answer: Subscribed) {
        let Ask { conversation, user, .. } = ask;
        if !self.is_current(ask, &answer) {
            return;
        }
        match answer {
            Subscribed::Live { tail, joined, events, departed } => {
                let stale = self.note_member(user, conversation, joined, tail);
                if self.asks_too_little(ask) {
                    self.ask_again(ask, 0);
                    return;
                }
                if stale && ask.attempt < STALE_ATTEMPTS_MAX {
                    // Answered before a change of his membership that we know of, which may have ended the interest.
                    self.ask_again(ask, ask.attempt.saturating_add(1));
                    return;
                }
                let lost = self.note_tail(ask, tail);
                if !lost {
                    for event in &events {
                        self.deliver(event, true);
                    }
                }
                self.set_back(ask, joined, departed);
                self.subscription_holds(user, conversation, tail, lost);
            }
            Subscribed::Ended { .. } | Subscribed::NotParticipant if self.joined_since(ask) => {
                self.ask_again(ask, ask.attempt.saturating_add(1));
            }
            Subscribed::Ended { left, .. } => self.not_subscribed(user, conversation, Some(left)),
            Subscribed::NotParticipant => self.not_subscribed(user, conversation, None),
            Subscribed::Failed(_) => self.ask_again(ask, ask.attempt.saturating_add(1)),
        }
    }

    /// True when the answer still means someone. An interest that nobody has any more is ended.
    fn is_current(&mut self, ask: &Ask, answer: &Subscribed) -> bool {
        let current = self.users.get(&ask.user).map(|known| known.generation);
        let member =
            self.feeds.get(&ask.conversation).and_then(|feed| Some((feed.round, feed.members.get(&ask.user)?)));
        match (current, member) {
            (Some(generation), Some((round, member))) if generation == ask.generation => {
                round == ask.round && member.interest == Interest::Asking
            }
            (None, _) if matches!(answer, Subscribed::Live { .. }) => {
                self.work.ended.push((ask.conversation.clone(), ask.user.clone()));
                false
            }
            _ => false,
        }
    }

    fn ask_again(&mut self, ask: &Ask, attempt: u32) {
        let floor = self.feeds.get(&ask.conversation).and_then(|feed| feed.known);
        let told = self.users.get(&ask.user).map_or(ask.told, |known| known.membership_seq(&ask.conversation));
        let member = self.feeds.get(&ask.conversation).and_then(|feed| feed.members.get(&ask.user));
        let since = member.and_then(Member::since);
        self.work.asks.push(Ask { attempt, since, floor, told, ..ask.clone() });
    }

    /// A cursor was started with a `joined` after this was asked: what it has to know was not asked for.
    fn asks_too_little(&self, ask: &Ask) -> bool {
        let member = self.feeds.get(&ask.conversation).and_then(|feed| feed.members.get(&ask.user));
        let needed = member.and_then(Member::since);
        needed.is_some_and(|since| ask.since.is_none_or(|asked| asked > since))
    }

    /// Cursors that start with the latest `joined` are set back when the user was in before, unseen, and left again at
    /// `departed`: they get those memberships too, or a gap when there is too much.
    fn set_back(&mut self, ask: &Ask, joined: Seq, departed: Option<Seq>) {
        let departed = departed.filter(|_| !planted::is_dropped(Protection::WholeStays));
        let member = self.feeds.get_mut(&ask.conversation).and_then(|feed| feed.members.get_mut(&ask.user));
        for place in member.into_iter().flat_map(|member| &mut member.places) {
            let Origin::Joined { since } = std::mem::replace(&mut place.origin, Origin::Position) else { continue };
            if departed.is_none_or(|left| left <= since) || !matches!(place.cursor, Cursor::Waiting { .. }) {
                continue;
            }
            if joined.0.saturating_sub(since.0) <= RESUME_EVENTS_MAX {
                place.cursor = Cursor::Waiting { position: Some(since) };
                place.origin = Origin::Memberships { inside: false };
            } else {
                let position = Seq(joined.0.saturating_sub(1));
                let gap = Gap { from: since.next(), to: position, reason: GapReason::TooFar };
                Self::tell_gap(&place.session, &ask.conversation, Some(gap));
                place.cursor = Cursor::Waiting { position: Some(position) };
            }
        }
    }

    /// The user is known to have been added after it was asked: a refusal is old.
    fn joined_since(&self, ask: &Ask) -> bool {
        let membership = self.users.get(&ask.user).and_then(|known| known.memberships.get(&ask.conversation));
        membership.is_some_and(|membership| membership.joined && membership.seq > ask.told)
    }

    /// Takes in that the owner at `tail` sees the user as a participant since `joined`; true when we know better.
    fn note_member(&mut self, user: &UserId, conversation: &ConversationName, joined: Seq, tail: Seq) -> bool {
        let Some(known) = self.users.get_mut(user) else { return true };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        if membership.seq > tail {
            return true;
        }
        *membership = Membership { seq: membership.seq.max(joined), joined: true };
        false
    }

    /// Takes in a tail; true when it went back behind what was known when it was asked for.
    fn note_tail(&mut self, ask: &Ask, tail: Seq) -> bool {
        let feed = self.feed(&ask.conversation);
        let lost = ask.floor.is_some_and(|floor| tail < floor) && ask.round == feed.round;
        if lost && feed.lost_in != Some(feed.round) {
            // Once a round: what is pushed afterwards belongs to the new history.
            feed.lost_in = Some(feed.round);
            feed.known = Some(tail);
        } else {
            feed.known = feed.known.max(Some(tail));
        }
        lost
    }

    fn subscription_holds(&mut self, user: &UserId, conversation: &ConversationName, tail: Seq, lost: bool) {
        let Some(feed) = self.feeds.get_mut(conversation) else { return };
        let known = feed.known.unwrap_or(tail);
        let Some(member) = feed.members.get_mut(user) else { return };
        member.interest = Interest::Live;
        let (mut live, mut behind) = (Vec::new(), Vec::new());
        for place in &mut member.places {
            let gap = place.cursor.subscribed(tail, known, lost);
            Self::tell_gap(&place.session, conversation, gap);
            match place.cursor {
                Cursor::Live { .. } => live.push(place.session.id),
                Cursor::Behind { .. } => behind.push(place.session.id),
                Cursor::Waiting { .. } => {}
            }
        }
        for id in live {
            self.settle(id, conversation, true);
        }
        for id in behind {
            self.enqueue(id, conversation);
        }
    }

    /// The owner refused: cursors that have a position fetch what they may still get, the others end without a word.
    fn not_subscribed(&mut self, user: &UserId, conversation: &ConversationName, left: Option<Seq>) {
        self.note_left(user, conversation, left);
        let Some(member) = self.feeds.get_mut(conversation).and_then(|feed| feed.members.get_mut(user)) else { return };
        member.interest = Interest::None;
        let (mut gone, mut behind) = (Vec::new(), Vec::new());
        member.places.retain_mut(|place| {
            place.cursor.fall_behind();
            let stays = place.cursor.seq().is_some();
            if stays {
                behind.push(place.session.id)
            } else {
                gone.push(place.session.id)
            }
            stays
        });
        for id in gone {
            self.settle(id, conversation, false);
        }
        for id in behind {
            self.enqueue(id, conversation);
        }
        self.drop_member_if_idle(user, conversation);
    }

    fn note_left(&mut self, user: &UserId, conversation: &ConversationName, left: Option<Seq>) {
        let Some(known) = self.users.get_mut(user) else { return };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        if left.is_none_or(|left| left >= membership.seq) {
            *membership = Membership { seq: membership.seq.max(left.unwrap_or_default()), joined: false };
        }
    }

    /// Spans for a session came.
    pub(super) fn fetched(&mut self, fetch: &Fetch, answers: Vec<Subscribed>) {
        let mut any = false;
        for (ask, answer) in fetch.asks.iter().zip(answers) {
            any |= self.span(fetch.session, ask, answer) == Fetched::Progress;
        }
        self.fetch_done(fetch, any);
        self.tell_progress(fetch.session);
        self.pump(fetch.session);
    }

    fn span(&mut self, id: SessionId, ask: &Ask, answer: Subscribed) -> Fetched {
        let Ask { conversation, user, .. } = ask;
        if self.users.get(user).is_none_or(|known| known.generation != ask.generation) {
            if matches!(answer, Subscribed::Live { .. }) && !self.users.contains_key(user) {
                self.work.ended.push((conversation.clone(), user.clone()));
            }
            return Fetched::Progress;
        }
        let Some(place) = self.feeds.get_mut(conversation).and_then(|feed| feed.place(user, id)) else {
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
        match answer {
            Subscribed::Live { tail, joined, events, .. } => {
                let stale = self.note_member(user, conversation, joined, tail);
                self.note_tail(ask, tail);
                if !stale {
                    self.note_interest(ask);
                }
                self.advance(id, ask, tail, &events)
            }
            Subscribed::Ended { left, events } => {
                self.note_left(user, conversation, Some(left));
                let fetched = self.advance(id, ask, left, &events);
                let feed = self.feeds.get_mut(conversation);
                let at = feed.and_then(|feed| feed.place(user, id)).and_then(|now| now.cursor.seq());
                if at.is_some_and(|at| at >= left) {
                    self.end_place(id, ask, left);
                    return Fetched::Progress;
                }
                fetched
            }
            Subscribed::NotParticipant if self.joined_since(ask) => {
                self.requeue(id, conversation);
                Fetched::Nothing
            }
            Subscribed::NotParticipant => {
                let at = ask.after.unwrap_or_default().next();
                let gap = Gap { from: at, to: at, reason: GapReason::NotParticipant };
                Self::tell_gap(&session, conversation, Some(gap));
                self.note_left(user, conversation, None);
                self.end_place(id, ask, ask.after.unwrap_or_default());
                Fetched::Progress
            }
            Subscribed::Failed(_) => {
                self.requeue(id, conversation);
                Fetched::Nothing
            }
        }
    }

    /// A fetch registers the interest too.
    fn note_interest(&mut self, ask: &Ask) {
        if let Some(feed) = self.feeds.get_mut(&ask.conversation).filter(|feed| feed.round == ask.round) {
            let member = feed.member(&ask.user);
            if member.interest == Interest::None {
                member.interest = Interest::Live;
            }
        }
    }

    /// Delivers a span up to `end` as far as there is room.
    fn advance(&mut self, id: SessionId, ask: &Ask, end: Seq, events: &[Arc<Event>]) -> Fetched {
        let Ask { conversation, user, .. } = ask;
        // After the user's own `left` that is known by now, only an answer that has it ends the catching up.
        let ended = self
            .users
            .get(user)
            .and_then(|known| known.memberships.get(conversation))
            .and_then(|membership| (!membership.joined).then_some(membership.seq));
        let Some(feed) = self.feeds.get_mut(conversation) else { return Fetched::Progress };
        let (known, interest) = (feed.known.unwrap_or(end).max(ended.unwrap_or_default()), feed.member(user).interest);
        let Some(place) = feed.place(user, id) else { return Fetched::Progress };
        let mut progress = false;
        let gap = place.cursor.measure(end);
        if gap.is_some() {
            progress = true;
            place.origin = Origin::Position;
        }
        Self::tell_gap(&place.session, conversation, gap);
        for event in events {
            if !place.session.has_room() {
                progress = true;
                break;
            }
            if place.cursor.fetched(event.seq) {
                progress = true;
                if place.shows(event, user) {
                    let frame = outbox::text(&render::event_json(event));
                    place.session.offer(frame, Some(Arc::clone(event)));
                }
            }
        }
        // Without the push of what follows, a live cursor would stand still: the subscription must hold.
        if interest == Interest::Live && place.cursor.catch_up(known) {
            place.origin = Origin::Position;
            self.settle(id, conversation, true);
            return Fetched::Progress;
        }
        self.requeue(id, conversation);
        if progress { Fetched::Progress } else { Fetched::Nothing }
    }

    /// Back into the queue; fetched when the rest of this batch is done.
    fn requeue(&mut self, id: SessionId, conversation: &ConversationName) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            let shard = self.map.shard_of(conversation.slot());
            entry.spans.entry(shard).or_default().queue.push_back(conversation.clone());
        }
    }

    /// The session has all that it may have of a conversation. If the user is in again, it starts with his `joined`.
    fn end_place(&mut self, id: SessionId, ask: &Ask, left: Seq) {
        let Ask { conversation, user, .. } = ask;
        if let Some(member) = self.feeds.get_mut(conversation).and_then(|feed| feed.members.get_mut(user)) {
            member.places.retain(|place| place.session.id != id);
        }
        self.settle(id, conversation, false);
        let membership = self.users.get(user).and_then(|known| known.memberships.get(conversation)).copied();
        match membership {
            Some(Membership { seq, joined: true }) if seq > left => {
                self.start_joined(id, conversation, seq, left);
                self.ask_anew(user, conversation);
            }
            Some(Membership { seq: Seq(0), .. }) => {
                let feed = self.feeds.get(conversation).and_then(|feed| feed.members.get(user));
                let others = feed.is_some_and(|member| !member.places.is_empty());
                if let Some(known) = self.users.get_mut(user).filter(|_| !others) {
                    known.memberships.remove(conversation);
                }
                self.drop_member_if_idle(user, conversation);
            }
            _ => self.drop_member_if_idle(user, conversation),
        }
    }
}
