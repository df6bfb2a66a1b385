//! A session without a node, and whoever finds it another one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::ids::NodeId;
use crate::link::front::attach::Attach;
use crate::router::sessions::followed::Who;
use crate::router::sessions::socket::Socket;

/// Sessions that are attached at once.
pub(super) const AT_ONCE: usize = 64;

/// Finds nodes.
pub(in crate::router) trait Rehouses: std::fmt::Debug + Send + Sync {
    /// Has a node go on with the session until `deadline`; the one that was lost is asked last.
    fn rehouse(&self, homeless: Homeless, lost: NodeId, deadline: Instant) -> BoxFuture<'_, Moved>;
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Moved {
    /// Another node goes on with it, or its client has gone.
    Done,
    /// Its token is refused.
    Refused,
    /// No node took it in time.
    Nowhere,
}

/// A session without a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::router) struct Homeless(pub(super) Arc<Socket>);

impl Homeless {
    /// What a node is told; none once the session has ended.
    pub(in crate::router) fn leaves(&self) -> Option<(Who, Attach)> {
        self.0.leaves()
    }
}
