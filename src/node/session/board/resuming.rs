//! A session starts in the conversations of its user, and resumes where its client stood.

use std::collections::BTreeMap;

use crate::ids::{ConversationName, Seq, SessionId};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Origin, Phase, User};
use crate::node::session::board::state::{Cursor, Cut, Resumed};

/// Positions of one resume, over all its frames; more are refused.
pub(super) const RESUME_TOTAL_MAX: usize = 20_000;

impl Board {
    /// A `resume` frame: sets cursors when it is the last of its row.
    pub(in crate::node::session) fn resume(
        &mut self,
        id: SessionId,
        positions: BTreeMap<ConversationName, Seq>,
        more: bool,
    ) -> Resumed {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return Resumed::Placed;
        };
        entry.positions.extend(positions);
        if entry.positions.len() > RESUME_TOTAL_MAX {
            entry.positions.clear();
            return Resumed::TooMany;
        }
        if more {
            return Resumed::Later;
        }

        if entry.phase == Phase::Attached {
            self.set_anew(id);
        } else {
            entry.phase = Phase::Starting;
            self.attach_if_possible(id);
        }

        let phase = self.sessions.get(&id).map(|resumed| resumed.phase);
        if phase.is_none_or(|phase| phase == Phase::Attached) {
            Resumed::Placed
        } else {
            Resumed::Later
        }
    }

    /// The resume of a held session did not come in time: it starts without.
    pub(in crate::node::session) fn stop_waiting(&mut self, id: SessionId) {
        if let Some(entry) = self
            .sessions
            .get_mut(&id)
            .filter(|entry| entry.phase == Phase::Held)
        {
            entry.phase = Phase::Starting;
            self.attach_if_possible(id);
        }
    }

    pub(super) fn attach_if_possible(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(known) = self.users.get(&entry.session.user) else {
            return;
        };
        if entry.phase != Phase::Starting || !known.loaded {
            return;
        }

        entry.phase = Phase::Attached;
        let mut positions = std::mem::take(&mut entry.positions);
        if let Some(mut left) = entry.left.take() {
            if !positions.is_empty() {
                left.resumed(positions);
            }
            return self.place_as_left(id, left);
        }

        let (user, joined, out) = (entry.session.user.clone(), known.joined(), known.out());
        for conversation in joined {
            let position = positions.remove(&conversation);
            self.start_due(id, &conversation, position);
            self.ensure_interest(&user, &conversation);
        }

        for conversation in out {
            self.note_out(id, &conversation);
        }
        self.start_foreign(id, positions);
        self.become_ready(id);
        self.note_stage(id);
    }

    /// A resume within a running session. What is not named and live stays live: it is at its tail.
    fn set_anew(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut positions = std::mem::take(&mut entry.positions);
        entry.due.clear();
        entry.announce.clear();
        entry.ready_due = false;
        let user = entry.session.user.clone();
        let Some(joined) = self.users.get(&user).map(User::joined) else {
            return;
        };

        for conversation in joined {
            if let Some(position) = positions.remove(&conversation) {
                self.start_due(id, &conversation, Some(position));
            } else {
                // What is on its way from an earlier position goes on: to jump to the tail would be
                // a silent hole.
                match self
                    .feed(&conversation)
                    .place(&user, id)
                    .map(|place| place.cursor.seq())
                {
                    None => self.start_due(id, &conversation, None),
                    Some(None) => self.await_live(id, &conversation, false),
                    Some(Some(_)) => {}
                }
            }
            self.ensure_interest(&user, &conversation);
        }

        self.start_foreign(id, positions);
        self.become_ready(id);
        self.note_stage(id);
    }

    /// Positions in conversations that the index does not have: the owner decides.
    fn start_foreign(&mut self, id: SessionId, positions: BTreeMap<ConversationName, Seq>) {
        let Some(user) = self
            .sessions
            .get(&id)
            .map(|entry| entry.session.user.clone())
        else {
            return;
        };

        for (conversation, seq) in positions {
            if let Some(known) = self.users.get_mut(&user) {
                known.memberships.entry(conversation.clone()).or_default();
            }
            self.await_live(id, &conversation, true);
            self.set_place(
                id,
                &conversation,
                Cursor::Behind {
                    seq,
                    cut: Cut::Once,
                },
                Origin::Position,
            );
            self.enqueue(id, &conversation);
        }
    }
}

impl User {
    /// The conversations they are in, as far as known.
    fn joined(&self) -> Vec<ConversationName> {
        self.memberships
            .iter()
            .filter(|(_, at)| at.joined)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The conversations they are in no more.
    fn out(&self) -> Vec<ConversationName> {
        self.memberships
            .iter()
            .filter(|(_, at)| !at.joined && at.seq > Seq(0))
            .map(|(name, _)| name.clone())
            .collect()
    }
}
