//! The node's end of the links from routers: gives calls to the REST face and frames about sessions
//! to the hub, and queues what goes back.
//!
//! **Invariants.** Frames of one connection are given on in their order; calls are answered in any.
//! Once [`Sessions::ended`] was told of a connection, nothing of it comes any more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ids::NodeId;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::carry::{Carrier, carry};
use crate::link::front::queue::{Bound, Queue};
use crate::link::front::{Call, Down, PART_BYTES_MAX, Part, Reply, Up};
use crate::link::socket::Socket;
use crate::link::{Config, LinkError, PEER_VERSION};

/// What may be told later is put behind no more than so much that waits for a router: then whatever
/// comes after it waits for little.
pub(crate) const SPARE_BYTES: usize = 16 * 1024;

/// Longest budget that a router may claim.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// What is answered longer than this past its deadline is given up; the router has long done so.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes beside the bound for all that control frames may take. A router that takes so little that
/// even they find no space loses its link.
const RESERVE_BYTES: usize = 8 << 20;

/// How long what is queued may still go out when this process ends.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// What becomes of a call.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Answer> + Send + 'static>>;

/// What answers calls: the REST face of a node.
pub trait Answers: fmt::Debug + Send + Sync + 'static {
    /// Answers a call, until `deadline` at most.
    fn answer(&self, call: Call, deadline: Instant) -> Answering;

    /// The answer to a call for which there is no place.
    fn refuse(&self, call: &Call) -> Told;

    /// Version of the table that is followed, and milliseconds since it was read last.
    fn table(&self) -> (u64, Option<u64>);
}

/// What holds sessions: the hub of a node. Nothing here may wait.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Takes the next frame about a session of this connection; never an [`Up::Call`].
    fn take(&self, router: &RouterEnd, frame: Up);

    /// The connection has ended, and all sessions on it.
    fn ended(&self, router: &RouterEnd);
}

/// The node's end of one connection from a router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RouterEnd {
    router: NodeId,
    connection: u64,
    version: u16,
    out: Arc<Queue<Down>>,
}

impl RouterEnd {
    fn new(router: NodeId, version: u16, config: &Config) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let out = Arc::new(Queue::new(config.queued_bytes_max, RESERVE_BYTES));
        Self {
            router,
            connection: NEXT.fetch_add(1, Ordering::Relaxed),
            version,
            out,
        }
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &NodeId {
        &self.router
    }

    /// Names the connection; no other of this process has this name.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// The version of the contract that both ends speak.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Queues a frame. False when there is no space for it, or the connection has ended: then it is
    /// dropped. What says how things stand (everything but deliveries and bodies) has a reserve;
    /// where even that is full, the connection ends.
    pub fn offer(&self, frame: Down) -> bool {
        self.offer_or_return(frame).is_ok()
    }

    /// As [`RouterEnd::offer`].
    ///
    /// # Errors
    /// The frame.
    #[expect(
        clippy::result_large_err,
        reason = "it is moved on or handed back, and seldom the latter"
    )]
    pub fn offer_or_return(&self, frame: Down) -> Result<(), Down> {
        let bound = match &frame {
            Down::Deliver { .. } | Down::Reply(_) => Bound::All,
            Down::Opened { .. }
            | Down::Refused { .. }
            | Down::Room(_)
            | Down::Known { .. }
            | Down::Forgotten(_)
            | Down::Close { .. }
            | Down::Stands { .. }
            | Down::Answered { .. }
            | Down::Token { .. }
            | Down::Move(_) => Bound::Reserve,
        };

        let weight = frame.weight();
        let queued = self
            .out
            .put_or_return(frame, weight, bound)
            .map(drop)
            .map_err(|(_refused, frame)| frame);
        if queued.is_err() && bound == Bound::Reserve {
            self.end();
        }
        queued
    }

    /// True while deliveries find space.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.out.has_space()
    }

    /// True while less than [`SPARE_BYTES`] wait.
    #[must_use]
    pub fn takes_spare(&self) -> bool {
        self.out.has_less_than(SPARE_BYTES)
    }

    /// Waits until half of the space is free again, or the connection has ended. Cancel-safe.
    pub async fn until_room(&self) {
        self.out.until_space().await;
    }

    /// Ends the connection after what is queued.
    pub fn end(&self) {
        self.out.close();
    }
}

/// The front port of a node, whatever its links come over.
#[derive(Debug)]
pub struct FrontServer {
    answers: Arc<dyn Answers>,
    sessions: Arc<dyn Sessions>,
    config: Config,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Calls are answered no more: another node is to be asked.
    closing: AtomicBool,
    calls: TaskTracker,
}

