//! The owning end of links: the peer port. Takes connections, has them prove the cluster key, serves their requests in
//! order, and carries answers and pushes back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::Role;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::ids::{ClusterId, NodeId};
use crate::node::link::frame::{
    Answer, Frame, Outcome, PEER_VERSION, PEER_VERSION_MIN, Request as Asked, decode, encode, push_weight,
};
use crate::node::link::proof::{End, Nonce, PROOF_BYTES, Terms};
use crate::node::link::socket::{COALESCE_BYTES, Pulse, Reader, Writer, open, ticks};
use crate::node::link::{
    CLUSTER_HEADER, Config, Credentials, LinkError, NODE_HEADER, NONCE_HEADER, PATH, Serve, VERSION_HEADER,
};
use crate::node::table::Table;
use crate::problem::{Code, Problem};
use crate::shard::command::{Push, ShardError};
use crate::shard::subscriptions::Subscriber;
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
    /// Serves requests.
    pub service: Arc<dyn Serve>,
    /// Its version goes with every answer.
    pub table: watch::Receiver<Arc<Table>>,
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

impl PeerServer {
    /// Serves the port until it is shut down.
    #[must_use]
    pub fn spawn(listener: TcpListener, setup: Setup) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = listener.local_addr().ok();
        let port = Port { setup, stop: stop.clone(), tasks: tasks.clone(), links: Mutex::default() };
        tasks.spawn(accept(listener, Arc::new(port)));
        Self { address, stop, tasks }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more links, ends those there are, and waits until their tasks are gone. Answers not written are lost.
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
            let Ok(permit) = Arc::clone(&unproven).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => {
                    port.tasks.spawn(connection(Arc::clone(&port), stream, from, permit));
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
async fn connection(port: Arc<Port>, stream: TcpStream, from: SocketAddr, permit: OwnedSemaphorePermit) {
    let within = Instant::now() + port.setup.config.handshake_timeout;
    let proving = timeout_at(within.into(), prove(&port, stream));
    let proven = tokio::select! {
        proven = proving => proven.unwrap_or(Err(LinkError::Timeout("the handshake"))),
        () = port.stop.cancelled() => return,
    };
    drop(permit);
    let link = match proven {
        Ok(link) => link,
        Err(error) => {
            telemetry::LINKS_REFUSED.add(1, &[]);
            tracing::warn!(%from, %error, "peer connection refused");
            return;
        }
    };
    let ours = port.stop.child_token();
    let older = port.links.lock().unwrap_or_else(PoisonError::into_inner).insert(link.peer.clone(), ours.clone());
    if let Some(older) = older {
        older.cancel();
    }
    tracing::info!(peer = %link.peer, "link accepted");
    let peer = link.peer.clone();
    let error = link.carry(&port, &ours).await;
    if !ours.is_cancelled() {
        // Nobody took our place, so the entry is ours. Cancelled first: whoever looks sees that it is over.
        ours.cancel();
        let mut links = port.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&peer).is_some_and(CancellationToken::is_cancelled) {
            links.remove(&peer);
        }
    }
    tracing::info!(%peer, %error, "link ended");
}

/// What the upgrade request told.
struct Hello {
    version: u16,
    cluster: ClusterId,
    node: NodeId,
    nonce: Nonce,
}

impl Hello {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let nonce = STANDARD.decode(text(NONCE_HEADER)?).ok()?;
        Some(Self {
            version: text(VERSION_HEADER)?.parse().ok()?,
            cluster: ClusterId(Uuid::try_parse(text(CLUSTER_HEADER)?).ok()?),
            node: NodeId::from(text(NODE_HEADER)?),
            nonce: nonce.try_into().ok()?,
        })
    }
}

/// An accepted link whose peer has proven itself.
struct Proven {
    peer: NodeId,
    reader: Reader,
    writer: Writer,
    pulse: Arc<Pulse>,
}

