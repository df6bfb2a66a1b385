//! What owners answered to subscriptions, taken to the cursors: tails, and who is in or out.

use crate::ids::{ConversationName, Seq, UserId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Interest, Member, Membership, Origin, Place};
use crate::node::session::board::state::{Cursor, Cut, Gap};
use crate::node::session::board::work::Ask;
use crate::protocol::{GapReason, RESUME_EVENTS_MAX};
use crate::shard::command::Subscribed;

/// How often an owner is asked again whose tail is older than what we know of a membership. After
/// that its word stands: it lost that change.
const STALE_ATTEMPTS_MAX: u32 = 8;

impl Board {
    /// A subscription was answered.
    pub(in crate::node::session) fn subscribed(&mut self, ask: &Ask, answer: Subscribed) {
        let Ask {
            conversation, user, ..
        } = ask;
        if !self.is_current(ask, &answer) {
            return;
        }

        match answer {
            Subscribed::Live {
                tail,
                joined,
                events,
                departed,
                ..
            } => {
                let stale = self.note_member(user, conversation, joined, tail);
                if self.asks_too_little(ask) {
                    self.ask_again(ask, 0);
                    return;
                }
                if stale && ask.attempt < STALE_ATTEMPTS_MAX {
                    // Answered before a change of their membership that we know of, which may have
                    // ended the interest.
                    self.ask_again(ask, ask.attempt.saturating_add(1));
                    return;
                }
                let lost = self.note_tail(ask, tail);
                if !lost {
                    for event in &events {
                        self.deliver(event, true);
                    }
                }
                if self.asks_too_little(ask) {
                    // What was missed has a `left`: whoever starts anew after it has to know what
                    // lies between.
                    self.ask_again(ask, 0);
                    return;
                }
                self.set_back(ask, joined, departed);
                self.subscription_holds(user, conversation, tail, lost);
            }
            Subscribed::Ended { .. } | Subscribed::NotParticipant | Subscribed::Closed { .. }
                if self.joined_since(ask) =>
            {
                self.ask_again(ask, ask.attempt.saturating_add(1));
            }
            Subscribed::Ended { left, .. } => self.not_subscribed(ask, Some(left)),
            Subscribed::Closed { event } => self.not_subscribed(ask, Some(event.seq)),
            Subscribed::NotParticipant => self.not_subscribed(ask, None),
            Subscribed::Failed(_) => self.ask_again(ask, ask.attempt.saturating_add(1)),
        }
    }

    /// True when the answer still means someone. An interest that nobody has any more is ended.
    fn is_current(&mut self, ask: &Ask, answer: &Subscribed) -> bool {
        let current = self.users.get(&ask.user).map(|known| known.generation);
        let member = self
            .feeds
            .get(&ask.conversation)
            .and_then(|feed| Some((feed.round, feed.members.get(&ask.user)?)));
        match (current, member) {
            (Some(generation), Some((round, member))) if generation == ask.generation => {
                round == ask.round && member.interest == Interest::Asking
            }
            (None, _) if matches!(answer, Subscribed::Live { .. }) => {
                self.work
                    .ended
                    .push((ask.conversation.clone(), ask.user.clone()));
                false
            }
            _ => false,
        }
    }

    fn ask_again(&mut self, ask: &Ask, attempt: u32) {
        let floor = self
            .feeds
            .get(&ask.conversation)
            .and_then(|feed| feed.known);
        let told = self
            .users
            .get(&ask.user)
            .map_or(ask.told, |known| known.membership_seq(&ask.conversation));
        let member = self
            .feeds
            .get(&ask.conversation)
            .and_then(|feed| feed.members.get(&ask.user));
        let since = member.and_then(Member::since);

        self.work.asks.push(Ask {
            attempt,
            since,
            floor,
            told,
            ..ask.clone()
        });
    }

    /// A cursor was started with a `joined` after this was asked: what it has to know was not asked
    /// for.
    fn asks_too_little(&self, ask: &Ask) -> bool {
        let member = self
            .feeds
            .get(&ask.conversation)
            .and_then(|feed| feed.members.get(&ask.user));
        let needed = member.and_then(Member::since);
        needed.is_some_and(|since| ask.since.is_none_or(|asked| asked > since))
    }

