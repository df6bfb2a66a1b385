//! The owning end of links: the peer port. Takes connections, has them prove the cluster key,
//! serves their requests in order, and carries answers and pushes back.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::table::Table;
use crate::cluster::table::reach::{Reach, Told};
use crate::ids::{NodeId, ShardId};
use crate::link::codec::{decode, encode};
use crate::link::front::server::FrontServer;
use crate::link::handshake::{Proven, accept_link};
use crate::link::socket::{COALESCE_BYTES, Pulse, Reader, Socket, Writer, ticks};
use crate::link::{Config, Credentials, LinkError, Role};
use crate::node::link::frame::{Answer, Frame, Outcome, Request, push_weight};
use crate::node::link::{Asker, Serve};
use crate::problem::{Code, Problem};
use crate::shard::command::{Push, ShardError};
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};
use crate::telemetry;

/// Longest budget that a peer may claim.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// What is served longer than this past its deadline is given up; the peer has long done so.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of pushes in one frame; a larger single push goes alone.
const PUSHES_BYTES: usize = 1 << 20;

/// Pushes taken from the queue at once.
const PUSHES_AT_ONCE: usize = 256;

/// Pause after the listener failed to accept, so that running out of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the peer port is made of.
#[derive(Debug)]
pub struct Setup {
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

/// The peer port of this node. Dropping it leaves it running; see [`PeerServer::shutdown`].
#[derive(Debug)]
pub struct PeerServer {
    address: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Port {
    setup: Setup,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The link of each node; a newer one takes the place of the older, which must be dead.
    links: Mutex<HashMap<NodeId, CancellationToken>>,
}

impl Port {
    fn links(&self) -> MutexGuard<'_, HashMap<NodeId, CancellationToken>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerServer {
    /// Serves the port until it is shut down.
    #[must_use]
    pub fn spawn(listener: TcpListener, setup: Setup) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = listener.local_addr().ok();
        let port = Port {
            setup,
            stop: stop.clone(),
            tasks: tasks.clone(),
            links: Mutex::default(),
        };
        tasks.spawn(accept(listener, Arc::new(port)));
        Self {
            address,
            stop,
            tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more links, ends those there are, and waits until their tasks are gone. Answers not
    /// written are lost.
    pub async fn shutdown(&self) {
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

/// An encoded answer and its share of the bytes that may wait.
type Written = (Vec<u8>, OwnedSemaphorePermit);

/// What one accepted link shares with the requests that it serves.
#[derive(Clone)]
struct Serving {
    port: Arc<Port>,
    answers: mpsc::Sender<Written>,
    bytes: Arc<Semaphore>,
}

/// Ends the interests of a link, however the link ends.
struct Forget<'a>(&'a dyn Serve, SubscriberId);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

/// Serves a link until it ends.
async fn carry(
    port: &Arc<Port>,
    (peer, version): (NodeId, u16),
    socket: Socket,
    end: &CancellationToken,
) -> LinkError {
    let Socket {
        mut reader,
        mut writer,
        pulse,
    } = socket;
    let config = &port.setup.config;
    let (push_sender, pushes) = mpsc::channel(config.pushes_max.max(1));
    let (answers, answered) = mpsc::channel(config.in_flight_max.max(1));
    let bytes = Arc::new(Semaphore::new(
        config.queued_bytes_max.min(Semaphore::MAX_PERMITS),
    ));
    let subscriber = Subscriber::new(push_sender);
    let _forget = Forget(&*port.setup.service, subscriber.id());
    let asker = Asker {
        node: peer,
        subscriber,
    };
    let serving = Serving {
        port: Arc::clone(port),
        answers,
        bytes,
    };
    let in_flight = Arc::new(Semaphore::new(config.in_flight_max));
    let reading = async {
        loop {
            if let Err(error) = serve_next(&serving, &mut reader, &pulse, &asker, &in_flight).await
            {
                return error;
            }
        }
    };
    // Whichever ends first ends the link, so that no read or write is ever taken up again after it
    // was dropped.
    let error = tokio::select! {
        error = reading => error,
        error = write(&mut writer, answered, (pushes, version), config) => error,
        error = pulse.watch(config) => error,
        () = end.cancelled() => LinkError::Stopped,
    };
    if port.stop.is_cancelled() {
        writer.say_goodbye().await;
    }
    error
}

/// Takes the next request and starts serving it, so that requests are enqueued in the order in
/// which they came.
async fn serve_next(
    serving: &Serving,
    reader: &mut Reader,
    pulse: &Pulse,
    asker: &Asker,
    in_flight: &Arc<Semaphore>,
) -> Result<(), LinkError> {
    let bytes = reader.read().await?;
    let request = match decode::<Frame>(&bytes) {
        Ok(Frame::Request(request)) => request,
        Ok(_) => {
            return Err(LinkError::Protocol(
                "only requests are taken at the owner's end".to_owned(),
            ));
        }
        Err(error) => return Err(LinkError::Protocol(error.to_string())),
    };
    let Request {
        id,
        deadline_ms,
        table_version,
        table_age_ms,
        body,
    } = request;
    let told = Told {
        version: table_version,
        age_ms: table_age_ms,
    };
    serving.port.setup.reach.hear(told, Instant::now());
    let Ok(permit) = Arc::clone(in_flight).try_acquire_owned() else {
        let full =
            Problem::unavailable("too many requests of one node are being served; try again");
        pulse
            .while_busy(serving.answer((id, Vec::new()), Err(full.into())))
            .await;
        return Ok(());
    };
    let deadline = Instant::now() + Duration::from_millis(deadline_ms).min(DEADLINE_MAX);
    let service = &serving.port.setup.service;
    // Mostly nothing has moved, and then nobody need know what is asked.
    let shards = if service.knows_of_moves() {
        body.shards()
    } else {
        Vec::new()
    };
    let mut served = service.serve(body, deadline, asker);
    // The first poll enqueues whatever `serve` did not, before the next request is looked at.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx))).await {
        pulse.while_busy(serving.answer((id, shards), result)).await;
        return Ok(());
    }
    let serving = serving.clone();
    tokio::spawn(async move {
        if let Ok(result) = timeout_at((deadline + GRACE).into(), served).await {
            serving.answer((id, shards), result).await;
        }
        drop(permit);
    });
    Ok(())
}

impl Serving {
    /// Queues the answer to a request that concerns these shards; waits while too many bytes do.
    async fn answer(&self, (id, shards): (u64, Vec<ShardId>), result: Result<Outcome, ShardError>) {
        let table_version = self.port.setup.table.borrow().version;
        let table_age_ms = self.port.setup.reach.told(Instant::now()).age_ms;
        let service = &self.port.setup.service;
        let moved = if service.knows_of_moves() {
            service.moved(&shards)
        } else {
            Vec::new()
        };
        let frame_of = |told| {
            Frame::<()>::Answer(Answer {
                id,
                table_version,
                table_age_ms,
                result: told,
                moved: moved.clone(),
            })
        };
        let encoded = encode(&frame_of(result)).or_else(|error| {
            tracing::error!(%error, "an answer cannot be sent over a link");
            let problem = Problem::new(
                Code::TooLarge,
                "the answer is too large; ask for a smaller page",
            );
            encode(&frame_of(Err(problem.into())))
        });
        let Ok(frame) = encoded else { return };
        let most = self
            .port
            .setup
            .config
            .queued_bytes_max
            .min(Semaphore::MAX_PERMITS);
        let share = u32::try_from(frame.len().min(most)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.bytes).acquire_many_owned(share).await {
            // Fails when the link is gone: then nobody waits for the answer.
            self.answers.send((frame, permit)).await.ok();
        }
    }
}

/// Writes answers, pushes and signs of life, as many at once as are there.
async fn write(
    writer: &mut Writer,
    mut answers: mpsc::Receiver<Written>,
    (mut pushes, version): (mpsc::Receiver<Push>, u16),
    config: &Config,
) -> LinkError {
    let mut ticks = ticks(config.heartbeat);
    let mut taken = Vec::with_capacity(PUSHES_AT_ONCE);
    let mut permits = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => writer.beat(),
            Some((frame, held)) = answers.recv() => {
                writer.add(frame, 1);
                permits.push(held);
                while writer.gathered() < COALESCE_BYTES && let Ok((more, permit)) = answers.try_recv() {
                    writer.add(more, 1);
                    permits.push(permit);
                }
            }
            _ = pushes.recv_many(&mut taken, PUSHES_AT_ONCE) => {}
        }
        // What an older node does not know would end the link; it is told nothing of it.
        let known = std::mem::take(&mut taken)
            .into_iter()
            .filter(|push| push.since() <= version);
        let mut left = known.peekable();
        while left.peek().is_some() {
            let mut room = PUSHES_BYTES;
            let mut some: Vec<Push> = left.next().into_iter().collect();
            while let Some(push) = left.next_if(|push| push_weight(push) <= room) {
                room -= push_weight(&push);
                some.push(push);
            }
            let count = some.len();
            match encode(&Frame::<()>::Pushes(some)) {
                Ok(frame) => writer.add(frame, count),
                Err(error) => return LinkError::Protocol(error.to_string()),
            }
            if let Err(error) = writer.flush().await {
                return error;
            }
        }
        if let Err(error) = writer.flush().await {
            return error;
        }
        permits.clear();
    }
}
