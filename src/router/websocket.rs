//! WebSocket connections: relays the upgrade to a node over a connection of its own, then splices both directions without looking at
//! frames.
//!
//! **Invariants.** A spliced socket ends: when either side does, within a linger time; at a drain, within the window plus
//! the linger time; when its node fell silent ([`Cuts`]). What was read from a client before a drain reaches the node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::problem::Problem;
use crate::router::attempts::{Attempt, Repeatable, within};
use crate::router::directory::Directory;
use crate::router::forward::{AnswerBody, CONNECT_TIMEOUT, Outgoing, classify};
use crate::router::headers;
use crate::router::silence::{Cut, Cuts};
use crate::telemetry::ROUTER_SOCKETS;

/// Read buffer of each direction of a socket.
const BUFFER_BYTES: usize = 4096;
/// How long the other direction may go on when one has ended.
const LINGER: Duration = Duration::from_secs(5);
/// Longest wait for a client's connection to hand itself over after the 101.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The spliced sockets of a router, bounded in number.
#[derive(Debug)]
pub(super) struct Sockets {
    directory: Directory,
    permits: Arc<Semaphore>,
    /// What cuts the sockets of a node that fell silent.
    pub(super) cuts: Cuts,
    tasks: TaskTracker,
    drain: CancellationToken,
    cut: CancellationToken,
    window: Duration,
}

