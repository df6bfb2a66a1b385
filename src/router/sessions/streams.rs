//! The sessions of one connection of a link: what comes from the node goes to their sockets, and
//! what sockets have to tell the node is gathered for all of them.
//!
//! **Invariants.** A number is chosen once and never again. What comes for a number that nobody has
//! any more is dropped. When the connection ends, every session of it goes on at another node or
//! ends, and what waits to be opened is asked of another node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ids::{ConversationName, Seq};
use crate::link::front::attach::{Stand, Standing};
use crate::link::front::{Down, Handle, SessionNumber, Up};
use crate::router::sessions::asking::{Answered, Begun};
use crate::router::sessions::counts::Counts;
use crate::router::sessions::gathered::Gathered;
use crate::router::sessions::line::Sent;
use crate::router::sessions::names::{Name, Names};
use crate::router::sessions::socket::Socket;
use crate::router::sessions::table::{Entry, Table};

/// Sockets that are ended one after the other before other tasks get their turn.
const ENDED_AT_ONCE: usize = 128;
/// After the end of a connection, the longest delay told to a client.
const AWAY_MAX: Duration = Duration::from_secs(1);

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

/// What goes to the node, in order. That of one connection.
pub(super) trait Upward: Send + Sync {
    /// Takes a frame.
    fn send(&self, up: Up) -> Sent;
}

/// See the head of this file.
pub(super) struct Streams {
    pub(super) up: Box<dyn Upward>,
    table: Mutex<Table>,
    gathered: Mutex<Gathered>,
    /// Something was gathered.
    pub(super) gathers: Notify,
    /// The connection has ended.
    pub(super) over: CancellationToken,
    pub(super) counts: Arc<Counts>,
    /// The names of conversations on all connections.
    names: Arc<Names>,
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

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
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
            Down::Opened {
                session,
                id,
                protocol,
                terms,
                stage,
            } => {
                let terms = self.same_terms(table, terms);
                let begun = Begun {
                    id,
                    stage,
                    protocol,
                    terms,
                };
                later.unclaimed.extend(self.opened(table, session, begun));
            }
            Down::Refused { session, why } => table.refuse(session, why),
            Down::Deliver {
                to,
                quiet,
                text,
                event,
                tells,
            } => table.deliver((to, quiet), &text, (event, tells), &mut later.touched),
            Down::Room(rooms) => table.give_room(rooms),
            Down::Close { session, code } => table.close(session, code),
            Down::Known {
                handle,
                conversation,
            } => table.know(handle, self.names.of(&conversation)),
            Down::Forgotten(handle) => table.forget(handle),
            Down::Stands {
                session,
                stage,
                at,
                out,
            } => {
                if let Some(socket) = table.live(session) {
                    socket.stands(stage, &self.named(table, at, out));
                }
            }
            Down::Answered { session, tells } => {
                if let Some(socket) = table.live(session) {
                    socket.answered(&table.says(tells));
                }
            }
            Down::Token { session, token } => {
                if let Some(socket) = table.live(session) {
                    socket.token(&token);
                }
            }
            Down::Move(session) => self.moves(table, session, later),
            // Told to who asked before it comes here.
            Down::Reply(_) => {}
        }
    }

    /// How a session stands, by the names of conversations.
    fn named(
        &self,
        table: &Table,
        at: Vec<(Handle, Stand)>,
        out: Vec<(ConversationName, Seq)>,
    ) -> Vec<(Name, Stand)> {
        let known = at
            .into_iter()
            .filter_map(|(handle, stand)| Some((table.names.get(&handle)?.clone(), stand)));
        let out = out
            .into_iter()
            .map(|(name, seq)| (self.names.of(&name), Standing::Out { seq }.into()));
        known.chain(out).collect()
    }

    /// The node gives a session up: another one is to go on with it, or its client is told.
    fn moves(&self, table: &mut Table, session: SessionNumber, later: &mut Later) {
        if let Some(Entry::Live(socket)) = table.sessions.remove(&session) {
            let moves = socket.detach(self, session);
            if moves {
                &mut later.homeless
            } else {
                &mut later.lost
            }
            .push(socket);
        }
    }

    /// All sockets that are live.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        let live = |entry: &Entry| match entry {
            Entry::Live(socket) => Some(Arc::clone(socket)),
            Entry::Opening(..) => None,
        };
        self.table().sessions.values().filter_map(live).collect()
    }

    /// The connection has ended. The sockets with which another node is to go on, and how many
    /// clients had to be told to come back.
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
            if socket.detach(&**self, number) {
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

/// Tells a client to come back, for no node goes on with its session.
pub(super) fn send_away(socket: &Socket) {
    let after = AWAY_MAX.mul_f64(rand::random_range(0.0..=1.0));
    socket.send_away(after, "the node of this session is gone", true);
}
