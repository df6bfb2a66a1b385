//! The sessions of one connection of a link: what comes from the node goes to their sockets, and what sockets have to tell
//! the node is gathered for all of them.
//!
//! **Invariants.** A number is chosen once and never again. What comes for a number that nobody has any more is dropped.
//! When the connection ends, every session of it ends, and what waits to be opened is asked of another node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ids::Seq;
use crate::link::front::{self, Down, Handle, Refusal, SessionNumber, Terms, Up};
use crate::router::sessions::frames;
use crate::router::sessions::outbox::End;
use crate::router::sessions::pulse::{Marks, gather};
use crate::router::sessions::socket::Socket;
use crate::telemetry;

/// Sockets that are ended one after the other before other tasks get their turn.
const ENDED_AT_ONCE: usize = 128;
/// After the end of a connection, the longest delay told to a client.
const AWAY_MAX: Duration = Duration::from_secs(1);
/// How often what is gathered goes to the node, unless its sessions' terms say otherwise.
const GATHER_EVERY: Duration = Duration::from_millis(250);

/// What goes to the node, in order. That of one connection.
pub(super) trait Upward: Send + Sync {
    /// Takes a frame.
    fn send(&self, up: Up) -> Sent;
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Sent {
    /// It is on its way.
    Yes,
    /// Too much waits for the connection; it may be tried again.
    Full,
    /// The connection has ended.
    Never,
}

/// A session that the node has opened. Dropped, it ends.
#[derive(Debug)]
pub(in crate::router) struct Opened {
    /// To be given the client's connection.
    pub(super) socket: Arc<Socket>,
    /// The client offered our subprotocol.
    pub(in crate::router) protocol: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.socket.abandon();
    }
}

/// What a batch of frames leaves to do once the table is free again.
#[derive(Default)]
struct Later {
    /// Something was queued for these.
    touched: Vec<(SessionNumber, Arc<Socket>)>,
    /// Their clients went while the node opened them.
    unclaimed: Vec<Result<Opened, Refusal>>,
}

/// See the head of this file.
pub(super) struct Streams {
    up: Box<dyn Upward>,
    table: Mutex<Table>,
    gathered: Mutex<Gathered>,
    /// Something was gathered.
    gathers: Notify,
    /// The connection has ended.
    over: CancellationToken,
    frames_in: metrics::Counter,
    frames_out: metrics::Counter,
    writes: metrics::Counter,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionNumber, Entry>,
    /// Those of the session that was opened last: all have the same, mostly.
    terms: Option<Arc<Terms>>,
    has_ended: bool,
}

enum Entry {
    Opening(oneshot::Sender<Result<Opened, Refusal>>),
    Live(Arc<Socket>),
}

