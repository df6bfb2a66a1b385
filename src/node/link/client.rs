//! The requesting end of a link: opens it on demand, keeps requests in the order in which they were
//! made, matches answers to requests, and hands pushes on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cluster::table::Table;
use crate::cluster::table::reach::{Reach, Told};
use crate::ids::NodeId;
use crate::link::codec::{decode, encode};
use crate::link::dial::{Failures, dial};
use crate::link::socket::{COALESCE_BYTES, Pulse, Reader, Socket, Writer, ticks};
use crate::link::{Config, Credentials, Failure, LinkError};
use crate::node::link::frame::{Answer, Body, Frame, Request};
use crate::node::link::queue::{By, Enqueued, Queued, State, Waiting, next_connection};
use crate::shard::command::Push;
use crate::telemetry;

/// How much earlier than at our deadline the owner is to answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// The requesting end of the link to one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

/// What a link is made of.
pub struct Setup {
    /// Who we are.
    pub credentials: Credentials,
    /// The node at the other end.
    pub peer: NodeId,
    /// Tells how it is reached.
    pub table: watch::Receiver<Arc<Table>>,
    /// Takes its pushes; while it is full nothing more is read from the link.
    pub pushes: mpsc::Sender<Push>,
    /// Called each time an open link has ended, after the last of its pushes and before it is
    /// opened again.
    pub broken: Box<dyn Fn(&NodeId) + Send + Sync>,
    /// Told with each request, and tells of each answer.
    pub reach: Arc<Reach>,
    /// Settings.
    pub config: Config,
    /// Ends the link.
    pub stop: CancellationToken,
}

