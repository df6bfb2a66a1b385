//! The sessions of one connection of a link: what comes from the node goes to their sockets, and what sockets have to tell
//! the node is gathered for all of them.
//!
//! **Invariants.** A number is chosen once and never again. What comes for a number that nobody has any more is dropped.
//! When the connection ends, every session of it goes on at another node or ends, and what waits to be opened is asked of
//! another node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ids::SessionId;
use crate::link::front::attach::{Stage, Stand, Standing, Tells};
use crate::link::front::{self, Down, Handle, Refusal, SessionNumber, Terms, Up};
use crate::router::sessions::followed::{Followed, Who};
use crate::router::sessions::frames;
use crate::router::sessions::moving::{Delivery, Says};
use crate::router::sessions::names::{Name, Names};
use crate::router::sessions::outbox::End;
use crate::router::sessions::pulse::{Marks, gather};
use crate::router::sessions::socket::{On, Socket};
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
    unclaimed: Vec<Answered>,
    /// Another node is to go on with these.
    homeless: Vec<Arc<Socket>>,
    /// The node gave these up, and no other can go on with them.
    lost: Vec<Arc<Socket>>,
}

/// For whom a session is opened.
#[derive(Debug, Clone)]
pub(super) enum Asking {
    /// A client that has none yet.
    New(Who),
    /// This one goes on.
    GoesOn(Arc<Socket>),
}

/// What became of it: a new session, or none where an earlier one goes on.
type Answered = Result<Option<Opened>, Refusal>;

/// Counts frames of all sessions, and the writes to their sockets.
#[derive(Debug)]
pub(super) struct Counts {
    frames_in: metrics::Counter,
    frames_out: metrics::Counter,
    writes: metrics::Counter,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            frames_in: telemetry::SESSION_FRAMES.bind(&[("direction", "in")]),
            frames_out: telemetry::SESSION_FRAMES.bind(&[("direction", "out")]),
            writes: telemetry::SESSION_WRITES.bind(&[]),
        }
    }
}

impl Counts {
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
    counts: Arc<Counts>,
    /// Of all connections.
    names: Arc<Names>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionNumber, Entry>,
    /// What handles stand for. No more than the node has conversations that are live on this connection.
    names: HashMap<Handle, Name>,
    /// The same, the other way.
    handles: HashMap<Name, Handle>,
    /// Those of the session that was opened last: all have the same, mostly.
    terms: Option<Arc<Terms>>,
    has_ended: bool,
}

enum Entry {
    Opening(Asking, oneshot::Sender<Answered>),
    Live(Arc<Socket>),
}

