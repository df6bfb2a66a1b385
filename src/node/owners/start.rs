//! How the way to owners begins and ends: its tasks, its links, and the peer port on which this
//! node serves.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::front::server::FrontServer;
use crate::node::link::server::{self, PeerServer};
use crate::node::link::{Asker, Serve};
use crate::node::owners::following;
use crate::node::owners::handle::{Inner, Owners};
use crate::node::owners::local::LocalShards;
use crate::node::owners::setup::Setup;
use crate::shard::write::subscriptions::Subscriber;

impl Owners {
    /// Starts to follow the table. Must be called within a tokio runtime; its tasks run until
    /// [`Owners::shutdown`].
    #[must_use]
    pub(crate) fn new(setup: Setup) -> Self {
        let local = Arc::new(LocalShards::of(&setup));
        let service: Arc<dyn Serve> = Arc::<LocalShards>::clone(&local);
        Self::assemble(setup, local, service)
    }

    pub(super) fn assemble(setup: Setup, local: Arc<LocalShards>, service: Arc<dyn Serve>) -> Self {
        let subscriber = Subscriber::new(setup.pushes.clone());
        let asker = Asker {
            node: setup.credentials.id.clone(),
            subscriber,
        };
        setup.beside.enter(&asker.node, &service);

        let inner = Inner {
            setup,
            local,
            service,
            asker,
            links: Mutex::default(),
            places: Arc::default(),
            lines: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let owners = Self {
            inner: Arc::new(inner),
        };
        owners.inner.tasks.spawn(following::follow(owners.clone()));
        let (shards, stop) = (Arc::clone(&owners.inner.local), owners.inner.stop.clone());
        owners
            .inner
            .tasks
            .spawn(async move { stop.run_until_cancelled(shards.tidy_snapshots()).await });
        owners
    }

    /// Serves the shards of this node to other nodes, on the peer port, and there `front` to
    /// routers.
    #[must_use]
    pub(crate) fn serve_peers(
        &self,
        listener: TcpListener,
        front: Option<Arc<FrontServer>>,
    ) -> PeerServer {
        let setup = server::Setup {
            credentials: self.inner.setup.credentials.clone(),
            service: Arc::clone(&self.inner.service),
            front,
            table: self.inner.setup.table.clone(),
            reach: Arc::clone(&self.inner.setup.reach),
            config: self.inner.setup.link.clone(),
        };
        PeerServer::spawn(listener, setup)
    }

    /// Ends all links. What waits for an answer gets none: `outcome_unknown` or `unavailable`.
    pub(crate) async fn shutdown(&self) {
        self.inner
            .setup
            .beside
            .leave(self.node(), self.inner.asker.subscriber.id());
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}
