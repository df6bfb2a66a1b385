//! Sessions: what users are given live. Their sockets are the routers'; here a session is a number
//! on the link to one. The path of an event: `drive` takes the push, `board` finds the cursors that
//! it continues (`state`, pure), each has a place in its session's `window`, and the frame encoded
//! once goes over each link once (`post`). A session that is behind fetches spans at the pace of
//! its socket instead (`spans`, `answers`).
//!
//! Promises: seq in order, each once, a hole only as an explicit `gap` (I9); nothing after the
//! user's own `left` (I10); every queue bounded: a session whose window is full falls behind.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Identity, Refused, Verifier};
use crate::clock::Clock;
use crate::node::owners::Owners;
use crate::node::session::board::Board;
use crate::node::session::deadlines::Deadlines;
use crate::node::session::opening::Begin;
use crate::node::session::receipts::Gather;
use crate::node::session::requests::{Gathered, Requests};
use crate::node::session::routers::Router;
use crate::node::session::turns::Occasion;
use crate::node::session::upstream::Upstream;
use crate::node::session::window::Session;
use crate::problem::CloseCode;
use crate::shard::command::Push;
use crate::telemetry;

mod advance;
mod again;
mod answers;
mod attaching;
mod away;
mod board;
mod checking;
mod commands;
mod deadlines;
mod drive;
mod entries;
mod fetched;
mod giving;
mod handing;
mod homing;
mod membership;
mod opening;
mod owed;
mod pace;
mod post;
mod presence;
mod receipts;
pub mod render;
mod requests;
mod routers;
mod said;
mod spans;
mod standing;
mod start;
mod state;
mod sweep;
mod turns;
mod typing;
mod underway;
mod upstream;
mod watching;
mod window;
mod work;

#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod spare_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_talk;
#[cfg(test)]
mod turns_tests;

#[cfg(test)]
pub(crate) use upstream::Upstream as TestUpstream;

/// After the drain window, how long sessions have to end.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Settings of sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of events on their way to one session, beyond which it falls behind and is served by
    /// spans. Answers to the client's own frames may take half as much again.
    pub outbox_bytes_max: usize,
    /// A ping at least this often; two unanswered end the session.
    pub heartbeat: Duration,
    /// A socket that takes nothing for this long is closed with 4420.
    pub write_timeout: Duration,
    /// Sessions of one user on this node; more are closed with 4429.
    pub sessions_per_user_max: usize,
    /// Sessions on this node; more are closed with 1013.
    pub sessions_max: usize,
    /// Client frames per second of one session, sustained; a burst of four times that is taken,
    /// more closes with 4429.
    pub frames_per_second_max: u32,
    /// How often delivered marks are gathered, and at most how often a session is pinged for them.
    pub delivered_every: Duration,
    /// Longest wait for the `resume` of a socket opened with `?resume=wait`.
    pub resume_wait_max: Duration,
}

/// Checks a token.
type Verify = Box<dyn Fn(&str) -> Result<Identity, Refused> + Send + Sync>;

/// All sessions of this node and what they are subscribed to.
#[derive(Debug)]
pub struct Hub {
    inner: Arc<Inner>,
}

/// What the hub's tasks share.
struct Inner {
    board: Mutex<Board>,
    upstream: Arc<dyn Upstream>,
    verify: Verify,
    clock: Clock,
    config: Config,
    gather: Gather,
    /// Bounds the requests to owners under way.
    requests: Requests,
    /// Subscriptions that wait to be asked for.
    gathered: Gathered,
    /// The hub's own tasks.
    tracker: TaskTracker,
    routers: Mutex<HashMap<u64, Arc<Router>>>,
    deadlines: Mutex<Deadlines>,
    /// A session has left.
    left: Notify,
    stop: CancellationToken,
    draining: AtomicBool,
    /// Sessions are sent away, and none is taken in, until that ends.
    away: AtomicBool,
    /// What clients say of their typing that owners have not answered.
    typing: Arc<Semaphore>,
    /// Whether sessions are to be told how users are, and what goes before that.
    presence: Occasion,
    /// Counted up and down: the nodes of one process share it.
    live: metrics::Gauge,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without sessions. `pushes` is the channel that was given to `owners`; the hub's tasks
    /// run until it closes or [`Hub::drain`] ends.
    #[must_use]
    pub fn spawn(
        owners: Owners,
        verifier: Verifier,
        clock: Clock,
        config: Config,
        pushes: mpsc::Receiver<Push>,
    ) -> Arc<Self> {
        let verify: Verify = Box::new(move |token| verifier.verify(token));
        Self::start(Arc::new(owners), verify, clock, config, pushes)
    }

