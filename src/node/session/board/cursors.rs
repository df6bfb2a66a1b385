//! The cursor of a session in a conversation, as it is set: at the tail, at a position, before a
//! `joined`, or behind memberships that have ended.

use std::sync::Arc;

use crate::ids::{ConversationName, Seq, SessionId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Interest, Origin, Place};
use crate::node::session::board::state::{Cursor, Cut};

impl Board {
    pub(super) fn start_due(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        position: Option<Seq>,
    ) {
        self.await_live(id, conversation, position.is_some());
        self.start(id, conversation, position, Cut::Once);
    }

    /// Sets the session's cursor in a conversation anew.
    pub(in crate::node::session) fn start(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        position: Option<Seq>,
        cut: Cut,
    ) {
        let Some(user) = self
            .sessions
            .get(&id)
            .map(|entry| entry.session.user.clone())
        else {
            return;
        };

        let feed = self.feed(conversation);
        let subscribed = feed.member(&user).interest == Interest::Live;
        let tail = feed.known.filter(|_| subscribed);
        let cursor = Cursor::begin(position, tail, cut);
        self.set_place(id, conversation, cursor, Origin::Position);
        match cursor {
            Cursor::Live { .. } => self.settle(id, conversation, true),
            Cursor::Behind { .. } => self.enqueue(id, conversation),
            Cursor::Waiting { .. } => {}
        }
    }

    /// Sets the session's cursor right before the latest `joined` of its user, of whom nothing is
    /// known from `since` on: what the owner answers may set it back.
    pub(super) fn start_joined(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        joined: Seq,
        since: Seq,
    ) {
        let position = Some(Seq(joined.0.saturating_sub(1)));
        let cursor = Cursor::Waiting {
            position,
            cut: Cut::Once,
        };
        self.set_place(id, conversation, cursor, Origin::Joined { since });
    }

    /// Fetches what the session may still get after `since` of memberships that have ended since,
    /// or hears that it may not.
    pub(super) fn start_ended(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        since: Seq,
    ) {
        let cursor = Cursor::Behind {
            seq: since,
            cut: Cut::Never,
        };
        self.set_place(
            id,
            conversation,
            cursor,
            Origin::Memberships { inside: false },
        );
        self.enqueue(id, conversation);
    }

    /// Gives the session this cursor in a conversation, in the place of one that it may have.
    pub(super) fn set_place(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        cursor: Cursor,
        origin: Origin,
    ) {
        let Some(session) = self
            .sessions
            .get(&id)
            .map(|entry| Arc::clone(&entry.session))
        else {
            return;
        };

        self.note_place(id, conversation);
        let feed = self.feed(conversation);
        if let Some(place) = feed.place(&session.user, id) {
            (place.cursor, place.origin) = (cursor, origin);
        } else {
            let member = feed.member(&session.user);
            member.places.reserve_exact(1);
            member.places.push(Place {
                session,
                cursor,
                origin,
            });
        }
    }
}
