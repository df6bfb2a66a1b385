//! The connections of one listening port, bounded in number. When there are as many as there may
//! be, the one that has been idle longest gives way to a newcomer; when none is idle, the newcomer
//! is refused at once.
//!
//! **Invariants.**
//! - At most so many connections are served at once as was said, and at most [`ENTRANTS_MAX`]
//!   newcomers are being let in or refused; more wait in the listen queue of the system, for as
//!   long as those take.
//! - What gives way is between two requests, and has been for [`IDLE_AT_LEAST`]: never a connection
//!   of which a part of a request has come or whose answer is not whole, never one that was
//!   upgraded.
//! - A newcomer knows within [`GIVES_WAY_WITHIN`] whether it is served, and is answered in either
//!   case.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{HTTP_CONNECTIONS_EVICTED, HTTP_CONNECTIONS_REFUSED};

pub(crate) mod refusal;
mod turn;

#[cfg(test)]
mod tests;

pub use turn::{Answer, Noted, Turn};

/// Newcomers that are being let in or refused at once.
pub const ENTRANTS_MAX: usize = 256;

/// How long a connection must have been idle before it may give way: whoever has just connected, or
/// been answered, may be about to ask.
pub const IDLE_AT_LEAST: Duration = Duration::from_secs(1);

/// How long a newcomer waits for the place of a connection that gives way; closing an idle one
/// takes no time.
pub const GIVES_WAY_WITHIN: Duration = Duration::from_secs(1);

/// How often the log says that newcomers are refused.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The connections of one port. Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    /// Whose port it is, for metrics and the log.
    role: &'static str,
    max: usize,
    idle_at_least: Duration,
    places: Arc<Semaphore>,
    entrants: Arc<Semaphore>,
    idle: Mutex<BTreeMap<Since, Arc<Seat>>>,
    next: AtomicU64,
    told: Mutex<Option<Instant>>,
}

/// Since when a connection has been idle, and its number, which tells two of one instant apart.
type Since = (Instant, u64);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("role", &self.0.role)
            .field("max", &self.0.max)
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// At most `max` connections of a port, at least one. `role` says whose port it is, in metrics
    /// and the log.
    #[must_use]
    pub fn new(role: &'static str, max: usize) -> Self {
        Self::giving_way_after(role, max, IDLE_AT_LEAST)
    }

    fn giving_way_after(role: &'static str, max: usize, idle_at_least: Duration) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            role,
            max,
            idle_at_least,
            places: Arc::new(Semaphore::new(max)),
            entrants: Arc::new(Semaphore::new(ENTRANTS_MAX)),
            idle: Mutex::default(),
            next: AtomicU64::new(0),
            told: Mutex::default(),
        }))
    }

    /// Takes the next newcomer from the listen queue. Nobody is lost when the future is dropped.
    ///
    /// # Errors
    /// The system's, mostly that the process has no file descriptor left.
    pub async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Entrant)> {
        let permit = Arc::clone(&self.0.entrants)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _peer) = listener.accept().await?;
        Ok((
            stream,
            Entrant {
                connections: self.clone(),
                _permit: permit,
            },
        ))
    }

    /// Tells the connection that has been idle longest to end. False when none has been idle long
    /// enough.
    fn evict(&self) -> bool {
        let latest = Instant::now().checked_sub(self.0.idle_at_least);
        let longest_idle = {
            let mut idle = self.0.idle();
            idle.first_entry()
                .filter(|first| latest.is_some_and(|latest| first.key().0 <= latest))
                .map(|first| first.remove())
        };
        let Some(seat) = longest_idle else {
            return false;
        };

        let reason = if seat.state().used { "idle" } else { "unused" };
        HTTP_CONNECTIONS_EVICTED.add(1, &[("role", self.0.role), ("reason", reason)]);
        tracing::debug!(
            role = self.0.role,
            reason,
            "an idle connection gives way to a new one"
        );
        seat.evicted.cancel();
        true
    }

    /// Counts a refused newcomer, and says so in the log from time to time.
    fn tell_refused(&self) {
        HTTP_CONNECTIONS_REFUSED.add(1, &[("role", self.0.role)]);
        let now = Instant::now();
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
            *told = Some(now);
            tracing::warn!(
                role = self.0.role,
                max = self.0.max,
                "connections are refused: none of those there are is idle"
            );
        }
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, BTreeMap<Since, Arc<Seat>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A newcomer that is neither served nor refused yet.
#[derive(Debug)]
pub struct Entrant {
    connections: Connections,
    _permit: OwnedSemaphorePermit,
}

impl Entrant {
    /// Finds the newcomer a place, if need be that of the connection that has been idle longest.
    ///
    /// # Errors
    /// The newcomer itself, which is to be [refused](Entrant::refuse): no connection is idle.
    pub async fn admitted(self) -> Result<Place, Self> {
        let inner = &self.connections.0;
        if let Ok(permit) = Arc::clone(&inner.places).try_acquire_owned() {
            return Ok(Place::new(inner, permit));
        }
        if self.connections.evict()
            && let Ok(Ok(permit)) =
                timeout(GIVES_WAY_WITHIN, Arc::clone(&inner.places).acquire_owned()).await
        {
            return Ok(Place::new(inner, permit));
        }
        self.connections.tell_refused();
        Err(self)
    }
}

/// The place of a connection that is served; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(inner: &Arc<Inner>, permit: OwnedSemaphorePermit) -> Self {
        let number = inner.next.fetch_add(1, Ordering::Relaxed);
        let seat = Seat {
            connections: Arc::clone(inner),
            number,
            state: Mutex::default(),
            evicted: CancellationToken::new(),
        };
        let seat = Arc::new(seat);
        seat.note(|_fresh| {});
        Self {
            seat,
            _permit: permit,
        }
    }

    /// Wraps the connection's socket, so that the first byte of a request is noticed.
    #[must_use]
    pub fn noted<S>(&self, stream: S) -> Noted<S> {
        Noted::new(stream, Arc::clone(&self.seat))
    }

    /// What begins the turns of this connection.
    #[must_use]
    pub fn turns(&self) -> Turns {
        Turns(Arc::clone(&self.seat))
    }

    /// Waits until this connection has to give way: it is idle, and is to be shut down gracefully.
    pub async fn evicted(&self) {
        self.seat.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.note(|state| state.left = true);
    }
}

/// What begins the turns of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Seat>);

impl Turns {
    /// Begins the turn of a request whose head has come.
    #[must_use]
    pub fn begin(&self) -> Turn {
        Turn::begin(&self.0)
    }
}

/// One connection as the others of its port see it.
struct Seat {
    connections: Arc<Inner>,
    number: u64,
    state: Mutex<State>,
    evicted: CancellationToken,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What is under way on a connection.
#[derive(Debug, Default)]
struct State {
    /// Requests whose answers are not whole yet.
    turns: usize,
    /// The beginning of a request has come.
    begun: bool,
    /// A request was made on it.
    used: bool,
    /// It is served no longer.
    left: bool,
    /// Where it stands among the idle ones, unless it gave way.
    since: Option<Instant>,
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is under way, and puts the connection among the idle ones or takes it out as
    /// that demands.
    fn note(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let idle = state.turns == 0 && !state.begun && !state.left;
        match (idle, state.since) {
            (true, None) if !self.evicted.is_cancelled() => {
                let now = Instant::now();
                state.since = Some(now);
                self.connections
                    .idle()
                    .insert((now, self.number), Arc::clone(self));
            }
            (false, Some(since)) => {
                state.since = None;
                self.connections.idle().remove(&(since, self.number));
            }
            _ => {}
        }
    }
}