    pub(crate) fn start(
        upstream: Arc<dyn Upstream>,
        verify: Verify,
        clock: Clock,
        config: Config,
        pushes: mpsc::Receiver<Push>,
    ) -> Arc<Self> {
        let inner = Arc::new(Inner {
            board: Mutex::new(Board::new(upstream.map())),
            upstream,
            verify,
            clock,
            config,
            gather: Gather::default(),
            requests: Requests::new(),
            gathered: Gathered::default(),
            tracker: TaskTracker::new(),
            routers: Mutex::default(),
            deadlines: Mutex::default(),
            left: Notify::new(),
            stop: CancellationToken::new(),
            draining: AtomicBool::new(false),
            away: AtomicBool::new(false),
            typing: Arc::new(Semaphore::new(typing::UNDER_WAY_OF_ALL)),
            presence: Occasion::default(),
            live: telemetry::SESSIONS.bind(&[]),
        });
        inner
            .tracker
            .spawn(drive::follow(Arc::clone(&inner), pushes));
        inner.tracker.spawn(drive::send_marks(Arc::clone(&inner)));
        inner.tracker.spawn(sweep::run(Arc::clone(&inner)));
        if let Some(table) = inner.upstream.follow_table() {
            inner
                .tracker
                .spawn(homing::follow(Arc::clone(&inner), table, homing::WINDOW));
        }
        Arc::new(Self { inner })
    }

    /// How many sessions are live.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.inner.board().sessions.len()
    }

    /// Has every session go on at another node, or, where its router does not see to that, tells it
    /// to `reconnect`, after a delay spread over `window`, and then closes it with 1012; done when
    /// all are gone, at most at the end of the window plus 2 s. New ones are refused from the
    /// start.
    ///
    /// A session lives on until its own delay is over, so that the time without one is short.
    /// Dropping the future leaves the sessions closing by themselves.
    pub async fn drain(&self, window: Duration, reason: &'static str) {
        self.inner.draining.store(true, Ordering::SeqCst);
        self.spread(window, reason);
        let all_have_left = async {
            while self.sessions() > 0 {
                self.inner.left.notified().await;
            }
        };
        if tokio::time::timeout(window + DRAIN_GRACE, all_have_left)
            .await
            .is_err()
        {
            tracing::warn!(
                sessions = self.sessions(),
                "sessions did not end in time and are dropped"
            );
        }
        self.inner.stop.cancel();
        self.inner.tracker.close();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn routers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Router>>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_routers(&self) -> Vec<Arc<Router>> {
        self.routers().values().map(Arc::clone).collect()
    }

    /// Takes a session in, if there is room for it; the first frame of one that does not go on is
    /// `hello`.
    fn admit(self: &Arc<Self>, session: &Arc<Session>, begin: Begin) -> Result<(), CloseCode> {
        self.on_board(|board| {
            let refusal = if self.draining.load(Ordering::SeqCst) {
                Some((CloseCode::ServiceRestart, "draining"))
            } else if self.away.load(Ordering::SeqCst) {
                Some((CloseCode::ServiceRestart, "cut_off"))
            } else if board.sessions.len() >= self.config.sessions_max {
                Some((CloseCode::TryAgainLater, "node_limit"))
            } else {
                let of_user = board
                    .users
                    .get(&session.user)
                    .map_or(0, |user| user.sessions.len());
                (of_user >= self.config.sessions_per_user_max)
                    .then_some((CloseCode::TooMany, "user_limit"))
            };
            if let Some((code, reason)) = refusal {
                telemetry::SESSION_REFUSED.add(1, &[("reason", reason)]);
                return Err(code);
            }
            match begin {
                Begin::GoesOn(attach) => board.goes_on(session, attach),
                Begin::Anew | Begin::Waits => {
                    self.greet(session);
                    board.open(session, matches!(begin, Begin::Waits));
                }
            }
            self.deadlines().token(
                session.id,
                sweep::ends(session.expires.load(Ordering::Relaxed)),
            );
            self.live.increment(1.0);
            Ok(())
        })
    }

    /// The session is gone. One that took its place, with the same id, stays.
    fn leave(self: &Arc<Self>, session: &Session) {
        session.router.leave(session.number);
        self.on_board(|board| {
            if board
                .sessions
                .get(&session.id)
                .is_some_and(|entry| std::ptr::eq(&*entry.session, session))
            {
                board.close(session.id);
                self.deadlines().forget_token(
                    session.id,
                    sweep::ends(session.expires.load(Ordering::Relaxed)),
                );
                self.live.decrement(1.0);
            }
        });
        self.left.notify_one();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
