//! One client's socket. Whoever has something for it queues it and [flushes](Socket::flush): what
//! the socket takes at once is written there and then. Its one task reads, keeps the deadlines, and
//! writes what had to wait.
//!
//! Where its session is, and what another node would need of it, is in [`moving`](super::moving).
//!
//! **Invariants.** Only the holder of the lock writes, so frames are whole and in order. A socket
//! that waits for nothing holds no buffer. What a client sends is read no further while too much of
//! it waits for the node, or too many pongs wait for the client. A socket ends: with its peer, by
//! the node, by a deadline, or with the router.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::link::front::{SessionNumber, Terms};
use crate::problem::CloseCode;
use crate::protocol::ServerFrame;
use crate::router::sessions::counts::Counts;
use crate::router::sessions::followed::Followed;
use crate::router::sessions::frames::{self, Heard};
use crate::router::sessions::line::Line;
use crate::router::sessions::outbox::{End, Outbox, Wrote};
use crate::router::sessions::pulse::{Due, Marks, Pulse};
use crate::router::sessions::unanswered::Unanswered;

/// Until the next look at a client from whom nothing is read.
const HELD_LOOK: Duration = Duration::from_secs(1);
/// Longest sleep of a socket's task.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Bytes taken by a socket that are told to its node at once; fewer are told with those of others.
const TOLD_AT_ONCE: u32 = 32 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Socket {
    state: Mutex<State>,
    /// Nothing is read from the client now.
    pub(super) is_paused: AtomicBool,
    /// Wakes the task.
    pub(super) wake: Notify,
    counts: Arc<Counts>,
}

/// Where a session is.
#[derive(Debug, Clone)]
pub(super) struct On {
    /// The connection to its node.
    pub(super) streams: Arc<dyn Line>,
    /// Its number there.
    pub(super) number: SessionNumber,
}

#[derive(Debug)]
pub(super) struct State {
    /// None before the client's connection was handed over, and after the end.
    pub(super) to: Option<OwnedWriteHalf>,
    pub(super) out: Outbox,
    pub(super) pulse: Pulse,
    /// Something was queued since it was flushed last.
    pub(super) is_touched: bool,
    /// Since when the socket takes nothing.
    pub(super) blocked: Option<Instant>,
    /// The task looks again by then.
    pub(super) armed: Instant,
    /// What the node was given of the client and has not worked off.
    pub(super) unroomed: usize,
    /// What the socket took and the node was not told.
    pub(super) untold: u32,
    /// It is told with that of other sockets.
    pub(super) is_listed: bool,
    /// When a drain closes it.
    pub(super) close_at: Option<Instant>,
    /// Where the session is; none while it is between two nodes.
    pub(super) on: Option<On>,
    /// What its node allows it.
    pub(super) terms: Arc<Terms>,
    /// What another node would need; none when its node does not tell.
    pub(super) followed: Option<Followed>,
    /// What the client said and the node has not answered.
    pub(super) unanswered: Unanswered,
    /// What the client has read, and no node was told.
    pub(super) read: Marks,
}

