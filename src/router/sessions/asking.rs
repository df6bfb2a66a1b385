//! For whom a session is asked of a node, and what the node answers.

use std::sync::Arc;

use crate::ids::SessionId;
use crate::link::front::attach::Stage;
use crate::link::front::{Refusal, Terms};
use crate::router::sessions::followed::Who;
use crate::router::sessions::socket::Socket;

/// A session that the node has opened. Dropped, it ends.
#[derive(Debug)]
pub(in crate::router) struct Opened {
    /// To be given the client's connection.
    pub(super) socket: Arc<Socket>,
    /// The client offered our subprotocol.
    pub(in crate::router) protocol: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.socket.abandon();
    }
}

/// For whom a session is opened.
#[derive(Debug, Clone)]
pub(super) enum Asking {
    /// A client that has none yet.
    New(Who),
    /// This one goes on.
    GoesOn(Arc<Socket>),
}

/// What became of it: a new session, or none where an earlier one goes on.
pub(super) type Answered = Result<Option<Opened>, Refusal>;

/// A session, as its node opened it.
pub(super) struct Begun {
    /// Its name.
    pub(super) id: SessionId,
    /// How far it is; none when its node does not tell.
    pub(super) stage: Option<Stage>,
    /// The client offered our subprotocol.
    pub(super) protocol: bool,
    /// What it may do.
    pub(super) terms: Arc<Terms>,
}
