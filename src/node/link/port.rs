//! What the peer port is made of, and the links that it serves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::NodeId;
use crate::link::front::server::FrontServer;
use crate::link::{Config, Credentials};
use crate::node::link::Serve;

/// What the peer port is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Who we are.
    pub credentials: Credentials,
    /// Serves requests of nodes.
    pub service: Arc<dyn Serve>,
    /// Serves routers; without it they are sent away.
    pub front: Option<Arc<FrontServer>>,
    /// Its version goes with every answer.
    pub table: watch::Receiver<Arc<Table>>,
    /// Told with each answer, and tells of each request.
    pub reach: Arc<Reach>,
    /// Settings.
    pub config: Config,
}

/// The port while it is served.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) setup: Setup,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// The link of each node; a newer one takes the place of the older, which must be dead.
    pub(super) links: Mutex<HashMap<NodeId, CancellationToken>>,
}

impl Port {
    pub(super) fn links(&self) -> MutexGuard<'_, HashMap<NodeId, CancellationToken>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