/// A session, as its node opened it.
struct Begun {
    id: SessionId,
    stage: Option<Stage>,
    protocol: bool,
    terms: Arc<Terms>,
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
    pub(super) fn new(up: Box<dyn Upward>, names: Arc<Names>, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self {
            up,
            table: Mutex::default(),
            gathered: Mutex::default(),
            gathers: Notify::new(),
            over: CancellationToken::new(),
            counts,
            names,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where frames are counted.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// A session of that number is asked for. To be called before the answer can come.
    pub(super) fn asked(self: &Arc<Self>, number: SessionNumber, asking: Asking) -> Opening {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table();
        if !table.has_ended {
            table.sessions.insert(number, Entry::Opening(asking.clone(), answer));
        }
        Opening { streams: Arc::clone(self), number, asking, answered, is_answered: false }
    }

    /// What came from the node, in order. The sockets with which another node is to go on.
    pub(super) fn arrived(self: &Arc<Self>, batch: Vec<Down>) -> Vec<Arc<Socket>> {
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
        later.lost.iter().for_each(|socket| send_away(socket));
        later.homeless
    }

    fn take_in(self: &Arc<Self>, table: &mut Table, down: Down, later: &mut Later) {
        match down {
            Down::Opened { session, id, protocol, terms, stage } => {
                let terms = self.same_terms(table, terms);
                later.unclaimed.extend(self.opened(table, session, Begun { id, stage, protocol, terms }));
            }
            Down::Refused { session, why } => {
                if let Some(Entry::Opening(_, answer)) = table.sessions.remove(&session) {
                    // Whoever asked has given up: there is no session all the same.
                    answer.send(Err(why)).ok();
                }
            }
            Down::Deliver { to, quiet, text, event, tells } => {
                let (frame, cost) = (frames::text(&text), front::cost(text.len()));
                let event = event.and_then(|(handle, seq)| Some((table.names.get(&handle)?, seq)));
                let says = table.says(tells);
                let delivery = Delivery { frame: &frame, cost, event, is_marked: true, says: &says };
                for number in to {
                    deliver(table, number, delivery, &mut later.touched);
                }
                for number in quiet {
                    deliver(table, number, Delivery { is_marked: false, ..delivery }, &mut later.touched);
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
            Down::Known { handle, conversation } => {
                let name = self.names.of(&conversation);
                table.names.insert(handle, name.clone());
                table.handles.insert(name, handle);
            }
            Down::Forgotten(handle) => {
                if let Some(name) = table.names.remove(&handle) {
                    table.handles.remove(&name);
                }
            }
            Down::Stands { session, stage, at, out } => {
                let Some(Entry::Live(socket)) = table.sessions.get(&session) else { return };
                let known =
                    at.into_iter().filter_map(|(handle, stand)| Some((table.names.get(&handle)?.clone(), stand)));
                let out = out.into_iter().map(|(name, seq)| (self.names.of(&name), Standing::Out { seq }.into()));
                socket.stands(stage, &known.chain(out).collect::<Vec<(Name, Stand)>>());
            }
            Down::Answered { session, tells } => {
                if let Some(Entry::Live(socket)) = table.sessions.get(&session) {
                    socket.answered(&table.says(tells));
                }
            }
            Down::Token { session, token } => {
                if let Some(Entry::Live(socket)) = table.sessions.get(&session) {
                    socket.token(&token);
                }
            }
            Down::Move(session) => {
                if let Some(Entry::Live(socket)) = table.sessions.remove(&session) {
                    let moves = socket.detach(self, session);
                    if moves { &mut later.homeless } else { &mut later.lost }.push(socket);
                }
            }
            // Told to who asked before it comes here.
            Down::Reply(_) => {}
        }
    }

    /// A session is open. It is given back when nobody asks for it any more.
    fn opened(
        self: &Arc<Self>,
        table: &mut Table,
        number: SessionNumber,
        Begun { id, stage, protocol, terms }: Begun,
    ) -> Option<Answered> {
        let Some(Entry::Opening(asking, answer)) = table.sessions.remove(&number) else { return None };
        let on = On { streams: Arc::clone(self), number };
        match asking {
            Asking::New(who) => {
                let followed = stage.map(|stage| Followed::new(id, who, stage));
                let socket = Arc::new(Socket::new(on, terms, followed));
                table.sessions.insert(number, Entry::Live(Arc::clone(&socket)));
                answer.send(Ok(Some(Opened { socket, protocol }))).err()
            }
            // A node that does not tell how far it is has begun another one.
            Asking::GoesOn(socket) if stage.is_some() && socket.attach(on, terms) => {
                table.sessions.insert(number, Entry::Live(socket));
                answer.send(Ok(None)).ok();
                None
            }
            Asking::GoesOn(_) => {
                self.up.send(Up::Gone(number));
                None
            }
        }
    }

    /// Terms that all who have the same share.
    fn same_terms(&self, table: &mut Table, terms: Terms) -> Arc<Terms> {
        let same = table.terms.as_ref().filter(|known| ***known == terms);
        let shared = same.map_or_else(|| Arc::new(terms), Arc::clone);
        self.gathered().every = Some(Duration::from_millis(terms.marks_ms.into()));
        table.terms = Some(Arc::clone(&shared));
        shared
    }

    /// The session is over for its client. What they have read is told before.
    pub(super) fn leave(&self, number: SessionNumber) {
        if self.table().sessions.remove(&number).is_none() {
            return;
        }
        let unread = self.unread(number);
        if !unread.is_empty() {
            self.tell_reads([(number, unread)]);
        }
        self.up.send(Up::Gone(number));
    }

    /// What a client has read and the node was not told; it is not told any more.
    pub(super) fn unread(&self, number: SessionNumber) -> Marks {
        self.gathered().reads.remove(&number).unwrap_or_default()
    }

    /// Tells what clients have read. What finds no space is shed, and so is what the node has no handle for.
    fn tell_reads(&self, reads: impl IntoIterator<Item = (SessionNumber, Marks)>) {
        let (mut all, mut shed, mut told) = (Vec::new(), 0, 0);
        {
            let table = self.table();
            for (number, marks) in reads {
                let count = marks.len();
                let known = marks.into_iter().filter_map(|(name, seq)| Some((*table.handles.get(&name)?, seq)));
                let known: Vec<_> = known.collect();
                (told, shed) = (told + known.len(), shed + count - known.len());
                all.extend((!known.is_empty()).then_some((number, known)));
            }
        }
        if !all.is_empty() && self.up.send(Up::Read(all)) != Sent::Yes {
            shed += told;
        }
        if shed > 0 {
            telemetry::SESSION_DELIVERED.add(u64::try_from(shed).unwrap_or(u64::MAX), &[("result", "shed")]);
        }
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
                Some(Entry::Opening(..)) | None => None,
            });
            sockets.filter(|(_, bytes)| *bytes > 0).collect()
        };
        if !taken.is_empty() {
            self.up.send(Up::Taken(taken));
        }
        self.tell_reads(reads);
    }

    /// All sockets that are live.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        let live = |entry: &Entry| match entry {
            Entry::Live(socket) => Some(Arc::clone(socket)),
            Entry::Opening(..) => None,
        };
        self.table().sessions.values().filter_map(live).collect()
    }

    /// The connection has ended. The sockets with which another node is to go on, and how many clients had to be told to come
    /// back.
    pub(super) async fn ended(self: &Arc<Self>) -> (Vec<Arc<Socket>>, usize) {
        self.over.cancel();
        let sessions = {
            let mut table = self.table();
            table.has_ended = true;
            std::mem::take(&mut table.sessions)
        };
        let (mut homeless, mut sent_away) = (Vec::new(), 0);
        for (count, (number, entry)) in sessions.into_iter().enumerate() {
            let Entry::Live(socket) = entry else { continue };
            if socket.detach(self, number) {
                homeless.push(socket);
            } else {
                send_away(&socket);
                sent_away += 1;
            }
            if (count + 1) % ENDED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        (homeless, sent_away)
    }
}

