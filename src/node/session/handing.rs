//! What another node would need to go on with a session (ADR 7): told to its router whenever a
//! cursor is set or ends, and taken from it when a session goes on here. What an event moves is
//! told by the event.
//!
//! **Invariants.** What is told stands between the frames of the session in its place: after an
//! input to the board, a router knows how each session stands that it follows. All that is set at
//! the start of a session is told at once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{ConversationName, Seq, SessionId, UserId};
use crate::link::front::attach::{Attach, STANDS_MAX, Stage, Stand, Standing};
use crate::link::front::{Down, Handle};
use crate::node::session::board::Board;
use crate::node::session::entries::{Entry, Membership, Origin, Phase, Place};
use crate::node::session::standing::{Left, Noted, What};
use crate::node::session::state::{Cursor, Cut};
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
    pub(super) fn stand(&self, named: bool) -> Stand {
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
    pub(super) fn tell_stands(&mut self) {
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

    /// A session that another node held goes on here.
    pub(super) fn goes_on(&mut self, session: &Arc<Session>, attach: Attach) {
        let Attach { stage, stands, .. } = attach;
        match stage {
            Stage::Waits | Stage::Begun | Stage::TooMany => {
                self.enter(session, stage == Stage::Waits, None)
            }
            Stage::Placed | Stage::Ready => {
                let left = Left {
                    was_ready: stage == Stage::Ready,
                    stands: stands.into_iter().collect(),
                };
                self.enter(session, false, Some(left));
            }
        }
    }

    /// Sets the cursors of a session as another node left them; what that did not know yet begins
    /// with the `joined` of its user.
    pub(super) fn place_as_left(&mut self, id: SessionId, left: Left) {
        let Left {
            was_ready,
            mut stands,
        } = left;
        let Some(entry) = self.sessions.get(&id) else {
            return;
        };
        let user = entry.session.user.clone();
        self.learn_from(&user, &stands);
        let Some(known) = self.users.get(&user) else {
            return;
        };
        let memberships: Vec<_> = known
            .memberships
            .iter()
            .map(|(name, at)| (name.clone(), *at))
            .collect();
        for (conversation, membership) in memberships {
            let standing = stands
                .remove(&conversation)
                .map_or(Standing::Out { seq: Seq(0) }, Stand::standing);
            let since = membership.seq;
            match standing {
                Standing::Out { seq } if since > seq && membership.joined => {
                    self.start_joined(id, &conversation, since, seq);
                    self.ask_anew(&user, &conversation);
                }
                Standing::Out { seq } if since > seq => self.start_ended(id, &conversation, seq),
                Standing::Out { .. } => self.note_out(id, &conversation),
                Standing::Tail if !membership.joined => self.note_out(id, &conversation),
                Standing::Tail => self.start_due_as(id, &conversation, None, false),
                // It was in before, left and was added again, and saw nothing of it.
                Standing::At { seq, named } if membership.joined && since > seq.next() => {
                    self.start_within(id, &conversation, (seq, true), named);
                }
                Standing::At { seq, named } if membership.joined => {
                    self.start_due_as(id, &conversation, Some(seq), named);
                }
                Standing::At { seq, named } => self.start_behind(id, &conversation, seq, named),
                Standing::Within { seq, inside } => {
                    self.start_within(id, &conversation, (seq, inside), false)
                }
            }
            if membership.joined {
                self.ensure_interest(&user, &conversation);
            }
        }
        for (conversation, stand) in stands {
            // The index does not have it: the owner decides.
            match stand.standing() {
                Standing::At { seq, named } => self.start_behind(id, &conversation, seq, named),
                Standing::Within { seq, inside } => {
                    self.start_within(id, &conversation, (seq, inside), false)
                }
                Standing::Out { .. } | Standing::Tail => {}
            }
        }
        if was_ready {
            self.awaits_nothing(id);
        } else {
            self.become_ready(id);
        }
        self.note_stage(id);
    }

    /// What the session knows of its user's stays may be newer than their index here: the newer
    /// stands.
    fn learn_from(&mut self, user: &UserId, stands: &HashMap<ConversationName, Stand>) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        for (conversation, stand) in stands {
            let Standing::Out { seq } = stand.standing() else {
                continue;
            };
            if let Some(membership) = known
                .memberships
                .get_mut(conversation)
                .filter(|known| known.seq < seq)
            {
                *membership = Membership { seq, joined: false };
            } else if seq > Seq(0) {
                let new = Membership { seq, joined: false };
                known.memberships.entry(conversation.clone()).or_insert(new);
            }
        }
    }

    fn awaits_nothing(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.due = HashMap::new();
        }
    }

    /// Goes on after `seq`, however much was missed.
    fn start_due_as(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        seq: Option<Seq>,
        named: bool,
    ) {
        self.await_live(id, conversation, named);
        self.start(id, conversation, seq, Cut::Never);
    }

    /// Goes on after `seq` in a conversation that the user is not in, as far as is known: the owner
    /// decides.
    fn start_behind(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        seq: Seq,
        named: bool,
    ) {
        let user = self
            .sessions
            .get(&id)
            .map(|entry| entry.session.user.clone());
        if let Some(known) = user.and_then(|user| self.users.get_mut(&user)) {
            known.memberships.entry(conversation.clone()).or_default();
        }
        self.await_live(id, conversation, named);
        self.set_place(
            id,
            conversation,
            Cursor::Behind {
                seq,
                cut: Cut::Never,
            },
            Origin::Position,
        );
        self.enqueue(id, conversation);
    }

    fn start_within(
        &mut self,
        id: SessionId,
        conversation: &ConversationName,
        (seq, inside): (Seq, bool),
        named: bool,
    ) {
        self.await_live(id, conversation, named);
        self.set_place(
            id,
            conversation,
            Cursor::Behind {
                seq,
                cut: Cut::Never,
            },
            Origin::Memberships { inside },
        );
        self.enqueue(id, conversation);
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
