//! What another node would need to go on with a session (ADR 7): told to its router whenever a
//! cursor is set or ends. What an event moves is told by the event.
//!
//! **Invariants.** What is told stands between the frames of the session in its place: after an
//! input to the board, a router knows how each session stands that it follows. All that is set at
//! the start of a session is told at once.

use std::collections::HashMap;

use crate::ids::{ConversationName, Seq, SessionId};
use crate::link::front::attach::{STANDS_MAX, Stage, Stand, Standing};
use crate::link::front::{Down, Handle};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Entry, Origin, Phase, Place};
use crate::node::session::board::standing::{Noted, What};
use crate::node::session::board::state::Cursor;
use crate::node::session::window::Session;

/// What is told of one session after an input.
#[derive(Default)]
struct Told {
    stage: bool,
    at: Vec<(Handle, Stand)>,
    out: Vec<(ConversationName, Seq)>,
}

impl Place {
    /// How the session stands here. `named`: `live` is due for it.
    pub(in crate::node::session) fn stand(&self, named: bool) -> Stand {
        let standing = match (self.cursor, self.origin) {
            (_, Origin::Joined { since }) => Standing::Out { seq: since },
            (Cursor::Waiting { position: None, .. }, _) => Standing::Tail,
            (
                Cursor::Waiting {
                    position: Some(seq),
                    ..
                }
                | Cursor::Live { seq }
                | Cursor::Behind { seq, .. },
                Origin::Memberships { inside },
            ) => Standing::Within { seq, inside },
            (
                Cursor::Waiting {
                    position: Some(seq),
                    ..
                }
                | Cursor::Live { seq }
                | Cursor::Behind { seq, .. },
                _,
            ) => Standing::At { seq, named },
        };
        standing.into()
    }
}

impl Board {
    /// The session's cursor in a conversation was set or moved by other than an event.
    pub(super) fn note_place(&mut self, id: SessionId, conversation: &ConversationName) {
        if self.is_followed(id) {
            self.noted.push(Noted {
                session: id,
                what: What::Place(conversation.clone()),
            });
        }
    }

    /// The session has no cursor in a conversation: what is known of the stays of its user is told.
    pub(super) fn note_out(&mut self, id: SessionId, conversation: &ConversationName) {
        if self.is_followed(id) {
            self.noted.push(Noted {
                session: id,
                what: What::Out(conversation.clone()),
            });
        }
    }

    /// The session is elsewhere in its life.
    pub(super) fn note_stage(&mut self, id: SessionId) {
        if self.is_followed(id) {
            self.noted.push(Noted {
                session: id,
                what: What::Stage,
            });
        }
    }

    fn is_followed(&self, id: SessionId) -> bool {
        self.sessions
            .get(&id)
            .is_some_and(|entry| entry.session.is_followed)
    }

    /// Tells routers what was noted; called after each input.
    pub(in crate::node::session) fn tell_stands(&mut self) {
        if self.noted.is_empty() {
            return;
        }
        let mut all: HashMap<SessionId, Told> = HashMap::new();
        for Noted { session: id, what } in std::mem::take(&mut self.noted) {
            let Some(entry) = self.sessions.get(&id) else {
                continue;
            };
            let told = all.entry(id).or_default();
            match what {
                What::Stage => told.stage = true,
                What::Place(conversation) => {
                    if let Some(stand) = self.place_stand(entry, &conversation) {
                        told.at.extend(
                            entry
                                .session
                                .router
                                .handle(&conversation)
                                .map(|handle| (handle, stand)),
                        );
                    }
                }
                What::Out(conversation) => {
                    if self.place_stand(entry, &conversation).is_none() {
                        let user = self.users.get(&entry.session.user);
                        let seq = user.map_or(Seq(0), |known| known.membership_seq(&conversation));
                        told.out.push((conversation, seq));
                    }
                }
            }
        }

        for (id, told) in all {
            self.tell(id, told);
        }
    }

    fn tell(&self, id: SessionId, told: Told) {
        let Some(entry) = self.sessions.get(&id) else {
            return;
        };
        let Told { stage, at, out } = told;
        let session = &entry.session;
        if stage && at.len() + out.len() > STANDS_MAX {
            session.router.offer(Down::Stands {
                session: session.number,
                stage: Some(Stage::TooMany),
                at: Vec::new(),
                out: Vec::new(),
            });
            return;
        }

        let stage = stage.then(|| entry.stage());
        if stage.is_some() || !at.is_empty() || !out.is_empty() {
            session.router.offer(Down::Stands {
                session: session.number,
                stage,
                at,
                out,
            });
        }
    }

    fn place_stand(&self, entry: &Entry, conversation: &ConversationName) -> Option<Stand> {
        let Session { id, user, .. } = &*entry.session;
        let member = self.feeds.get(conversation)?.members.get(user)?;
        let place = member.places.iter().find(|place| place.session.id == *id)?;
        Some(place.stand(entry.due.get(conversation) == Some(&true)))
    }
}

impl Entry {
    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Held => Stage::Waits,
            Phase::Starting => Stage::Begun,
            Phase::Attached if self.ready_due => Stage::Placed,
            Phase::Attached => Stage::Ready,
        }
    }
}