impl Table {
    /// What a frame tells, with the names of what it is about.
    fn says(&self, tells: Tells) -> Says<'_> {
        match tells {
            Tells::Nothing => Says::Nothing,
            Tells::Answer(number) => Says::Answer(number),
            Tells::Part(number) => Says::Part(number),
            Tells::GivenUp(number) => Says::GivenUp(number),
            Tells::Ready => Says::Ready,
            Tells::Live(handles) => Says::Live(handles.iter().filter_map(|handle| self.names.get(handle)).collect()),
            Tells::Stand(stand) => Says::Stand(stand),
        }
    }
}

fn deliver(
    table: &Table,
    number: SessionNumber,
    delivery: Delivery<'_>,
    touched: &mut Vec<(SessionNumber, Arc<Socket>)>,
) {
    if let Some(Entry::Live(socket)) = table.sessions.get(&number)
        && socket.deliver(delivery)
    {
        touched.push((number, Arc::clone(socket)));
    }
}

/// Tells a client to come back, for no node goes on with its session.
pub(super) fn send_away(socket: &Socket) {
    let after = AWAY_MAX.mul_f64(rand::random_range(0.0..=1.0));
    socket.send_away(after, "the node of this session is gone", true);
}

/// A session that was asked for. Dropped before there is an answer, it is given up.
#[derive(Debug)]
pub(super) struct Opening {
    streams: Arc<Streams>,
    number: SessionNumber,
    asking: Asking,
    answered: oneshot::Receiver<Answered>,
    is_answered: bool,
}

impl Opening {
    /// The node's answer. None when the connection ends before: nothing is open then.
    pub(super) async fn answered(mut self) -> Option<Answered> {
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
            if let Asking::GoesOn(socket) = &self.asking {
                // It may just have gone on there.
                socket.detach(&self.streams, self.number);
            }
        }
    }
}
