//! Pure: what is kept of sessions that are handed from node to node, here: what their routers are
//! to be told, and what another node left of one.

use std::collections::HashMap;

use crate::ids::{ConversationName, Seq, SessionId};
use crate::link::front::attach::{Stand, Standing};

/// Something of a session that its router is to be told.
#[derive(Debug)]
pub(in crate::node::session) struct Noted {
    /// Whose standing it is.
    pub(in crate::node::session) session: SessionId,
    /// What has changed.
    pub(in crate::node::session) what: What,
}

/// What is noted of a session.
#[derive(Debug)]
pub(in crate::node::session) enum What {
    /// How far it is in its life.
    Stage,
    /// It has a cursor in this conversation, perhaps.
    Place(ConversationName),
    /// It has none there (any more).
    Out(ConversationName),
}

/// What another node left of a session whose cursors it had set.
#[derive(Debug)]
pub(in crate::node::session) struct Left {
    /// `ready` was told.
    pub(in crate::node::session) was_ready: bool,
    /// How it stands where.
    pub(in crate::node::session) stands: HashMap<ConversationName, Stand>,
}

impl Left {
    /// A resume that came since sets these anew; the others stay as they are, and `ready` is told
    /// again.
    pub(in crate::node::session) fn resumed(
        &mut self,
        positions: impl IntoIterator<Item = (ConversationName, Seq)>,
    ) {
        self.was_ready = false;
        let named = |(name, seq)| (name, Standing::At { seq, named: true }.into());
        self.stands.extend(positions.into_iter().map(named));
    }
}
