//! All sockets of a router: their places, their links, and their drain.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ids::NodeId;
use crate::link::front::client::{Consumer, NodeLink};
use crate::link::front::{Down, Open, Refusal, Up};
use crate::problem::Problem;
use crate::router::sessions::asking::{Asking, Opened};
use crate::router::sessions::counts::Counts;
use crate::router::sessions::followed::Who;
use crate::router::sessions::homeless::{AT_ONCE, Rehouses};
use crate::router::sessions::line::Sent;
use crate::router::sessions::names::Names;
use crate::router::sessions::socket::Socket;
use crate::router::sessions::streams::{Streams, Upward};
use crate::router::stream::stream_of;
use crate::telemetry::{ROUTER_SOCKETS, ROUTER_SOCKETS_CUT};

/// Longest wait for a client's connection to hand itself over after the 101.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a socket may still take to end after its time has come at a drain.
const LINGER: Duration = Duration::from_secs(5);
/// What a client is told when its router ends.
const DRAINS: &str = "the router drains";

/// A link to a node, as sockets need it. Cheap to clone.
pub(in crate::router) trait Link: Clone + Send + Sync + 'static {
    /// As [`NodeLink::send`].
    fn send(&self, of: Option<u64>, frame: Up) -> Result<u64, Sent>;
}

impl Link for NodeLink {
    fn send(&self, of: Option<u64>, frame: Up) -> Result<u64, Sent> {
        Self::send(self, of, frame).map_err(|failure| match failure {
            crate::link::Failure::Full => Sent::Full,
            _ => Sent::Never,
        })
    }
}

/// One connection of a link.
struct Connection<L> {
    link: L,
    number: u64,
}

impl<L: Link> Upward for Connection<L> {
    fn send(&self, up: Up) -> Sent {
        self.link
            .send(Some(self.number), up)
            .map_or_else(|sent| sent, |_connection| Sent::Yes)
    }
}

/// The sockets of a router, bounded in number.
#[derive(Debug)]
pub(in crate::router) struct Sockets {
    permits: Arc<Semaphore>,
    /// The connections that have sessions, by their numbers.
    connections: Mutex<HashMap<u64, Arc<Streams>>>,
    numbers: AtomicU64,
    pub(super) tasks: TaskTracker,
    pub(super) draining: CancellationToken,
    cut: CancellationToken,
    window: Duration,
    names: Arc<Names>,
    counts: Arc<Counts>,
    /// Finds other nodes for sessions that have lost theirs.
    pub(super) rehouses: OnceLock<Weak<dyn Rehouses>>,
    /// Sessions that are attached at once.
    pub(super) rehoused_at_once: Arc<Semaphore>,
}

/// The place of one socket among all that there may be.
pub(in crate::router) type Place = OwnedSemaphorePermit;

