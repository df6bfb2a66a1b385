//! A router's port: its address, its drain.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::router::Router;
use crate::watchdog::Watchdog;

/// A serving router.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Serves clients on a bound listener.
    ///
    /// # Errors
    /// One clear line.
    pub(crate) fn serve(
        router: Router,
        listener: TcpListener,
        watchdog: Watchdog,
    ) -> Result<Self, String> {
        let address = listener
            .local_addr()
            .map_err(|error| format!("client port: {error}"))?;
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        let draining = drain.clone();
        tasks.spawn(async move {
            let served = router.serve(listener, draining.clone());
            watchdog.watch("router", draining.clone(), served).await;
        });
        tasks.close();
        Ok(Self {
            address,
            drain,
            tasks,
        })
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes requests, lets go of the sockets.
    pub(crate) async fn drain(&self) {
        self.drain.cancel();
        self.tasks.wait().await;
    }
}
