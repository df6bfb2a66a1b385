//! The owning end of links: the peer port. Takes connections, has them prove the cluster key, and
//! serves each in the place of an older one of the same node or router.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ids::NodeId;
use crate::link::handshake::{Proven, accept_link};
use crate::link::socket::Socket;
use crate::link::{LinkError, Role};
use crate::node::link::accepted::carry;
use crate::node::link::port::Port;
use crate::telemetry;

pub(crate) use crate::node::link::port::Setup;

/// Pause after the listener failed to accept, so that running out of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The peer port of this node. Dropping it leaves it running; see [`PeerServer::shutdown`].
#[derive(Debug)]
pub(crate) struct PeerServer {
    #[cfg(test)]
    address: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl PeerServer {
    /// Serves the port until it is shut down.
    #[must_use]
    pub(crate) fn spawn(listener: TcpListener, setup: Setup) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        #[cfg(test)]
        let address = listener.local_addr().ok();
        let port = Port {
            setup,
            stop: stop.clone(),
            tasks: tasks.clone(),
            links: Mutex::default(),
        };
        tasks.spawn(accept(listener, Arc::new(port)));
        Self {
            #[cfg(test)]
            address,
            stop,
            tasks,
        }
    }

    /// Where it listens.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more links, ends those there are, and waits until their tasks are gone. Answers not
    /// written are lost.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Takes connections, at most so many unproven ones at a time.
async fn accept(listener: TcpListener, port: Arc<Port>) {
    let unproven = Arc::new(Semaphore::new(port.setup.config.unproven_max));
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&unproven).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, from)) => {
                    port.tasks
                        .spawn(connection(Arc::clone(&port), stream, from, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "peer port cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };

    tokio::select! {
        () = accepting => {}
        () = port.stop.cancelled() => {}
    }
}

/// One connection: proof first, then the link. The permit is held until the peer has proven itself.
async fn connection(
    port: Arc<Port>,
    stream: TcpStream,
    from: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let Setup {
        credentials,
        config,
        ..
    } = &port.setup;

    let proving = timeout(
        config.handshake_timeout,
        accept_link(credentials, config, stream),
    );
    let Some(proven) = port.stop.run_until_cancelled(proving).await else {
        return;
    };
    drop(permit);
    match proven.unwrap_or(Err(LinkError::Timeout("the handshake"))) {
        Ok((peer, socket)) => serve_link(&port, peer, socket).await,
        Err(error) => {
            telemetry::LINKS_REFUSED.add(1, &[]);
            tracing::warn!(%from, %error, "peer connection refused");
        }
    }
}

/// Serves a link in the place of an older one of that node or router, if there is one.
async fn serve_link(port: &Arc<Port>, proven: Proven, socket: Socket) {
    let Proven {
        id: peer,
        role,
        version,
    } = proven;

    let ours = port.stop.child_token();
    let older = port.links().insert(peer.clone(), ours.clone());
    if let Some(older) = older {
        older.cancel();
    }

    tracing::info!(%peer, role = role.word(), version, "link accepted");
    let error = match role {
        Role::Node => carry(port, (peer.clone(), version), socket, &ours).await,
        Role::Router => front(port, (peer.clone(), version), socket, &ours).await,
    };

    ours.cancel();
    // The entry is a newer link's if that has taken our place.
    let mut links = port.links();
    if links
        .get(&peer)
        .is_some_and(CancellationToken::is_cancelled)
    {
        links.remove(&peer);
    }
    drop(links);
    tracing::info!(%peer, %error, "link ended");
}

/// Serves the link of a router.
async fn front(
    port: &Port,
    router: (NodeId, u16),
    socket: Socket,
    end: &CancellationToken,
) -> LinkError {
    let Some(front) = &port.setup.front else {
        return LinkError::Stopped;
    };
    tokio::select! {
        error = front.serve(router, socket) => error,
        () = end.cancelled() => LinkError::Stopped,
    }
}