struct Shared {
    setup: Setup,
    next: AtomicU64,
    state: Mutex<State>,
    wake: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.setup.peer)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A link that is opened when it is first needed. Its task ends when `setup.stop` fires.
    #[must_use]
    pub fn spawn(setup: Setup) -> Self {
        let shared = Arc::new(Shared {
            setup,
            next: AtomicU64::new(1),
            state: Mutex::new(State::new()),
            wake: Notify::new(),
        });
        tokio::spawn(run(Arc::clone(&shared)));
        Self { shared }
    }

    /// Asks the node. The request is queued, behind all earlier ones, before this returns; the
    /// future waits for the answer, at most until `deadline`. Dropping the future does not take the
    /// request back.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn call(
        &self,
        body: &Body,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let queued = self.enqueue(body, deadline, By::Any);
        self.answer(queued, deadline)
    }

    /// Like [`Link::call`], but by the connection that is open or opened next and by no later one:
    /// when that ends, the request is surely not served unless it was handed to it. Tells which
    /// connection that is. `None` when it is not `of`, where one is named. So requests by one
    /// connection are served in their order or, from some one on, not at all.
    pub fn call_over(
        &self,
        of: Option<u64>,
        body: &Body,
        deadline: Instant,
    ) -> Option<(
        u64,
        impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    )> {
        let queued = self.enqueue(body, deadline, By::This(of));
        let connection = match &queued {
            Ok(queued) => queued.connection,
            Err(Failure::NotSent(_)) if of.is_some() => return None,
            // Refused for good: it keeps its place among those of the connection.
            Err(_) => of.unwrap_or_default(),
        };
        Some((connection, self.answer(queued, deadline)))
    }

    fn answer(
        &self,
        queued: Result<Enqueued, Failure>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let Enqueued { id, answer, .. } = queued?;
            let mut abandon = Abandon {
                shared,
                id,
                done: false,
            };
            match timeout_at(deadline.into(), answer).await {
                Ok(answered) => {
                    abandon.done = true;
                    answered.unwrap_or(Err(Failure::Lost))
                }
                Err(_elapsed) => Err(abandon.give_up()),
            }
        }
    }

    /// Tells the node something whose answer nobody needs, behind all earlier requests. Does
    /// nothing when the link is neither open nor about to be: then the node knows nothing of us
    /// that could end.
    pub fn tell(&self, body: &Body, deadline: Instant) {
        let state = self.shared.state();
        let needed = state.connected || !state.queue.is_empty();
        drop(state);
        if needed {
            // The answer is dropped unread: its waiting entry goes with the receiver.
            if let Ok(Enqueued { id, .. }) = self.enqueue(body, deadline, By::Any) {
                self.shared.state().waiting.remove(&id);
            }
        }
    }

    /// The failure is the caller's answer.
    fn enqueue(&self, body: &Body, deadline: Instant, by: By) -> Result<Enqueued, Failure> {
        let shared = &self.shared;
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        // So that what the owner says at its deadline is still heard before ours.
        let told = left.saturating_sub(ANSWER_MARGIN.min(left / 4));
        let deadline_ms = u64::try_from(told.as_millis()).unwrap_or(u64::MAX);
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let table_version = shared.setup.table.borrow().version;
        let table_age_ms = shared.setup.reach.told(now).age_ms;
        let frame = encode(&Frame::Request(Request {
            id,
            deadline_ms,
            table_version,
            table_age_ms,
            body,
        }))
        .map_err(|_error| Failure::TooLarge)?;
        let (sender, answer) = oneshot::channel();
        let mut state = shared.state();
        if state.stopped {
            return Err(Failure::NotSent("this node ends"));
        }
        let connection = state.connection;
        if matches!(by, By::This(Some(of)) if of != connection) {
            return Err(Failure::NotSent("the connection has ended"));
        }
        if state.is_full(frame.len(), &shared.setup.config) {
            state.purge(now);
            if state.is_full(frame.len(), &shared.setup.config) {
                return Err(Failure::Full);
            }
        }
        state.queued_bytes += frame.len();
        state.queue.push_back(Queued {
            id,
            deadline,
            frame,
            since: body.since(),
            bound: by != By::Any,
        });
        state.waiting.insert(
            id,
            Waiting {
                answer: sender,
                sent: false,
            },
        );
        drop(state);
        shared.wake.notify_one();
        Ok(Enqueued {
            id,
            connection,
            answer,
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request is queued. Cancel-safe.
    async fn until_queued(&self) {
        while !self.has_queued() {
            self.wake.notified().await;
        }
    }

    fn has_queued(&self) -> bool {
        let mut state = self.state();
        state.purge(Instant::now());
        !state.queue.is_empty()
    }

    /// Moves requests from the queue to the writer, up to one write, and remembers that they are
    /// out.
    fn take(&self, writer: &mut Writer, version: u16) {
        let now = Instant::now();
        let mut state = self.state();
        while writer.gathered() < COALESCE_BYTES {
            let Some(queued) = state.queue.pop_front() else {
                break;
            };
            state.queued_bytes -= queued.frame.len();
            if queued.deadline <= now {
                continue;
            }
            if queued.since > version {
                if let Some(waiting) = state.waiting.remove(&queued.id) {
                    waiting
                        .answer
                        .send(Err(Failure::NotSent(
                            "the node is too old for this request",
                        )))
                        .ok();
                }
                continue;
            }
            if let Some(waiting) = state.waiting.get_mut(&queued.id) {
                waiting.sent = true;
            }
            writer.add(queued.frame, 1);
        }
    }

    fn answered(&self, answer: Answer) {
        if let Some(waiting) = self.state().waiting.remove(&answer.id) {
            // Fails when the asker has given up.
            waiting.answer.send(Ok(answer)).ok();
        }
    }

    /// The socket is gone: what was handed to it is lost; what was not waits for the next, unless
    /// it was bound to this one.
    fn disconnected(&self) {
        let mut state = self.state();
        state.connected = false;
        state.connection = next_connection();
        let lost: Vec<_> = state
            .waiting
            .extract_if(|_, waiting| waiting.sent)
            .collect();
        let unbound = state.unbind();
        drop(state);
        for (_, waiting) in lost {
            waiting.answer.send(Err(Failure::Lost)).ok();
        }
        for waiting in unbound {
            waiting
                .answer
                .send(Err(Failure::NotSent("the connection has ended")))
                .ok();
        }
    }

    fn stopped(&self) {
        let mut state = self.state();
        state.stopped = true;
        let all = std::mem::take(&mut state.waiting);
        state.queue.clear();
        state.queued_bytes = 0;
        drop(state);
        for waiting in all.into_values() {
            let failure = if waiting.sent {
                Failure::Lost
            } else {
                Failure::NotSent("this node ends")
            };
            waiting.answer.send(Err(failure)).ok();
        }
    }
}

/// Forgets a request that nobody waits for any more.
struct Abandon {
    shared: Arc<Shared>,
    id: u64,
    done: bool,
}

impl Abandon {
    /// Time is up. A request still in the queue will not be taken from it, since its deadline has
    /// passed.
    fn give_up(&mut self) -> Failure {
        self.done = true;
        match self.shared.state().waiting.remove(&self.id) {
            Some(waiting) if !waiting.sent => {
                Failure::NotSent("the owner could not be reached in time")
            }
            _ => Failure::Lost,
        }
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.done {
            self.shared.state().waiting.remove(&self.id);
        }
    }
}

/// Keeps the link until it is stopped.
async fn run(shared: Arc<Shared>) {
    let setup = &shared.setup;
    setup
        .stop
        .run_until_cancelled(open_on_demand(&shared))
        .await;
    shared.stopped();
    (setup.broken)(&setup.peer);
}

/// Opens the link whenever something waits for it.
async fn open_on_demand(shared: &Shared) {
    let setup = &shared.setup;
    let mut failures = Failures::default();
    loop {
        shared.until_queued().await;
        let begun = Instant::now();
        let error = match dial_peer(setup).await {
            Ok((socket, version)) => use_link(shared, socket, version).await,
            Err(error) => error,
        };
        failures.add(&setup.peer, begun, &error);
        sleep(failures.pause(&setup.config)).await;
    }
}

async fn use_link(shared: &Shared, socket: Socket, version: u16) -> LinkError {
    tracing::info!(peer = %shared.setup.peer, version, "link opened");
    shared.state().connected = true;
    let error = carry(shared, socket, version).await;
    shared.disconnected();
    (shared.setup.broken)(&shared.setup.peer);
    telemetry::LINK_ENDS.add(1, &[]);
    error
}

/// Carries requests, answers and pushes until the socket ends.
async fn carry(shared: &Shared, socket: Socket, version: u16) -> LinkError {
    let Socket {
        mut reader,
        mut writer,
        pulse,
    } = socket;
    let config = &shared.setup.config;
    let reading = async {
        loop {
            if let Err(error) = take_frame(shared, &mut reader, &pulse).await {
                return error;
            }
        }
    };
    let writing = async {
        let mut ticks = ticks(config.heartbeat);
        loop {
            tokio::select! {
                _ = ticks.tick() => writer.beat(),
                () = shared.until_queued() => shared.take(&mut writer, version),
            }
            if let Err(error) = writer.flush().await {
                return error;
            }
        }
    };
    // Whichever ends first ends the link, so that no read or write is ever taken up again after it
    // was dropped.
    tokio::select! {
        error = reading => error,
        error = writing => error,
        error = pulse.watch(config) => error,
    }
}

async fn take_frame(shared: &Shared, reader: &mut Reader, pulse: &Pulse) -> Result<(), LinkError> {
    let bytes = reader.read().await?;
    match decode::<Frame>(&bytes).map_err(|error| LinkError::Protocol(error.to_string()))? {
        Frame::Answer(answer) => {
            let told = Told {
                version: answer.table_version,
                age_ms: answer.table_age_ms,
            };
            shared.setup.reach.hear(told, Instant::now());
            shared.answered(answer);
        }
        Frame::Pushes(pushes) => {
            for push in pushes {
                let sent = pulse.while_busy(shared.setup.pushes.send(push)).await;
                sent.map_err(|_closed| LinkError::Stopped)?;
            }
        }
        Frame::Request(_) => {
            return Err(LinkError::Protocol(
                "a request came from the owner's end".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Opens a connection to where the table says that the node is.
async fn dial_peer(setup: &Setup) -> Result<(Socket, u16), LinkError> {
    let address = setup
        .table
        .borrow()
        .addresses(&setup.peer)
        .map(|node| node.peer.clone());
    dial(
        &setup.credentials,
        &setup.peer,
        &address.ok_or(LinkError::NoAddress)?,
        &setup.config,
    )
    .await
}
