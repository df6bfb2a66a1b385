//! A port, and each of its connections as the others see it: among the idle ones, or not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Newcomers that are being let in or refused at once.
pub(crate) const ENTRANTS_MAX: usize = 256;

/// A listening port: what its connections share.
pub(super) struct Port {
    /// Whose port it is, for metrics and the log.
    pub(super) role: &'static str,
    pub(super) max: usize,
    pub(super) idle_at_least: Duration,
    pub(super) places: Arc<Semaphore>,
    pub(super) entrants: Arc<Semaphore>,
    idle: Mutex<BTreeMap<Since, Arc<Seat>>>,
    next: AtomicU64,
    pub(super) told: Mutex<Option<Instant>>,
}

/// Since when a connection has been idle, and its number, which tells two of one instant apart.
type Since = (Instant, u64);

impl Port {
    pub(super) fn new(role: &'static str, max: usize, idle_at_least: Duration) -> Self {
        Self {
            role,
            max,
            idle_at_least,
            places: Arc::new(Semaphore::new(max)),
            entrants: Arc::new(Semaphore::new(ENTRANTS_MAX)),
            idle: Mutex::default(),
            next: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, BTreeMap<Since, Arc<Seat>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection as the others of its port see it.
pub(super) struct Seat {
    port: Arc<Port>,
    number: u64,
    state: Mutex<State>,
    pub(super) evicted: CancellationToken,
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
pub(super) struct State {
    /// Requests whose answers are not whole yet.
    pub(super) turns: usize,
    /// The beginning of a request has come.
    pub(super) begun: bool,
    /// A request was made on it.
    pub(super) used: bool,
    /// It is served no longer.
    pub(super) left: bool,
    /// Where it stands among the idle ones, unless it gave way.
    since: Option<Instant>,
}

impl Seat {
    /// The seat of a connection that is served from now on: an idle one.
    pub(super) fn new(port: &Arc<Port>) -> Arc<Self> {
        let number = port.next.fetch_add(1, Ordering::Relaxed);
        let seat = Self {
            port: Arc::clone(port),
            number,
            state: Mutex::default(),
            evicted: CancellationToken::new(),
        };
        let seat = Arc::new(seat);
        seat.note(|_fresh| {});
        seat
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is under way, and puts the connection among the idle ones or takes it out as
    /// that demands.
    pub(super) fn note(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let idle = state.turns == 0 && !state.begun && !state.left;

        match (idle, state.since) {
            (true, None) if !self.evicted.is_cancelled() => {
                let now = Instant::now();
                state.since = Some(now);
                self.port
                    .idle()
                    .insert((now, self.number), Arc::clone(self));
            }
            (false, Some(since)) => {
                state.since = None;
                self.port.idle().remove(&(since, self.number));
            }
            _ => {}
        }
    }
}