    /// Cursors that start with the latest `joined` are set back when the user was in before,
    /// unseen, and left again at `departed`: they get those memberships too, or a gap when there is
    /// too much.
    fn set_back(&mut self, ask: &Ask, joined: Seq, departed: Option<Seq>) {
        let member = self
            .feeds
            .get_mut(&ask.conversation)
            .and_then(|feed| feed.members.get_mut(&ask.user));
        let waits = |place: &&mut Place| matches!(place.cursor, Cursor::Waiting { .. });

        for place in member
            .into_iter()
            .flat_map(|member| &mut member.places)
            .filter(waits)
        {
            let Origin::Joined { since } = std::mem::replace(&mut place.origin, Origin::Position)
            else {
                continue;
            };
            if departed.is_none_or(|left| left <= since) {
                continue;
            }
            if joined.0.saturating_sub(since.0) <= RESUME_EVENTS_MAX {
                place.cursor = Cursor::Waiting {
                    position: Some(since),
                    cut: Cut::Once,
                };
                place.origin = Origin::Memberships { inside: false };
            } else {
                let position = Seq(joined.0.saturating_sub(1));
                let gap = Gap {
                    from: since.next(),
                    to: position,
                    reason: GapReason::TooFar,
                };
                place.session.tell_gap(&ask.conversation, Some(gap));
                place.cursor = Cursor::Waiting {
                    position: Some(position),
                    cut: Cut::Once,
                };
            }
        }
    }

    /// The user is known to have been added after it was asked: a refusal is old.
    pub(super) fn joined_since(&self, ask: &Ask) -> bool {
        self.changed_since(ask)
            .is_some_and(|membership| membership.joined)
    }

    /// The user's membership, if it is known to have changed after it was asked.
    pub(super) fn changed_since(&self, ask: &Ask) -> Option<Membership> {
        let membership = self
            .users
            .get(&ask.user)?
            .memberships
            .get(&ask.conversation)?;
        (membership.seq > ask.told).then_some(*membership)
    }

    /// Takes in that the owner at `tail` sees the user as a participant since `joined`; true when
    /// we know better. Whoever hears of it first tells all sessions of the user: what they know
    /// nothing of begins where it was known before.
    pub(super) fn note_member(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        joined: Seq,
        tail: Seq,
    ) -> bool {
        let Some(known) = self.users.get_mut(user) else {
            return true;
        };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        if membership.seq > tail {
            return true;
        }

        let was = *membership;
        *membership = Membership {
            seq: was.seq.max(joined),
            joined: true,
        };

        if !was.joined || joined > was.seq {
            self.start_user(user, conversation, was.seq.max(joined), was.seq);
        }
        false
    }

    /// Takes in a tail; true when it went back behind what was known when it was asked for.
    pub(super) fn note_tail(&mut self, ask: &Ask, tail: Seq) -> bool {
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

    fn subscription_holds(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        tail: Seq,
        lost: bool,
    ) {
        let Some(feed) = self.feeds.get_mut(conversation) else {
            return;
        };
        let known = feed.known.unwrap_or(tail);
        let Some(member) = feed.members.get_mut(user) else {
            return;
        };

        member.interest = Interest::Live;
        let (mut live, mut behind, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for place in &mut member.places {
            let waited = matches!(place.cursor, Cursor::Waiting { .. });
            let gap = place.cursor.subscribed(tail, known, lost);
            moved.extend((waited || gap.is_some()).then_some(place.session.id));
            place.session.tell_gap(conversation, gap);
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
        for id in moved {
            self.note_place(id, conversation);
        }
    }

    /// The owner refused: cursors that have a position fetch what they may still get, the others
    /// end without a word, unless there was another membership meanwhile.
    fn not_subscribed(&mut self, ask: &Ask, left: Option<Seq>) {
        let Ask {
            conversation, user, ..
        } = ask;
        self.note_left(user, conversation, left);
        let Some(member) = self
            .feeds
            .get_mut(conversation)
            .and_then(|feed| feed.members.get_mut(user))
        else {
            return;
        };

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

        let since = ask.told.max(left.unwrap_or_default());
        let passed_over = self
            .changed_since(ask)
            .is_some_and(|membership| membership.seq > since);
        for id in gone {
            self.note_out(id, conversation);
            self.settle(id, conversation, false);
            if passed_over {
                self.start_ended(id, conversation, since);
            }
        }

        for id in behind {
            self.enqueue(id, conversation);
        }
        self.drop_member_if_idle(user, conversation);
    }

    pub(super) fn note_left(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        left: Option<Seq>,
    ) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        let was = *membership;
        if left.is_none_or(|left| left >= was.seq) {
            *membership = Membership {
                seq: was.seq.max(left.unwrap_or_default()),
                joined: false,
            };
        }
        if left.is_some_and(|left| left > was.seq) && !was.joined {
            self.passed_over(user, conversation, was.seq);
        }
    }
}
