//! A span that came for a session: its cursor goes on as far as there is room.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Seq, SessionId, UserId};
use crate::log::record::Event;
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Interest, Origin, Place};
use crate::node::session::board::work::Ask;
use crate::node::session::post::Mark;
use crate::node::session::render;

/// What a span did for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Fetched {
    /// It went on, or there was no room.
    Progress,
    /// Nothing came: try later.
    Nothing,
}

/// What a span did to one cursor.
#[derive(Debug, Clone, Copy)]
struct Went {
    /// It went on, or there was no room.
    progress: bool,
    /// By other than an event that was given: its router has to be told.
    moved: bool,
}

impl Board {
    /// Delivers a span up to `end` as far as there is room; what is `pruned` is a gap before it.
    pub(in crate::node::session) fn advance(
        &mut self,
        id: SessionId,
        ask: &Ask,
        (pruned, end): (Seq, Seq),
        events: &[Arc<Event>],
    ) -> Fetched {
        let Ask {
            conversation, user, ..
        } = ask;
        // After the user's own `left` that is known by now, only an answer that has it ends the
        // catching up.
        let ended = self
            .users
            .get(user)
            .and_then(|known| known.memberships.get(conversation))
            .and_then(|membership| (!membership.joined).then_some(membership.seq));
        let Some(feed) = self.feeds.get_mut(conversation) else {
            return Fetched::Progress;
        };
        let (known, interest) = (
            feed.known.unwrap_or(end).max(ended.unwrap_or_default()),
            feed.member(user).interest,
        );
        let Some(place) = feed.place(user, id) else {
            return Fetched::Progress;
        };
        let stood = place.origin;
        let gone = place.cursor.pass_pruned(pruned);
        let gap = place.cursor.measure(end);
        let is_cut = gone.is_some() || gap.is_some();
        if is_cut {
            place.origin = Origin::Position;
        }
        place.session.tell_gap(conversation, gone);
        place.session.tell_gap(conversation, gap);
        let mut went = Went {
            progress: is_cut,
            moved: is_cut || stood != Origin::Position,
        };
        place.give(events, user, &mut went);

        // Without the push of what follows, a live cursor would stand still: the subscription must
        // hold.
        let is_live = interest == Interest::Live && place.cursor.catch_up(known);
        if is_live {
            place.origin = Origin::Position;
        }
        if went.moved {
            self.note_place(id, conversation);
        }
        if is_live {
            self.settle(id, conversation, true);
            return Fetched::Progress;
        }
        self.requeue(id, conversation);
        if went.progress {
            Fetched::Progress
        } else {
            Fetched::Nothing
        }
    }
}

impl Place {
    /// Gives the session what it has not seen of a span, as long as there is room.
    fn give(&mut self, events: &[Arc<Event>], user: &UserId, went: &mut Went) {
        for event in events {
            if !self.session.has_room() {
                went.progress = true;
                break;
            }
            let before = (self.cursor, self.origin);
            if self.cursor.fetched(event.seq) {
                went.progress = true;
                if !self.shows(event, user) {
                    went.moved = true;
                    continue;
                }
                let (text, mark) = (Bytes::from(render::event_json(event)), Mark::of(event));
                let stand = (self.origin != Origin::Position).then(|| self.stand(false));
                if !self.session.offer_event(text, Some(mark), stand) {
                    // The link has no room after all.
                    (self.cursor, self.origin) = before;
                    break;
                }
            }
        }
    }
}
