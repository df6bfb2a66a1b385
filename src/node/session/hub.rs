//! What all sessions of a node have in common.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Identity, Refused};
use crate::clock::Clock;
use crate::node::session::board::Board;
use crate::node::session::config::Config;
use crate::node::session::deadlines::Deadlines;
use crate::node::session::occasion::Occasion;
use crate::node::session::receipts::Gather;
use crate::node::session::requests::{Gathered, Requests};
use crate::node::session::upstream::Upstream;
use crate::node::session::window::Router;

/// Checks a token.
pub(super) type Verify = Box<dyn Fn(&str) -> Result<Identity, Refused> + Send + Sync>;

/// All sessions of this node and what they are subscribed to.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) inner: Arc<Inner>,
}

/// What the hub's tasks share.
pub(super) struct Inner {
    pub(super) board: Mutex<Board>,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) verify: Verify,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) gather: Gather,
    /// Bounds the requests to owners under way.
    pub(super) requests: Requests,
    /// Subscriptions that wait to be asked for.
    pub(super) gathered: Gathered,
    /// The hub's own tasks.
    pub(super) tracker: TaskTracker,
    pub(super) routers: Mutex<HashMap<u64, Arc<Router>>>,
    pub(super) deadlines: Mutex<Deadlines>,
    /// A session has left.
    pub(super) left: Notify,
    pub(super) stop: CancellationToken,
    pub(super) draining: AtomicBool,
    /// Sessions are sent away, and none is taken in, until that ends.
    pub(super) away: AtomicBool,
    /// What clients say of their typing that owners have not answered.
    pub(super) typing: Arc<Semaphore>,
    /// Whether sessions are to be told how users are, and what goes before that.
    pub(super) presence: Occasion,
    /// Counted up and down: the nodes of one process share it.
    pub(super) live: metrics::Gauge,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// How many sessions are live.
    #[must_use]
    pub(crate) fn sessions(&self) -> usize {
        self.inner.board().sessions.len()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn routers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Router>>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all_routers(&self) -> Vec<Arc<Router>> {
        self.routers().values().map(Arc::clone).collect()
    }
}

/// Whole milliseconds, as they are told to clients.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