impl Sockets {
    /// At most `sockets_max`; a drain spreads over `window`.
    pub(in crate::router) fn new(sockets_max: usize, window: Duration) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(sockets_max.min(Semaphore::MAX_PERMITS))),
            connections: Mutex::default(),
            numbers: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
            window,
            names: Arc::default(),
            counts: Arc::default(),
            rehouses: OnceLock::new(),
            rehoused_at_once: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Streams>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more socket.
    ///
    /// # Errors
    /// `unavailable`: there are too many.
    pub(in crate::router) fn place(&self) -> Result<Place, Problem> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_none| Problem::unavailable("this router has as many sockets as it may have"))
    }

    /// Asks the node at the other end of a link to open a session, whose number is chosen here.
    /// Dropping the future gives it up.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(in crate::router) async fn ask(
        &self,
        link: &impl Link,
        open: Open,
        who: Who,
    ) -> Result<Opened, Unopened> {
        self.asked(link, open, Asking::New(who))
            .await?
            .ok_or(Unopened::Broken)
    }

    pub(super) async fn asked(
        &self,
        link: &impl Link,
        mut open: Open,
        asking: Asking,
    ) -> Result<Option<Opened>, Unopened> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        open.session = number;

        let opening = {
            // Held while it is sent: neither an answer nor the end of the connection comes before
            // the session is known.
            let mut connections = self.connections();
            let connection = link
                .send(None, Up::Open(open))
                .map_err(|_sent| Unopened::NotAsked)?;
            let streams = connections.entry(connection).or_insert_with(|| {
                let up = Box::new(Connection {
                    link: link.clone(),
                    number: connection,
                });
                let streams = Streams::new(up, Arc::clone(&self.names), Arc::clone(&self.counts));
                self.tell_for(&streams);
                streams
            });
            streams.asked(number, asking)
        };

        match opening.answered().await {
            Some(answered) => answered.map_err(Unopened::from),
            None => Err(Unopened::Broken),
        }
    }

    /// Has a connection's gathered news told until it ends.
    fn tell_for(&self, streams: &Arc<Streams>) {
        let (streams, cut) = (Arc::clone(streams), self.cut.clone());
        tokio::spawn(async move { cut.run_until_cancelled(streams.tell()).await });
    }

    /// What came over a connection.
    pub(in crate::router) fn arrived(
        self: &Arc<Self>,
        node: &NodeId,
        connection: u64,
        frames: Vec<Down>,
    ) {
        let streams = self.connections().get(&connection).map(Arc::clone);
        if let Some(streams) = streams {
            self.rehouse(node, streams.arrived(frames));
        }
    }

    /// A connection has ended: other nodes go on with its sessions.
    pub(in crate::router) fn ended(self: &Arc<Self>, node: &NodeId, connection: u64) {
        let Some(streams) = self.connections().remove(&connection) else {
            return;
        };
        let (sockets, node) = (Arc::clone(self), node.clone());
        tokio::spawn(async move {
            let Some((homeless, cut)) = sockets.cut.run_until_cancelled(streams.ended()).await
            else {
                return;
            };
            if homeless.len() + cut > 0 {
                tracing::warn!(%node, sessions = homeless.len() + cut, "a link ended that carried sessions");
            }
            ROUTER_SOCKETS_CUT.add(u64::try_from(cut).unwrap_or(u64::MAX), &[]);
            sockets.rehouse(&node, homeless);
        });
    }

    /// Serves an opened session as soon as the client's connection has handed itself over, until it
    /// ends.
    pub(in crate::router) fn serve(
        self: &Arc<Self>,
        opened: Opened,
        client: OnUpgrade,
        place: Place,
    ) {
        let sockets = Arc::clone(self);
        self.tasks.spawn(async move {
            let served = async {
                let (stream, first) = handed_over(client).await?;
                if sockets.draining.is_cancelled() {
                    sockets.drain_one(&opened.socket);
                }
                let gauge = ROUTER_SOCKETS.bind(&[]);
                gauge.increment(1.0);
                let _live = Counted(gauge);
                Arc::clone(&opened.socket).run(stream, first).await;
                Some(())
            };
            sockets.cut.run_until_cancelled(served).await;
            drop((opened, place));
        });
    }

    /// Tells a client to come back within the window of the drain, and closes its socket then.
    pub(super) fn drain_one(&self, socket: &Socket) {
        socket.send_away(
            self.window.mul_f64(rand::random_range(0.0..=1.0)),
            DRAINS,
            false,
        );
    }

    /// Tells every client to come back after a delay spread over the window, and closes its socket
    /// then. Done when all sockets are gone; those that linger are cut.
    pub(in crate::router) async fn drain(&self) {
        self.tasks.close();
        self.draining.cancel();
        let connections: Vec<_> = self.connections().values().map(Arc::clone).collect();
        for socket in connections.iter().flat_map(|streams| streams.sockets()) {
            self.drain_one(&socket);
        }
        let gone = timeout(self.window + LINGER, self.tasks.wait()).await;
        self.cut.cancel();
        if gone.is_err() {
            self.tasks.wait().await;
        }
    }
}

/// Takes what comes over links for the sockets.
#[derive(Debug)]
pub(in crate::router) struct Consumes(pub(in crate::router) Arc<Sockets>);

impl Consumer for Consumes {
    fn take(&self, node: &NodeId, connection: u64, frames: Vec<Down>) {
        self.0.arrived(node, connection, frames);
    }

    fn ended(&self, node: &NodeId, connection: u64) {
        self.0.ended(node, connection);
    }

    fn heard(&self, _version: u64, _age_ms: Option<u64>) {}
}

/// Why there is no session.
#[derive(Debug)]
pub(in crate::router) enum Unopened {
    /// What the client is told.
    Refused(Problem),
    /// The node takes none, and did nothing; who may, by which version of the table.
    Elsewhere(Option<NodeId>, u64),
    /// The node was not asked.
    NotAsked,
    /// The link ended before there was an answer.
    Broken,
}

impl From<Refusal> for Unopened {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Problem(problem) => Self::Refused(problem),
            Refusal::Elsewhere { owner, version } => Self::Elsewhere(owner, version),
        }
    }
}

/// One socket in the gauge of those there are.
struct Counted(metrics::Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The client's connection, and what was read of it beyond the request.
async fn handed_over(client: OnUpgrade) -> Option<(TcpStream, Bytes)> {
    match timeout(HANDOVER_TIMEOUT, client).await {
        Ok(Ok(upgraded)) => stream_of(upgraded),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a websocket ended before it began");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("a websocket was not handed over in time");
            None
        }
    }
}
