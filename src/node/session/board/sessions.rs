//! Sessions come and go; with the last one of a user go their subscriptions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ids::{Offset, SessionId, ShardId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Entry, Interest, Phase, User};
use crate::node::session::board::standing::Left;
use crate::node::session::board::work::Load;
use crate::node::session::window::Session;

impl Board {
    /// A session opened. With `held` it waits for its `resume`.
    pub(in crate::node::session) fn open(&mut self, session: &Arc<Session>, held: bool) {
        self.enter(session, held, None);
    }

    /// A session is here. With `left` it goes on as another node left it.
    pub(in crate::node::session) fn enter(
        &mut self,
        session: &Arc<Session>,
        held: bool,
        left: Option<Left>,
    ) {
        let entry = Entry {
            session: Arc::clone(session),
            phase: if held { Phase::Held } else { Phase::Starting },
            is_quiet: held || left.as_ref().is_some_and(|left| !left.was_ready),
            left,
            positions: BTreeMap::new(),
            due: HashMap::new(),
            announce: Vec::new(),
            ready_due: false,
            spans: BTreeMap::new(),
            asked: ShardId(0),
            fetching: 0,
        };
        self.sessions.insert(session.id, entry);
        if let Some(known) = self.users.get_mut(&session.user) {
            known.sessions.push(session.id);
        } else {
            self.generations += 1;
            let first = User {
                shard: self.map.shard_of(session.user.slot()),
                generation: self.generations,
                loaded: false,
                confirmed: Offset(0),
                newest: Offset(0),
                loading: true,
                sessions: vec![session.id],
                memberships: HashMap::new(),
            };
            self.users.insert(session.user.clone(), first);
            let (user, generation) = (session.user.clone(), self.generations);
            self.work.loads.push(Load {
                user,
                generation,
                after: Offset(0),
                attempt: 0,
            });
        }

        self.attach_if_possible(session.id);
    }

    /// A session is gone; with the last one of a user go their subscriptions.
    pub(in crate::node::session) fn close(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.remove(&id) else {
            return;
        };
        self.watching.end(id);
        let user = &entry.session.user;
        let Some(known) = self.users.get_mut(user) else {
            return;
        };

        known.sessions.retain(|other| *other != id);
        let last = known.sessions.is_empty();
        for conversation in known.memberships.keys() {
            let Some(feed) = self.feeds.get_mut(conversation) else {
                continue;
            };
            if last {
                let was = feed.members.remove(user);
                if was.is_some_and(|member| {
                    member.interest != Interest::None || !member.places.is_empty()
                }) {
                    self.work.ended.push((conversation.clone(), user.clone()));
                }
            } else if let Some(member) = feed.members.get_mut(user) {
                member.places.retain(|place| place.session.id != id);
                member.places.shrink_to_fit();
            }
            if feed.members.is_empty() {
                self.feeds.remove(conversation);
                self.work.forgotten.push(conversation.clone());
            }
        }

        if last {
            self.users.remove(user);
            self.work.ended_indexes.push(user.clone());
        }
    }
}
