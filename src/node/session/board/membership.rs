//! Who comes and goes, as the board learns it from two sides that are not in step: the events of a
//! conversation, and the user's index. The newer seq wins, whichever side tells it.

use crate::ids::{ConversationName, Seq, SessionId, UserId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Interest, Membership, Phase};
use crate::node::session::board::state::Cursor;
use crate::shard::command::IndexItem;

impl Board {
    pub(super) fn index_changed(&mut self, user: &UserId, item: &IndexItem) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        known.newest = known.newest.max(item.version);
        if !known.loading {
            known.confirmed = known.newest;
        }
        self.index_item(user, item);
    }

    /// One row of a user's index; an older row than what is known changes nothing.
    pub(super) fn index_item(&mut self, user: &UserId, item: &IndexItem) {
        if item.joined {
            self.joined(user, &item.conversation, item.seq);
        } else {
            self.left_told(user, &item.conversation, item.seq);
        }
    }

    /// The user was added at `seq`: their sessions start right before it, unless they still are in
    /// the conversation (then their `left` in between is on its way, and starts them anew) or
    /// memberships were passed over, which the owner tells.
    pub(in crate::node::session) fn joined(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        seq: Seq,
    ) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        if membership.seq > seq || membership.seq == seq && !membership.joined {
            return;
        }
        let since = membership.seq;
        *membership = Membership { seq, joined: true };
        self.start_user(user, conversation, seq, since);
    }

    /// Sessions of the user that have no cursor there start with `joined`; nothing is known of them
    /// from `since` on.
    pub(super) fn start_user(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        joined: Seq,
        since: Seq,
    ) {
        let starting = self.without_place(user, conversation);
        if starting.is_empty() {
            return self.ensure_interest(user, conversation);
        }
        for id in starting {
            self.start_joined(id, conversation, joined, since);
        }
        self.ask_anew(user, conversation);
    }

    /// Asks for the conversation though that was done before: the answer says what a new cursor has
    /// to know.
    pub(super) fn ask_anew(&mut self, user: &UserId, conversation: &ConversationName) {
        let member = self.feed(conversation).member(user);
        if member.interest == Interest::Live {
            member.interest = Interest::None;
        }
        self.ensure_interest(user, conversation);
    }

    /// The user was added after `since` and left again, and nobody saw it: their sessions ask for
    /// what they may get of that, and hear of a gap when it is nothing.
    pub(super) fn passed_over(
        &mut self,
        user: &UserId,
        conversation: &ConversationName,
        since: Seq,
    ) {
        for id in self.without_place(user, conversation) {
            self.start_ended(id, conversation, since);
        }
    }

    /// Sessions of the user that have started, and have no cursor in the conversation.
    fn without_place(&mut self, user: &UserId, conversation: &ConversationName) -> Vec<SessionId> {
        let Some(known) = self.users.get(user) else {
            return Vec::new();
        };
        let member = self
            .feeds
            .get(conversation)
            .and_then(|feed| feed.members.get(user));
        let is_here = |id: &SessionId| {
            member.is_some_and(|member| member.places.iter().any(|place| place.session.id == *id))
        };

        let started = |id: &SessionId| {
            self.sessions
                .get(id)
                .is_some_and(|entry| entry.phase == Phase::Attached)
        };

        known
            .sessions
            .iter()
            .copied()
            .filter(|id| started(id) && !is_here(id))
            .collect()
    }

    /// The `left` of a user was pushed and delivered to their live cursors: they end.
    pub(super) fn left_seen(&mut self, user: &UserId, conversation: &ConversationName, seq: Seq) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let Some(membership) = known.memberships.get_mut(conversation) else {
            return;
        };

        let mut unseen = None;
        if membership.seq < seq {
            unseen = (!membership.joined).then_some(membership.seq);
            *membership = Membership { seq, joined: false };
        }

        let again = (membership.joined && membership.seq > seq).then_some(membership.seq);
        if let Some(since) = unseen {
            self.passed_over(user, conversation, since);
        }

        let Some(member) = self
            .feeds
            .get_mut(conversation)
            .and_then(|feed| feed.members.get_mut(user))
        else {
            return;
        };

        if member.interest == Interest::Live {
            member.interest = Interest::None;
        }
        let mut gone = Vec::new();
        member.places.retain(|place| {
            // Also a cursor that started at a later tail, before this was seen; unless it started
            // in the next stay.
            let started_again = |at: Seq| again.is_some_and(|joined| at.next() >= joined);
            let ends =
                matches!(place.cursor, Cursor::Live { seq: at } if at >= seq && !started_again(at));
            gone.extend(ends.then_some(place.session.id));
            !ends
        });

        for id in gone {
            self.note_out(id, conversation);
            self.settle(id, conversation, false);
        }

        match again {
            Some(joined) => self.start_user(user, conversation, joined, seq),
            None => self.drop_member_if_idle(user, conversation),
        }
    }

    /// The conversation was closed, which live cursors were given: nobody of this node takes part
    /// any more.
    pub(super) fn closed_seen(&mut self, conversation: &ConversationName, seq: Seq) {
        self.watching.hidden(conversation);
        let members = self.feeds.get(conversation).into_iter();
        let users: Vec<UserId> = members
            .flat_map(|feed| feed.members.keys().cloned())
            .collect();
        for user in users {
            self.left_seen(&user, conversation, seq);
        }
    }

    /// The index says that the user left at `seq`: what they still have to get, up to their `left`,
    /// is fetched.
    fn left_told(&mut self, user: &UserId, conversation: &ConversationName, seq: Seq) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let membership = known.memberships.entry(conversation.clone()).or_default();
        if membership.seq >= seq {
            return;
        }

        let was = std::mem::replace(membership, Membership { seq, joined: false });
        self.unseen(user, conversation);
        if !was.joined {
            self.passed_over(user, conversation, was.seq);
        }

        let Some(member) = self
            .feeds
            .get_mut(conversation)
            .and_then(|feed| feed.members.get_mut(user))
        else {
            return;
        };

        if member.interest == Interest::Live {
            // Ended at the owner with the `left`.
            member.interest = Interest::None;
        }

        let (mut behind, mut gone) = (Vec::new(), Vec::new());
        member.places.retain_mut(|place| {
            // Started at a later tail, before this was known.
            let ends = matches!(place.cursor, Cursor::Live { seq: at } if at >= seq);
            if ends {
                gone.push(place.session.id);
            } else if place.cursor.seq().is_some() {
                place.cursor.fall_behind();
                behind.push(place.session.id);
            }
            !ends
        });

        for id in gone {
            self.note_out(id, conversation);
            self.settle(id, conversation, false);
        }
        for id in behind {
            self.enqueue(id, conversation);
        }

        self.drop_member_if_idle(user, conversation);
    }
}
