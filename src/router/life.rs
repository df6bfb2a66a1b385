//! A router from its making to its drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Verifier;
use crate::router::config::Config;
use crate::router::directory::Directory;
use crate::router::forward::Forwarder;
use crate::router::hold::Hold;
use crate::router::links::Links;
use crate::router::opening::Opener;
use crate::router::requests::Inner;
use crate::router::server;
use crate::router::sessions::{Consumes, Sockets};

/// A router. Cheap to clone.
#[derive(Clone)]
pub struct Router(pub(super) Arc<Inner>);

impl Router {
    /// A router by this table. With a verifier, requests with a good token may fill the whole hold
    /// memory, others a quarter of it; without one, all count as others.
    #[must_use]
    pub fn new(
        config: Config,
        directory: Directory,
        links: Links,
        verifier: Option<Verifier>,
    ) -> Self {
        let sockets = Sockets::new(config.sockets_max, config.drain_window);
        links.consume(Arc::new(Consumes(Arc::clone(&sockets))));
        let opener = Opener::new(sockets, links.clone(), directory.clone());
        let forwarder = Forwarder::new(links, directory.clone(), config.hold_bytes_max);
        let hold = Hold::new(config.hold_bytes_max, config.body_timeout);
        Self(Arc::new(Inner {
            config,
            directory,
            verifier,
            forwarder,
            hold,
            opener,
            draining: AtomicBool::new(false),
        }))
    }

    /// Why no traffic should come here now.
    ///
    /// # Errors
    /// One word: it drains, or it never saw a table.
    pub fn readiness(&self) -> Result<(), &'static str> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err("draining");
        }
        self.0
            .directory
            .table()
            .map(|_table| ())
            .ok_or("no table yet")
    }

    /// Serves clients until `drain`; then takes no more connections, finishes the requests begun,
    /// tells the clients of sockets to connect again, spread over the window, and returns: at the
    /// latest after the longer of `finish_timeout` and `drain_window` plus 5 s. Dropping the future
    /// leaves connections to themselves.
    ///
    /// Call it once per router: a drained router stays drained.
    pub async fn serve(&self, listener: TcpListener, drain: CancellationToken) {
        server::run(&self.0, listener, drain).await;
    }
}
