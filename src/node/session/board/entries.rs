//! What the board holds: users, conversations and sessions of this node, and who stands where.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{ConversationName, Epoch, Offset, Seq, SessionId, ShardId, UserId};
use crate::log::record::{Event, EventKind};
use crate::node::session::board::standing::Left;
use crate::node::session::board::state::Cursor;
use crate::node::session::window::Session;

/// What the index (or a newer event) says of a user in a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::node::session) struct Membership {
    pub(in crate::node::session) seq: Seq,
    pub(in crate::node::session) joined: bool,
}

#[derive(Debug)]
pub(in crate::node::session) struct User {
    pub(in crate::node::session) shard: ShardId,
    pub(in crate::node::session) generation: u64,
    /// The index was read once to its end.
    pub(in crate::node::session) loaded: bool,
    /// Every change up to here is known; pushes move it only while no read is under way.
    pub(in crate::node::session) confirmed: Offset,
    pub(in crate::node::session) newest: Offset,
    pub(in crate::node::session) loading: bool,
    pub(in crate::node::session) sessions: Vec<SessionId>,
    pub(in crate::node::session) memberships: HashMap<ConversationName, Membership>,
}

/// How far a user's subscription of a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Interest {
    None,
    Asking,
    Live,
}

/// A cursor of one session.
#[derive(Debug)]
pub(in crate::node::session) struct Place {
    pub(in crate::node::session) session: Arc<Session>,
    pub(in crate::node::session) cursor: Cursor,
    pub(in crate::node::session) origin: Origin,
}

/// How a cursor came about, until it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Origin {
    /// At the tail, or at a position: everything that follows is shown.
    Position,
    /// With the user's latest `joined`. Nothing is known of them from `since` on: whole memberships
    /// may lie between.
    Joined {
        /// Up to here their memberships are known.
        since: Seq,
    },
    /// There are memberships before the latest `joined`: they are shown, and nothing that lies
    /// outside of them.
    Memberships {
        /// The cursor stands within one.
        inside: bool,
    },
}

/// One user in a conversation.
#[derive(Debug)]
pub(in crate::node::session) struct Member {
    pub(in crate::node::session) interest: Interest,
    pub(in crate::node::session) places: Vec<Place>,
}

/// One conversation with local members.
#[derive(Debug)]
pub(in crate::node::session) struct Feed {
    pub(in crate::node::session) shard: ShardId,
    pub(in crate::node::session) epoch: Epoch,
    /// Highest seq told by owner or push.
    pub(in crate::node::session) known: Option<Seq>,
    pub(in crate::node::session) round: u32,
    /// The round in which the tail was seen to go back.
    pub(in crate::node::session) lost_in: Option<u32>,
    pub(in crate::node::session) members: HashMap<UserId, Member>,
}

/// How far a session is in its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::session) enum Phase {
    /// Opened with `resume=wait`: no cursors until the resume.
    Held,
    /// Waits for the user's index.
    Starting,
    /// Has a cursor in each conversation.
    Attached,
}

#[derive(Debug)]
pub(in crate::node::session) struct Entry {
    pub(in crate::node::session) session: Arc<Session>,
    pub(in crate::node::session) phase: Phase,
    /// It is told nothing that may be missing until it is ready: it was opened with `resume=wait`,
    /// or was not ready elsewhere.
    pub(in crate::node::session) is_quiet: bool,
    /// What another node left of it, until its user's index is read.
    pub(in crate::node::session) left: Option<Left>,
    /// The positions of `resume` frames so far, until the one without `more`.
    pub(in crate::node::session) positions: BTreeMap<ConversationName, Seq>,
    /// Conversations that `ready` waits for; true: named in the resume, to be told `live`.
    pub(in crate::node::session) due: HashMap<ConversationName, bool>,
    /// Caught up, not yet told.
    pub(in crate::node::session) announce: Vec<ConversationName>,
    pub(in crate::node::session) ready_due: bool,
    /// What it has to fetch, by shard: one that does not answer holds up no other.
    pub(in crate::node::session) spans: BTreeMap<ShardId, Spans>,
    /// The shard asked last; the next one is asked next.
    pub(in crate::node::session) asked: ShardId,
    /// Conversations in fetches under way that are not late.
    pub(in crate::node::session) fetching: usize,
}

/// What a session has to fetch of one shard.
#[derive(Debug, Default)]
pub(in crate::node::session) struct Spans {
    /// Conversations that are behind and not being fetched.
    pub(in crate::node::session) queue: VecDeque<ConversationName>,
    /// Conversations of the one fetch under way.
    pub(in crate::node::session) fetching: usize,
    /// That fetch only waits for the owner, or for its time to be tried again.
    pub(in crate::node::session) late: bool,
    pub(in crate::node::session) attempt: u32,
}

impl User {
    /// Seq of the latest change of their membership that is known.
    pub(super) fn membership_seq(&self, conversation: &ConversationName) -> Seq {
        self.memberships
            .get(conversation)
            .map_or(Seq(0), |membership| membership.seq)
    }
}

impl Member {
    /// From where on memberships have to be asked for, for all cursors that start with a `joined`.
    pub(in crate::node::session) fn since(&self) -> Option<Seq> {
        self.places.iter().filter_map(Place::since).min()
    }
}

impl Place {
    /// From where on memberships have to be asked for, if the cursor starts with a `joined`.
    pub(in crate::node::session) fn since(&self) -> Option<Seq> {
        match self.origin {
            Origin::Joined { since } => Some(since),
            Origin::Position | Origin::Memberships { .. } => None,
        }
    }

    /// Whether an event that is fetched for this cursor is shown.
    pub(super) fn shows(&mut self, event: &Event, user: &UserId) -> bool {
        let Origin::Memberships { inside } = &mut self.origin else {
            return true;
        };
        match &event.kind {
            EventKind::Created {
                participants: users,
                ..
            }
            | EventKind::Joined { users, .. } => {
                *inside |= users.contains(user);
                *inside
            }
            EventKind::Left { user: left, .. } if left == user => std::mem::replace(inside, false),
            EventKind::Closed { .. } => std::mem::replace(inside, false),
            EventKind::Left { .. }
            | EventKind::Message { .. }
            | EventKind::Edited { .. }
            | EventKind::Deleted { .. }
            | EventKind::Role { .. }
            | EventKind::Updated { .. } => *inside,
        }
    }
}

impl Feed {
    /// The member, made if they are new here.
    pub(in crate::node::session) fn member(&mut self, user: &UserId) -> &mut Member {
        let new = || Member {
            interest: Interest::None,
            places: Vec::new(),
        };
        self.members.entry(user.clone()).or_insert_with(new)
    }

    /// The cursor of one session.
    pub(in crate::node::session) fn place(
        &mut self,
        user: &UserId,
        session: SessionId,
    ) -> Option<&mut Place> {
        self.members
            .get_mut(user)?
            .places
            .iter_mut()
            .find(|place| place.session.id == session)
    }
}
