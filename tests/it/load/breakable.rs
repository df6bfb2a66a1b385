//! A deployment with a Redis of its own, for tests that break things: one after the other, each
//! leaves it whole.

use tokio::sync::{Mutex, MutexGuard};

use crate::BACKEND;
use crate::support::cluster::Cluster;
use crate::support::server::Server;

static KEPT: Mutex<Option<Server>> = Mutex::const_new(None);

/// The deployment, for one test at a time. One that a failed test leaves behind is not used again.
pub(crate) struct Breakable {
    server: Option<Server>,
    kept: MutexGuard<'static, Option<Server>>,
}

/// Waits for the turn of this test.
pub(crate) async fn breakable() -> Breakable {
    let mut kept = KEPT.lock().await;
    let server = kept
        .take()
        .unwrap_or_else(|| Server::Many(Cluster::start_alone(BACKEND, &[])));
    Breakable {
        server: Some(server),
        kept,
    }
}

impl Breakable {
    /// The deployment as clients see it.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Its processes.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.server().cluster()
    }
}

impl Drop for Breakable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            *self.kept = self.server.take();
        }
    }
}