#[derive(Default)]
struct Gathered {
    /// What clients have read. No more than the pulses of all sockets hold.
    reads: HashMap<SessionNumber, Marks>,
    /// Sockets that took something, each once.
    taken: Vec<SessionNumber>,
    every: Option<Duration>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    /// A connection without sessions.
    pub(super) fn new(up: Box<dyn Upward>) -> Arc<Self> {
        Arc::new(Self {
            up,
            table: Mutex::default(),
            gathered: Mutex::default(),
            gathers: Notify::new(),
            over: CancellationToken::new(),
            frames_in: telemetry::SESSION_FRAMES.bind(&[("direction", "in")]),
            frames_out: telemetry::SESSION_FRAMES.bind(&[("direction", "out")]),
            writes: telemetry::SESSION_WRITES.bind(&[]),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of that number is asked for. To be called before the answer can come.
    pub(super) fn asked(self: &Arc<Self>, number: SessionNumber) -> Opening {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table();
        if !table.has_ended {
            table.sessions.insert(number, Entry::Opening(answer));
        }
        Opening { streams: Arc::clone(self), number, answered, is_answered: false }
    }

    /// What came from the node, in order.
    pub(super) fn arrived(self: &Arc<Self>, batch: Vec<Down>) {
        let mut later = Later::default();
        {
            let mut table = self.table();
            for down in batch {
                self.take_in(&mut table, down, &mut later);
            }
        }
        drop(later.unclaimed);
        let told: Vec<_> = later
            .touched
            .into_iter()
            .map(|(number, socket)| (number, socket.flush()))
            .filter(|(_, taken)| *taken > 0)
            .collect();
        if !told.is_empty() {
            self.up.send(Up::Taken(told));
        }
    }

    fn take_in(self: &Arc<Self>, table: &mut Table, down: Down, later: &mut Later) {
        match down {
            Down::Opened { session, protocol, terms, .. } => {
                later.unclaimed.extend(self.opened(table, session, protocol, terms));
            }
            Down::Refused { session, why } => {
                if let Some(Entry::Opening(answer)) = table.sessions.remove(&session) {
                    // Whoever asked has given up: there is no session all the same.
                    answer.send(Err(why)).ok();
                }
            }
            Down::Deliver { to, quiet, text, event } => {
                let (frame, cost) = (frames::text(&text), front::cost(text.len()));
                let marked = to.iter().map(|number| (number, event));
                for (number, mark) in marked.chain(quiet.iter().map(|number| (number, None))) {
                    deliver(table, *number, (&frame, cost), mark, &mut later.touched);
                }
            }
            Down::Room(rooms) => {
                for (number, bytes) in rooms {
                    if let Some(Entry::Live(socket)) = table.sessions.get(&number) {
                        socket.room(bytes);
                    }
                }
            }
            Down::Close { session, code } => {
                if let Some(Entry::Live(socket)) = table.sessions.remove(&session) {
                    socket.end(End::Close(code));
                }
            }
            // A handle is enough to say how far a session was served; what it stands for is the node's.
            Down::Known { .. } | Down::Forgotten(_) => {}
            // Told to who asked before it comes here.
            Down::Reply(_) => {}
        }
    }

    /// A session is open. It is given back when nobody asks for it any more.
    fn opened(
        self: &Arc<Self>,
        table: &mut Table,
        number: SessionNumber,
        protocol: bool,
        terms: Terms,
    ) -> Option<Result<Opened, Refusal>> {
        let Some(Entry::Opening(answer)) = table.sessions.remove(&number) else { return None };
        let same = table.terms.as_ref().filter(|known| ***known == terms);
        let terms = same.map_or_else(|| Arc::new(terms), Arc::clone);
        self.gathered().every = Some(Duration::from_millis(terms.marks_ms.into()));
        table.terms = Some(Arc::clone(&terms));
        let socket = Arc::new(Socket::new(number, Arc::clone(self), terms));
        table.sessions.insert(number, Entry::Live(Arc::clone(&socket)));
        answer.send(Ok(Opened { socket, protocol })).err()
    }

    /// The session is over for its client. What they have read is told before.
    pub(super) fn leave(&self, number: SessionNumber) {
        if self.table().sessions.remove(&number).is_none() {
            return;
        }
        if let Some(marks) = self.gathered().reads.remove(&number) {
            self.up.send(Up::Read(vec![(number, marks.into_iter().collect())]));
        }
        self.up.send(Up::Gone(number));
    }

    /// A frame of a session, to the node.
    pub(super) fn send(&self, up: Up) -> Sent {
        self.up.send(up)
    }

    /// Tells the node at once what a socket took, if anything.
    pub(super) fn tell_taken(&self, number: SessionNumber, taken: u32) {
        if taken > 0 {
            self.up.send(Up::Taken(vec![(number, taken)]));
        }
    }

    /// A socket took something that is told with the others'.
    pub(super) fn list(&self, number: SessionNumber) {
        let mut gathered = self.gathered();
        gathered.taken.push(number);
        drop(gathered);
        self.gathers.notify_one();
    }

    /// A client has surely read so far.
    pub(super) fn read(&self, number: SessionNumber, marks: Marks) {
        if marks.is_empty() {
            return;
        }
        gather(self.gathered().reads.entry(number).or_default(), marks);
        self.gathers.notify_one();
    }

    /// Counts frames and writes to sockets.
    pub(super) fn count_out(&self, frames: u64, writes: u64) {
        if writes > 0 {
            self.frames_out.increment(frames);
            self.writes.increment(writes);
        }
    }

    /// Counts a frame of a client.
    pub(super) fn count_in(&self) {
        self.frames_in.increment(1);
    }

    /// Tells the node what is gathered: the first of it at once, and then at most once in the time that the terms say. Runs
    /// until the connection ends.
    pub(super) async fn tell(&self) {
        self.over.run_until_cancelled(self.tell_on()).await;
    }

    async fn tell_on(&self) {
        let mut last: Option<Instant> = None;
        loop {
            self.gathers.notified().await;
            let every = self.gathered().every.unwrap_or(GATHER_EVERY);
            if let Some(last) = last {
                sleep_until(last + every).await;
            }
            last = Some(Instant::now());
            self.tell_gathered();
        }
    }

    fn tell_gathered(&self) {
        let Gathered { reads, taken, .. } = {
            let mut gathered = self.gathered();
            let every = gathered.every;
            std::mem::replace(&mut *gathered, Gathered { every, ..Gathered::default() })
        };
        let taken: Vec<_> = {
            let table = self.table();
            let sockets = taken.into_iter().filter_map(|number| match table.sessions.get(&number) {
                Some(Entry::Live(socket)) => Some((number, socket.untold())),
                Some(Entry::Opening(_)) | None => None,
            });
            sockets.filter(|(_, bytes)| *bytes > 0).collect()
        };
        if !taken.is_empty() {
            self.up.send(Up::Taken(taken));
        }
        let shed: u64 = reads.values().map(|marks| u64::try_from(marks.len()).unwrap_or(u64::MAX)).sum();
        let reads: Vec<_> = reads.into_iter().map(|(number, marks)| (number, marks.into_iter().collect())).collect();
        if !reads.is_empty() && self.up.send(Up::Read(reads)) != Sent::Yes {
            telemetry::SESSION_DELIVERED.add(shed, &[("result", "shed")]);
        }
    }

    /// All sockets that are live.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        let live = |entry: &Entry| match entry {
            Entry::Live(socket) => Some(Arc::clone(socket)),
            Entry::Opening(_) => None,
        };
        self.table().sessions.values().filter_map(live).collect()
    }

    /// The connection has ended: so do its sessions, whose clients are told to come back. How many there were.
    pub(super) async fn ended(&self) -> usize {
        self.over.cancel();
        let sessions = {
            let mut table = self.table();
            table.has_ended = true;
            std::mem::take(&mut table.sessions)
        };
        let mut count = 0;
        for entry in sessions.into_values() {
            let Entry::Live(socket) = entry else { continue };
            let after = AWAY_MAX.mul_f64(rand::random_range(0.0..=1.0));
            socket.send_away(after, "the node of this session is gone", true);
            count += 1;
            if count % ENDED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        count
    }
}

fn deliver(
    table: &Table,
    number: SessionNumber,
    (frame, cost): (&Bytes, u32),
    event: Option<(Handle, Seq)>,
    touched: &mut Vec<(SessionNumber, Arc<Socket>)>,
) {
    if let Some(Entry::Live(socket)) = table.sessions.get(&number)
        && socket.deliver(frame, cost, event)
    {
        touched.push((number, Arc::clone(socket)));
    }
}

/// A session that was asked for. Dropped before there is an answer, it is given up.
#[derive(Debug)]
pub(super) struct Opening {
    streams: Arc<Streams>,
    number: SessionNumber,
    answered: oneshot::Receiver<Result<Opened, Refusal>>,
    is_answered: bool,
}

impl Opening {
    /// The node's answer. None when the connection ends before: nothing is open then.
    pub(super) async fn answered(mut self) -> Option<Result<Opened, Refusal>> {
        let answer = (&mut self.answered).await.ok()?;
        // From here on it is the opener's, or was never there.
        self.is_answered = true;
        Some(answer)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_answered {
            self.streams.leave(self.number);
        }
    }
}
