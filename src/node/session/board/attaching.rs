//! A session that another node held goes on here, as that one left it (ADR 7): its cursors are set,
//! and what it did not know yet is asked of owners.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{ConversationName, Seq, SessionId, UserId};
use crate::link::front::attach::{Attach, Stage, Stand, Standing};
use crate::node::session::board::Board;
use crate::node::session::board::entries::{Membership, Origin};
use crate::node::session::board::standing::Left;
use crate::node::session::board::state::{Cursor, Cut};
use crate::node::session::window::Session;

impl Board {
    /// A session that another node held goes on here.
    pub(in crate::node::session) fn goes_on(&mut self, session: &Arc<Session>, attach: Attach) {
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
            self.place_as_stood(id, (&user, &conversation), membership, standing);
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

    /// Sets the cursor of a session in a conversation of its user, where it stood at another node.
    fn place_as_stood(
        &mut self,
        id: SessionId,
        (user, conversation): (&UserId, &ConversationName),
        membership: Membership,
        standing: Standing,
    ) {
        let since = membership.seq;
        match standing {
            Standing::Out { seq } if since > seq && membership.joined => {
                self.start_joined(id, conversation, since, seq);
                self.ask_anew(user, conversation);
            }
            Standing::Out { seq } if since > seq => self.start_ended(id, conversation, seq),
            Standing::Out { .. } => self.note_out(id, conversation),
            Standing::Tail if !membership.joined => self.note_out(id, conversation),
            Standing::Tail => self.start_due_as(id, conversation, None, false),
            // It was in before, left and was added again, and saw nothing of it.
            Standing::At { seq, named } if membership.joined && since > seq.next() => {
                self.start_within(id, conversation, (seq, true), named);
            }
            Standing::At { seq, named } if membership.joined => {
                self.start_due_as(id, conversation, Some(seq), named);
            }
            Standing::At { seq, named } => self.start_behind(id, conversation, seq, named),
            Standing::Within { seq, inside } => {
                self.start_within(id, conversation, (seq, inside), false)
            }
        }
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