impl FrontServer {
    /// One that serves until it is shut down.
    #[must_use]
    pub fn new(
        answers: Arc<dyn Answers>,
        sessions: Arc<dyn Sessions>,
        config: Config,
    ) -> Arc<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (closing, calls) = (AtomicBool::new(false), TaskTracker::new());
        Arc::new(Self {
            answers,
            sessions,
            config,
            stop,
            tasks,
            closing,
            calls,
        })
    }

    /// Sends calls elsewhere from now on, and waits until those that are begun are answered.
    pub async fn finish_calls(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.calls.close();
        self.calls.wait().await;
    }

    /// Ends all links after what is queued for them, and waits until that is done.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes a link of a router in this process: what comes from it is taken from `up`. Gives what
    /// goes to it, or nothing when this node ends.
    pub fn attach(
        self: &Arc<Self>,
        router: NodeId,
        up: Arc<Queue<Up>>,
    ) -> Option<Arc<Queue<Down>>> {
        if self.stop.is_cancelled() {
            return None;
        }
        let end = RouterEnd::new(router, PEER_VERSION, &self.config);
        let down = Arc::clone(&end.out);
        let server = Arc::clone(self);
        self.tasks
            .spawn(async move { server.carry(&end, Carrier::Memory(up)).await });
        Some(down)
    }

    /// Serves a link that came over a socket, until it ends.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        (router, version): (NodeId, u16),
        socket: Socket,
    ) -> LinkError {
        let end = RouterEnd::new(router, version, &self.config);
        self.tasks
            .track_future(self.carry(&end, Carrier::Socket(Box::new(socket), version)))
            .await
    }

    async fn carry(self: &Arc<Self>, end: &RouterEnd, carrier: Carrier<Up>) -> LinkError {
        let in_flight = Arc::new(Semaphore::new(self.config.in_flight_max));
        let _ended = Ended { server: self, end };
        let carrying = carry(carrier, &end.out, &self.config, |frames| {
            for frame in frames {
                match frame {
                    Up::Call(call) => self.call(end, call, &in_flight),
                    other => self.sessions.take(end, other),
                }
            }
        });
        tokio::pin!(carrying);
        tokio::select! {
            error = &mut carrying => return error,
            () = self.stop.cancelled() => end.end(),
        }

        timeout(GOODBYE_PATIENCE, carrying)
            .await
            .unwrap_or(LinkError::Stopped)
    }

    /// Has a call answered, beside all others.
    fn call(self: &Arc<Self>, end: &RouterEnd, call: Call, in_flight: &Arc<Semaphore>) {
        let (server, end, id) = (Arc::clone(self), end.clone(), call.id);
        let deadline = Instant::now() + Duration::from_millis(call.deadline_ms).min(DEADLINE_MAX);
        if self.closing.load(Ordering::SeqCst) {
            end.offer(self.reply(id, 0, Part::Elsewhere { owner: None }));
            return;
        }

        let Ok(permit) = Arc::clone(in_flight).try_acquire_owned() else {
            // Beyond the bound nothing waits: what finds no space is dropped, and its router gives
            // it up.
            let told = Answer::Told(self.answers.refuse(&call));
            for part in parts(told) {
                if !end.offer(server.reply(id, 0, part)) {
                    return;
                }
            }
            return;
        };

        let answering = self.answers.answer(call, deadline);
        self.calls.spawn(async move {
            let until = (deadline + GRACE).into();
            let answered = timeout_at(until, async {
                let answer = answering.await;
                let by = answer.version();
                for part in parts(answer) {
                    server.put(&end, server.reply(id, by, part)).await;
                }
            });
            // Given up: the router has long said so to its client.
            drop(answered.await);
            drop(permit);
        });
    }

    /// Queues a part of an answer; waits while there is no space.
    async fn put(&self, end: &RouterEnd, frame: Down) {
        while !end.has_room() {
            end.until_room().await;
            if end.out.is_closed() {
                return;
            }
        }
        let weight = frame.weight();
        // There was space for some of it; fails when the link is gone, and then nobody waits for
        // the answer.
        end.out.put(frame, weight, Bound::Reserve).ok();
    }

    /// `by`: the version of the table by which the part was told, if that matters.
    fn reply(&self, id: u64, by: u64, part: Part) -> Down {
        let (followed, table_age_ms) = self.answers.table();
        Down::Reply(Reply {
            id,
            table_version: followed.max(by),
            table_age_ms,
            part,
        })
    }
}

/// Tells that a connection has ended, however it ends.
struct Ended<'a> {
    server: &'a FrontServer,
    end: &'a RouterEnd,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.end.out.close();
        self.server.sessions.ended(self.end);
    }
}

/// An answer as it goes over the link.
fn parts(answer: Answer) -> Vec<Part> {
    let Told {
        status,
        headers,
        body,
    } = match answer {
        Answer::Elsewhere { owner, .. } => return vec![Part::Elsewhere { owner }],
        Answer::Told(told) => told,
    };

    let mut pieces: Vec<Bytes> = Vec::with_capacity(body.len());
    for mut whole in body {
        while whole.len() > PART_BYTES_MAX {
            pieces.push(whole.split_to(PART_BYTES_MAX));
        }
        if !whole.is_empty() {
            pieces.push(whole);
        }
    }

    let mut pieces = pieces.into_iter();
    let first = pieces.next().unwrap_or_default();
    let mut parts = vec![Part::Head {
        status,
        headers,
        body: first,
        more: pieces.len() > 0,
    }];
    while let Some(piece) = pieces.next() {
        parts.push(Part::Body {
            body: piece,
            more: pieces.len() > 0,
        });
    }

    parts
}
