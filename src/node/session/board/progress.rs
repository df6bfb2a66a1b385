//! `live` and `ready`: which conversations a session awaits, and what it is told when they have
//! caught up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ids::{ConversationName, SessionId};
use crate::link::front::attach::Tells;
use crate::node::session::board::Board;
use crate::protocol::{LIVE_POSITIONS_MAX, ServerFrame};

impl Board {
    /// `ready` waits until the conversation is live, or ended; one that was `named` is told to be
    /// `live`.
    pub(super) fn await_live(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        named: bool,
    ) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.due.insert(conversation.clone(), named);
        }
    }

    /// The conversation is no longer awaited: it is live, or ended.
    pub(in crate::node::session) fn settle(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        live: bool,
    ) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let named = entry.due.remove(conversation) == Some(true);
        if named && live {
            entry.announce.push(conversation.clone());
        }
        if entry.announce.len() >= LIVE_POSITIONS_MAX || entry.ready_due && entry.due.is_empty() {
            self.tell_progress(id);
        }
    }

    /// `ready` is told when nothing is awaited any more.
    pub(super) fn become_ready(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.ready_due = true;
        }
        self.tell_progress(id);
    }

    /// The session's outbox has room again.
    pub(in crate::node::session) fn has_room(&mut self, id: SessionId) {
        self.tell_progress(id);
        self.pump(id);
    }

    /// Tells what has caught up since, as far as there is room, and `ready` when nothing is awaited
    /// any more.
    pub(super) fn tell_progress(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let session = Arc::clone(&entry.session);
        while !entry.announce.is_empty() {
            // Set before looking, so that a writer that makes room meanwhile is not missed.
            session.hungry.store(true, Ordering::SeqCst);
            if !session.has_room() {
                return;
            }
            let count = entry.announce.len().min(LIVE_POSITIONS_MAX);
            let positions: BTreeMap<_, _> = entry
                .announce
                .drain(..count)
                .filter_map(|name| {
                    let seq = self
                        .feeds
                        .get_mut(&name)?
                        .place(&session.user, id)?
                        .cursor
                        .seq()?;
                    Some((name, seq))
                })
                .collect();
            if !positions.is_empty() {
                let handles = positions
                    .keys()
                    .filter_map(|name| session.router.handle(name))
                    .collect();
                session.offer_telling(&ServerFrame::Live { positions }, Tells::Live(handles));
            }
        }

        if entry.ready_due && entry.due.is_empty() {
            (entry.ready_due, entry.is_quiet) = (false, false);
            entry.due.shrink_to_fit();
            entry.announce.shrink_to_fit();
            session.offer_telling(&ServerFrame::Ready {}, Tells::Ready);
        }
    }
}