/// Serves the upgrade and exchanges proofs. Whatever is no upgrade is answered 404 and closed.
async fn prove(port: &Port, stream: TcpStream) -> Result<Proven, LinkError> {
    stream.set_nodelay(true)?;
    let (sender, mut upgraded) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let service = service_fn(|request: Request<Incoming>| {
        let (response, accepted) = answer_upgrade(request);
        if let Some(accepted) = accepted
            && let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Fails when the connection is given up.
            sender.send(accepted).ok();
        }
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(port.setup.config.handshake_timeout)
        .keep_alive(false)
        .max_headers(32)
        .max_buf_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    let (hello, upgraded) =
        upgraded.try_recv().map_err(|_none| LinkError::Protocol("not an upgrade to a link".to_owned()))?;
    let socket = upgraded.await.map_err(|error| LinkError::Protocol(error.to_string()))?;
    let (mut reader, mut writer, pulse) = open(socket.into_inner().into_inner(), Role::Server, &port.setup.config)?;
    let us = &port.setup.credentials;
    let terms = Terms {
        version: hello.version,
        cluster: us.cluster,
        requester: hello.node,
        owner: us.node.clone(),
        requester_nonce: hello.nonce,
        owner_nonce: rand::random::<[u8; PROOF_BYTES]>(),
    };
    writer.add(terms.owner_nonce.to_vec());
    writer.flush().await?;
    let proof = reader.read().await?;
    let known = (PEER_VERSION_MIN..=PEER_VERSION).contains(&hello.version) && hello.cluster == us.cluster;
    if !known || !terms.holds(&us.key, End::Requester, &proof) {
        return Err(LinkError::NotProven);
    }
    writer.add(terms.prove(&us.key, End::Owner).ok_or(LinkError::NotProven)?.to_vec());
    writer.flush().await?;
    reader.proven();
    Ok(Proven { peer: terms.requester, reader, writer, pulse })
}

fn answer_upgrade(mut request: Request<Incoming>) -> (Response<Empty<Bytes>>, Option<(Hello, UpgradeFut)>) {
    let asked = request.method() == Method::GET && request.uri().path() == PATH && is_upgrade_request(&request);
    if asked
        && let Some(hello) = Hello::read(request.headers())
        && let Ok((response, upgraded)) = upgrade(&mut request)
    {
        return (response, Some((hello, upgraded)));
    }
    let mut refusal = Response::new(Empty::new());
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    (refusal, None)
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

impl Proven {
    /// Serves the link until it ends.
    async fn carry(mut self, port: &Arc<Port>, stop: &CancellationToken) -> LinkError {
        let config = &port.setup.config;
        let (push_sender, pushes) = mpsc::channel(config.pushes_max.max(1));
        let (answers, answered) = mpsc::channel(config.in_flight_max.max(1));
        let bytes = Arc::new(Semaphore::new(config.queued_bytes_max.min(Semaphore::MAX_PERMITS)));
        let subscriber = Subscriber::new(push_sender);
        let serving = Serving { port: Arc::clone(port), answers, bytes };
        let in_flight = Arc::new(Semaphore::new(config.in_flight_max));
        let reading = async {
            loop {
                if let Err(error) = serve_next(&serving, &mut self.reader, &self.pulse, &subscriber, &in_flight).await {
                    return error;
                }
            }
        };
        let writing = write(&mut self.writer, answered, pushes, config);
        // Whichever ends first ends the link, so that no read or write is ever taken up again after it was dropped.
        let error = tokio::select! {
            error = reading => error,
            error = writing => error,
            error = self.pulse.watch(config) => error,
            () = stop.cancelled() => LinkError::Stopped,
        };
        port.setup.service.forget(subscriber.id());
        error
    }
}

/// Takes the next request and starts serving it, so that requests are enqueued in the order in which they came.
async fn serve_next(
    serving: &Serving,
    reader: &mut Reader,
    pulse: &Pulse,
    subscriber: &Subscriber,
    in_flight: &Arc<Semaphore>,
) -> Result<(), LinkError> {
    let bytes = reader.read().await?;
    let request = match decode::<Frame>(&bytes) {
        Ok(Frame::Request(request)) => request,
        Ok(_) => return Err(LinkError::Protocol("only requests are taken at the owner's end".to_owned())),
        Err(error) => return Err(LinkError::Protocol(error.to_string())),
    };
    let Asked { id, deadline_ms, body, .. } = request;
    let Ok(permit) = Arc::clone(in_flight).try_acquire_owned() else {
        let full = Problem::unavailable("too many requests of one node are being served; try again");
        pulse.while_busy(serving.answer(id, Err(full.into()))).await;
        return Ok(());
    };
    let deadline = Instant::now() + Duration::from_millis(deadline_ms).min(DEADLINE_MAX);
    let mut served = serving.port.setup.service.serve(body, deadline, subscriber);
    // The first poll enqueues whatever `serve` did not, before the next request is looked at.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx))).await {
        pulse.while_busy(serving.answer(id, result)).await;
        return Ok(());
    }
    let serving = serving.clone();
    tokio::spawn(async move {
        if let Ok(result) = timeout_at((deadline + GRACE).into(), served).await {
            serving.answer(id, result).await;
        }
        drop(permit);
    });
    Ok(())
}

impl Serving {
    /// Queues an answer; waits while too many bytes do.
    async fn answer(&self, id: u64, result: Result<Outcome, ShardError>) {
        let table_version = self.port.setup.table.borrow().version;
        let encoded = encode(&Frame::<()>::Answer(Answer { id, table_version, result })).or_else(|error| {
            tracing::error!(%error, "an answer cannot be sent over a link");
            let problem = Problem::new(Code::TooLarge, "the answer is too large; ask for a smaller page");
            encode(&Frame::<()>::Answer(Answer { id, table_version, result: Err(problem.into()) }))
        });
        let Ok(frame) = encoded else { return };
        let most = self.port.setup.config.queued_bytes_max.min(Semaphore::MAX_PERMITS);
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
    mut pushes: mpsc::Receiver<Push>,
    config: &Config,
) -> LinkError {
    let mut ticks = ticks(config.heartbeat);
    let mut taken = Vec::with_capacity(PUSHES_AT_ONCE);
    let mut permits = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => writer.beat(),
            Some((frame, permit)) = answers.recv() => {
                writer.add(frame);
                permits.push(permit);
                while writer.gathered() < COALESCE_BYTES && let Ok((more, permit)) = answers.try_recv() {
                    writer.add(more);
                    permits.push(permit);
                }
            }
            _ = pushes.recv_many(&mut taken, PUSHES_AT_ONCE) => {}
        }
        let mut left = std::mem::take(&mut taken).into_iter().peekable();
        while left.peek().is_some() {
            let mut room = PUSHES_BYTES;
            let mut some: Vec<Push> = left.next().into_iter().collect();
            while let Some(push) = left.next_if(|push| push_weight(push) <= room) {
                room -= push_weight(&push);
                some.push(push);
            }
            match encode(&Frame::<()>::Pushes(some)) {
                Ok(frame) => writer.add(frame),
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