impl Socket {
    /// A socket whose connection is still to be handed over.
    pub(super) fn new(on: On, terms: Arc<Terms>, followed: Option<Followed>) -> Self {
        let (now, counts) = (Instant::now(), on.streams.counts());
        let (heartbeat, marks) = (
            milliseconds(terms.heartbeat_ms),
            milliseconds(terms.marks_ms),
        );

        let state = State {
            to: None,
            out: Outbox::default(),
            pulse: Pulse::new(heartbeat, marks, rand::random(), now),
            is_touched: false,
            blocked: None,
            armed: now,
            unroomed: 0,
            untold: 0,
            is_listed: false,
            close_at: None,
            on: Some(on),
            terms,
            followed,
            unanswered: Unanswered::default(),
            read: Marks::new(),
        };
        Self {
            state: Mutex::new(state),
            is_paused: AtomicBool::new(false),
            wake: Notify::new(),
            counts,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the socket takes now. What is to be told to the node at once as taken, if
    /// anything.
    pub(super) fn flush(&self) -> u32 {
        let mut state = self.state();
        let (was_blocked, now) = (state.blocked.is_some(), Instant::now());
        let (next, told) = self.write(&mut state, now);
        let needs_task = next < state.armed
            || !was_blocked && state.blocked.is_some()
            || state.out.ends().is_some();
        drop(state);
        if needs_task {
            self.wake.notify_one();
        }
        told
    }

    /// Writes, and pings if that is due. When to look again, and what is to be told at once as
    /// taken.
    pub(super) fn write(&self, state: &mut State, now: Instant) -> (Instant, u32) {
        state.is_touched = false;
        let mut next = now + SLEEP_MAX;
        let Some(to) = &state.to else {
            return (next, 0);
        };
        if state.blocked.is_none() && state.out.ends().is_none() {
            next = next.min(self.beat(&mut state.pulse, &mut state.out, now));
        }

        let done = state.out.write(to);
        self.counts.count_out(done.frames, done.writes);
        let mut waited = false;
        match done.wrote {
            Wrote::All => waited = state.blocked.take().is_some(),
            Wrote::Part if done.writes > 0 || state.blocked.is_none() => state.blocked = Some(now),
            Wrote::Part => {}
            Wrote::Gone => state.out.end(End::Drop),
        }

        state.untold = state.untold.saturating_add(done.taken);
        let Some(on) = state.on.as_ref().filter(|_| state.untold > 0) else {
            return (next, 0);
        };
        if waited || state.untold >= TOLD_AT_ONCE.min(state.terms.window / 8) {
            return (next, std::mem::take(&mut state.untold));
        }
        if !std::mem::replace(&mut state.is_listed, true) {
            on.streams.list(on.number);
        }

        (next, 0)
    }

    /// Pings if that is due. When to look again.
    fn beat(&self, pulse: &mut Pulse, out: &mut Outbox, now: Instant) -> Instant {
        loop {
            match pulse.due(now) {
                Due::Nothing(at) => return at,
                Due::Ping(payload) => out.own(frames::ping(&payload)),
                // Their pongs are not read now; a socket that takes nothing is found by its write
                // timeout.
                Due::Dead if self.is_paused.load(Ordering::Relaxed) => return now + HELD_LOOK,
                Due::Dead => {
                    out.end(End::Drop);
                    return now;
                }
            }
        }
    }

    /// What was taken and not told yet.
    pub(super) fn untold(&self) -> u32 {
        let mut state = self.state();
        state.is_listed = false;
        std::mem::take(&mut state.untold)
    }

    /// The node has worked off so much of what the client said.
    pub(super) fn room(&self, bytes: u32) {
        let mut state = self.state();
        state.unroomed = state
            .unroomed
            .saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        Self::speak(&mut state);
        drop(state);
        if self.is_paused.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Ends the socket after what is queued.
    pub(super) fn end(&self, end: End) {
        self.state().out.end(end);
        self.flush_and_tell();
    }

    pub(super) fn flush_and_tell(&self) {
        let told = self.flush();
        self.tell_taken(told);
    }

    fn tell_taken(&self, told: u32) {
        if told > 0
            && let Some(on) = self.on()
        {
            on.streams.tell_taken(on.number, told);
        }
    }

    fn on(&self) -> Option<On> {
        self.state().on.clone()
    }

    /// Wakes its task.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the client to connect again after a delay; closes the socket then, or at once.
    pub(super) fn send_away(&self, after: Duration, reason: &'static str, at_once: bool) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let frame = frames::text(&ServerFrame::Reconnect { after_ms, reason }.encode());
        let mut state = self.state();

        if state.close_at.is_none() {
            state.out.own(frame);
        } else if !at_once {
            // It was told before, and when.
            return;
        }

        if at_once {
            state.out.end(End::Close(CloseCode::ServiceRestart));
        } else {
            state.close_at = Some(Instant::now() + after);
        }

        drop(state);
        self.flush_and_tell();
        self.wake.notify_one();
    }

    /// Nobody serves it any more: what is left of it goes, and the node is told.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.out.end(End::Drop);
        state.to = None;
        let on = state.on.take();
        drop(state);
        if let Some(On { streams, number }) = on {
            streams.leave(number);
        }
    }

    /// The socket is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.state().out.ends().is_some()
    }

    /// Nothing more is to be read of the client now.
    pub(super) fn is_full(&self) -> bool {
        self.state().is_full()
    }

    /// Takes in a frame of the client.
    pub(super) fn heard(&self, heard: Heard) {
        self.counts.count_in();
        match heard {
            Heard::Text(text) => self.say(text),
            Heard::Part => {}
            Heard::Ping(payload) => self.state().out.pong(&payload),
            Heard::Pong(payload) => self.read(&payload),
            Heard::Close(code) => self.state().out.end(End::Answer(code)),
        }
    }
}

impl State {
    /// Nothing more is to be read of the client now: too much of it waits for the node, or is not
    /// answered, or too many pongs wait for it.
    pub(super) fn is_full(&self) -> bool {
        let window = usize::try_from(self.terms.window).unwrap_or(usize::MAX);
        let is_full = self.unroomed.max(self.out.pong_bytes()) >= self.terms.half()
            || self.unanswered.bytes() >= window
            || self.on.is_some() && self.unanswered.has_unsent();
        self.out.ends().is_none() && is_full
    }
}

pub(super) fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(number.into())
}