impl Sockets {
    /// At most `sockets_max`; a drain spreads over `window`.
    pub(super) fn new(directory: Directory, sockets_max: usize, window: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(sockets_max.min(Semaphore::MAX_PERMITS)));
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        Self { directory, permits, cuts: Cuts::default(), tasks: TaskTracker::new(), drain, cut, window }
    }

    /// Asks a node to upgrade, within the request's deadline, and relays what it says. On a 101 the splice starts as soon
    /// as the client's connection has handed itself over.
    ///
    /// # Errors
    /// `unavailable`: too many sockets, or no node could be asked.
    pub(super) async fn open(&self, outgoing: &Outgoing, client: OnUpgrade) -> Result<Response<AnswerBody>, Problem> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(Problem::unavailable("this router has as many sockets as it may have"));
        };
        let upgrade = Upgrade { outgoing, cuts: &self.cuts };
        let ended = within(&self.directory, outgoing.slot, outgoing.deadline, &upgrade).await;
        let opened = outgoing.concluded(ended, |opened: &Opened| opened.answer.status())?;
        if let Some((node, silent)) = opened.node {
            let (drain, cut, window) = (self.drain.clone(), self.cut.clone(), self.window);
            self.tasks.spawn(Splice { drain, cut, silent, window, permit }.run(client, node));
        }
        Ok(opened.answer)
    }

    /// Half-closes every socket towards its node, spread over the window; the nodes say goodbye. Done when all sockets
    /// are gone; those that linger are cut.
    pub(super) async fn drain(&self) {
        self.tasks.close();
        self.drain.cancel();
        if timeout(self.window + LINGER, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

struct Opened {
    answer: Response<AnswerBody>,
    node: Option<(OnUpgrade, Cut)>,
}

struct Upgrade<'a> {
    outgoing: &'a Outgoing,
    cuts: &'a Cuts,
}

impl Repeatable for Upgrade<'_> {
    type Answer = Opened;

    async fn send(&self, address: &str, left: Duration) -> Attempt<Opened> {
        let outgoing = self.outgoing;
        let stream = match timeout(CONNECT_TIMEOUT.min(left), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return Attempt::Unreachable,
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no nodelay towards a node");
        }
        let Ok((mut sender, connection)) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await else {
            return Attempt::Unreachable;
        };
        // Ends by itself: with the sender's drop unless upgraded, and then by handing the stream over.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = Uri::from(outgoing.path.clone());
        *request.headers_mut() = outgoing.headers_for(left);
        headers::ask_websocket(request.headers_mut());
        if let Ok(host) = address.parse() {
            request.headers_mut().insert(http::header::HOST, host);
        }
        match timeout_at(outgoing.deadline, sender.send_request(request)).await {
            Ok(Ok(mut response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let node = Some((hyper::upgrade::on(&mut response), self.cuts.of(address)));
                let mut answer = response.map(|_body| Either::Left(Full::default()));
                headers::strip_answer(answer.headers_mut());
                headers::ask_websocket(answer.headers_mut());
                Attempt::Answered(Opened { answer, node })
            }
            Ok(Ok(response)) => match classify(response, outgoing.deadline).await {
                Attempt::Answered(answer) => Attempt::Answered(Opened { answer, node: None }),
                Attempt::Declined(answer) => Attempt::Declined(Opened { answer, node: None }),
                Attempt::Elsewhere { owner, version } => Attempt::Elsewhere { owner, version },
                Attempt::Unreachable => Attempt::Unreachable,
                Attempt::Broken => Attempt::Broken,
            },
            Ok(Err(_)) | Err(_) => Attempt::Broken,
        }
    }
}

struct Splice {
    drain: CancellationToken,
    cut: CancellationToken,
    silent: Cut,
    window: Duration,
    permit: OwnedSemaphorePermit,
}

impl Splice {
    async fn run(self, client: OnUpgrade, node: OnUpgrade) {
        let both = async { tokio::try_join!(client, node) };
        let upgraded = match timeout(HANDOVER_TIMEOUT, both).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return debug!(%error, "a websocket ended before its splice began"),
            Err(_elapsed) => return debug!("a websocket was not handed over in time"),
        };
        let gauge = ROUTER_SOCKETS.bind(&[]);
        gauge.increment(1.0);
        tokio::select! {
            () = self.until_cut() => {}
            () = self.relay(upgraded) => {}
        }
        gauge.decrement(1.0);
        drop(self.permit);
    }

    async fn until_cut(&self) {
        tokio::select! {
            () = self.cut.cancelled() => {}
            () = self.silent.cut() => {}
        }
    }

    async fn relay(&self, (client, node): (Upgraded, Upgraded)) {
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_node, to_node) = split(TokioIo::new(node));
        let leave = async {
            self.drain.cancelled().await;
            // Spread, so that the clients do not all come back at once.
            let delay = self.window.mul_f64(rand::rng().random_range(0.0..1.0));
            sleep(delay).await;
        };
        let mut up = std::pin::pin!(pump(from_client, to_node, leave, Unwritable::ReadOn));
        let mut down = std::pin::pin!(pump(from_node, to_client, std::future::pending(), Unwritable::End));
        // Either may end first; what the other still has to say gets a bounded time.
        let lingered = tokio::select! {
            () = &mut up => timeout(LINGER, down).await,
            () = &mut down => timeout(LINGER, up).await,
        };
        if lingered.is_err() {
            debug!("a websocket was cut after lingering");
        }
    }
}

/// What to do with what is read when it cannot be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unwritable {
    /// End the direction.
    End,
    /// Read on and throw away: closing a socket with unread bytes would destroy a close frame still on its way out.
    ReadOn,
}

/// Copies until the end of `from` or until `stop`, then shuts `to` down. What was read is written even when `stop` fires.
async fn pump<R, W>(mut from: R, mut to: W, stop: impl Future<Output = ()>, unwritable: Unwritable)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut stop = std::pin::pin!(stop);
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut writable, mut stopped) = (true, false);
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = &mut stop => {
                stopped = true;
                break;
            }
        };
        let Some(bytes) = read.ok().and_then(|len| buffer.get(..len)).filter(|bytes| !bytes.is_empty()) else { break };
        if writable && to.write_all(bytes).await.is_err() {
            writable = false;
            if unwritable == Unwritable::End {
                break;
            }
        }
    }
    if let Err(error) = to.shutdown().await {
        debug!(%error, "a websocket's peer was gone before the end");
    }
    // Who goes on sending after that must still be able to read his goodbye.
    while stopped && unwritable == Unwritable::ReadOn {
        stopped = matches!(from.read(&mut buffer).await, Ok(1..));
    }
}
