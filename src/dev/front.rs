//! The router of the one process: its start, its address, its drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::Settings;
use crate::dev::Shared;
use crate::router::Router;
use crate::router::directory::{self, Directory};

/// The running router.
#[derive(Debug)]
pub(super) struct Front {
    address: SocketAddr,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Serves clients on a bound listener. The table is followed until `stop`.
    ///
    /// # Errors
    /// One clear line.
    pub(super) async fn start(
        settings: &Settings,
        shared: &Shared,
        listener: TcpListener,
        stop: &CancellationToken,
    ) -> Result<(Self, Router), String> {
        let address = listener.local_addr().map_err(|error| format!("client port: {error}"))?;
        let followed = Directory::follow(Arc::clone(&shared.table), directory::POLL_EVERY, stop.clone());
        let router = Router::new(settings.router()?, followed, Some(shared.verifier.clone()));
        // The table is there; the router has it with its first poll.
        while router.readiness().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (watchdog, serving, draining) = (shared.watchdog.clone(), router.clone(), drain.clone());
        tasks.spawn(async move {
            let served = serving.serve(listener, draining.clone());
            watchdog.watch("router", draining.clone(), served).await;
        });
        tasks.close();
        Ok((Self { address, drain, tasks }, router))
    }

    /// Where clients reach it.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes requests, lets go of the sockets.
    pub(super) async fn drain(&self) {
        self.drain.cancel();
        self.tasks.wait().await;
    }
}
