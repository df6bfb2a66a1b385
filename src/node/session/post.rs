//! One frame for many sessions: it goes over each link once, with the numbers of all who get it
//! there.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConversationName, Seq, UserId};
use crate::link::front::attach::Tells;
use crate::link::front::{self, Down, SessionNumber};
use crate::log::record::{Event, EventKind};
use crate::node::session::window::{Router, Session};

/// Which event a frame is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    /// The conversation that it is of.
    pub(super) conversation: &'a ConversationName,
    /// Its number there.
    pub(super) seq: Seq,
    /// Who sent the message, if it is one.
    source: Option<&'a UserId>,
}

impl<'a> Mark<'a> {
    /// That of an event.
    pub(super) fn of(event: &'a Event) -> Self {
        let source = match &event.kind {
            EventKind::Message { source, .. } => Some(source),
            EventKind::Created { .. }
            | EventKind::Joined { .. }
            | EventKind::Left { .. }
            | EventKind::Edited { .. }
            | EventKind::Deleted { .. }
            | EventKind::Role { .. }
            | EventKind::Updated { .. }
            | EventKind::Closed { .. } => None,
        };
        Self {
            conversation: &event.conversation,
            seq: event.seq,
            source,
        }
    }

    /// The event is marked as delivered once this user has read it: it is another one's message.
    pub(super) fn counts_for(&self, user: &UserId) -> bool {
        self.source.is_some_and(|source| source != user)
    }
}

/// A frame and who gets it.
#[derive(Debug)]
pub(super) struct Post<'a> {
    /// The text of the frame.
    pub(super) text: Bytes,
    mark: Option<Mark<'a>>,
    groups: Vec<Group>,
    /// It goes only over links that have next to nothing to carry.
    is_spare: bool,
}

/// Those of one connection.
#[derive(Debug)]
pub(super) struct Group {
    router: Arc<Router>,
    has_room: bool,
    to: Vec<SessionNumber>,
    quiet: Vec<SessionNumber>,
}

impl Group {
    /// Whether the session is one of them.
    pub(super) fn has(&self, session: &Session) -> bool {
        let of = |numbers: &[SessionNumber]| numbers.contains(&session.number);
        Arc::ptr_eq(&self.router, &session.router) && (of(&self.to) || of(&self.quiet))
    }
}

impl<'a> Post<'a> {
    /// A frame for nobody yet.
    pub(super) fn new(text: Vec<u8>, mark: Option<Mark<'a>>) -> Self {
        Self {
            text: Bytes::from(text),
            mark,
            groups: Vec::new(),
            is_spare: false,
        }
    }

    /// A frame that may be told later, for nobody yet: it goes only over links that have next to
    /// nothing to carry.
    pub(super) fn spare(text: Vec<u8>) -> Self {
        Self {
            is_spare: true,
            ..Self::new(text, None)
        }
    }

    /// What the frame counts for in a window.
    pub(super) fn cost(&self) -> u32 {
        front::cost(self.text.len())
    }

    /// Also for this session, which has a place for it. False when its link has no room.
    pub(super) fn add(&mut self, session: &Session) -> bool {
        let known = self
            .groups
            .iter()
            .position(|group| Arc::ptr_eq(&group.router, &session.router));
        let at = known.unwrap_or_else(|| {
            let router = Arc::clone(&session.router);
            let has_room = if self.is_spare {
                router.takes_spare()
            } else {
                router.has_room()
            };
            self.groups.push(Group {
                router,
                has_room,
                to: Vec::new(),
                quiet: Vec::new(),
            });
            self.groups.len() - 1
        });

        let Some(group) = self.groups.get_mut(at).filter(|group| group.has_room) else {
            return false;
        };
        let counts = self.mark.is_none_or(|mark| mark.counts_for(&session.user));
        if counts {
            group.to.push(session.number)
        } else {
            group.quiet.push(session.number)
        }

        true
    }

    /// Sends it. Those are given back to whom it could not be sent after all.
    pub(super) fn send(self) -> Vec<Group> {
        let Self {
            text, mark, groups, ..
        } = self;
        let mut unsent = Vec::new();
        for mut group in groups {
            if group.to.is_empty() && group.quiet.is_empty() {
                continue;
            }
            let event =
                mark.and_then(|mark| Some((group.router.handle(mark.conversation)?, mark.seq)));
            let frame = Down::Deliver {
                to: std::mem::take(&mut group.to),
                quiet: std::mem::take(&mut group.quiet),
                text: text.clone(),
                event,
                tells: Tells::Nothing,
            };
            if let Err(Down::Deliver { to, quiet, .. }) = group.router.try_offer(frame) {
                unsent.push(Group { to, quiet, ..group });
            }
        }

        unsent
    }
}
