//! One client's socket. Whoever has something for it queues it and [flushes](Socket::flush): what the socket takes at once
//! is written there and then. Its one task reads, keeps the deadlines, and writes what had to wait.
//!
//! **Invariants.** Only the holder of the lock writes, so frames are whole and in order. A socket that waits for nothing holds
//! no buffer. What a client sends is read no further while too much of it waits for the node, or too many pongs wait for the
//! client. A socket ends: with its peer, by the node, by a deadline, or with the router.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::ids::Seq;
use crate::link::front::{self, Handle, SessionNumber, Terms, Up};
use crate::problem::CloseCode;
use crate::protocol::ServerFrame;
use crate::router::sessions::frames::{self, Heard};
use crate::router::sessions::hearing::Hearing;
use crate::router::sessions::outbox::{End, Outbox, Wrote};
use crate::router::sessions::pulse::{Due, Pulse};
use crate::router::sessions::streams::{Sent, Streams};
use crate::telemetry;

/// How long a client may take to answer our Close.
const LINGER: Duration = Duration::from_secs(2);
/// What is read away in that time at most.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// How long a stalled socket may take for its Close frame before it is dropped.
const STALLED_LINGER: Duration = Duration::from_secs(3);
/// Until the next look at a client from whom nothing is read, and at a link that had no space for a message.
const HELD_LOOK: Duration = Duration::from_secs(1);
const UNSENT_LOOK: Duration = Duration::from_millis(100);
/// Longest sleep of a socket's task.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Bytes read at once, into a buffer that all sockets of a thread share.
const READ_BYTES: usize = 16 * 1024;
/// Bytes taken by a socket that are told to its node at once; fewer are told with those of others.
const TOLD_AT_ONCE: u32 = 32 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Socket {
    number: SessionNumber,
    streams: Arc<Streams>,
    terms: Arc<Terms>,
    state: Mutex<State>,
    /// Nothing is read from the client now.
    is_paused: AtomicBool,
    /// Wakes the task.
    wake: Notify,
}

#[derive(Debug)]
struct State {
    /// None before the client's connection was handed over, and after the end.
    to: Option<OwnedWriteHalf>,
    out: Outbox,
    pulse: Pulse,
    /// Something was queued since it was flushed last.
    is_touched: bool,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
    /// The task looks again by then.
    armed: Instant,
    /// What the client said and the node has not worked off.
    unroomed: usize,
    /// What the socket took and the node was not told.
    untold: u32,
    /// It is told with that of other sockets.
    is_listed: bool,
    /// When a drain closes it.
    close_at: Option<Instant>,
}

/// What the task does next.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// When it looks again.
    at: Instant,
    /// It waits until the socket takes more.
    is_blocked: bool,
    /// It reads.
    reads: bool,
    /// Everything is written, or never will be.
    is_over: bool,
}

impl Socket {
    /// A socket whose connection is still to be handed over.
    pub(super) fn new(number: SessionNumber, streams: Arc<Streams>, terms: Arc<Terms>) -> Self {
        let now = Instant::now();
        let (heartbeat, marks) = (milliseconds(terms.heartbeat_ms), milliseconds(terms.marks_ms));
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
        };
        Self {
            number,
            streams,
            terms,
            state: Mutex::new(state),
            is_paused: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame of the node, with the event in it; true when nothing was queued before since the last flush.
    pub(super) fn deliver(&self, frame: &Bytes, cost: u32, event: Option<(Handle, Seq)>) -> bool {
        let mut state = self.state();
        state.out.deliver(frame.clone(), cost);
        if let Some((handle, seq)) = event {
            state.pulse.wrote(handle, seq);
        }
        !std::mem::replace(&mut state.is_touched, true)
    }

    /// Writes what the socket takes now. What is to be told to the node at once as taken, if anything.
    pub(super) fn flush(&self) -> u32 {
        let mut state = self.state();
        let (was_blocked, now) = (state.blocked.is_some(), Instant::now());
        let (next, told) = self.write(&mut state, now);
        let needs_task = next < state.armed || !was_blocked && state.blocked.is_some() || state.out.ends().is_some();
        drop(state);
        if needs_task {
            self.wake.notify_one();
        }
        told
    }

    /// Writes, and pings if that is due. When to look again, and what is to be told at once as taken.
    fn write(&self, state: &mut State, now: Instant) -> (Instant, u32) {
        state.is_touched = false;
        let mut next = now + SLEEP_MAX;
        let Some(to) = &state.to else { return (next, 0) };
        if state.blocked.is_none() && state.out.ends().is_none() {
            next = next.min(self.beat(&mut state.pulse, &mut state.out, now));
        }
        let done = state.out.write(to);
        self.streams.count_out(done.frames, done.writes);
        let mut waited = false;
        match done.wrote {
            Wrote::All => waited = state.blocked.take().is_some(),
            Wrote::Part if done.writes > 0 || state.blocked.is_none() => state.blocked = Some(now),
            Wrote::Part => {}
            Wrote::Gone => state.out.end(End::Drop),
        }
        state.untold = state.untold.saturating_add(done.taken);
        if state.untold > 0 && (waited || state.untold >= TOLD_AT_ONCE.min(self.terms.window / 8)) {
            return (next, std::mem::take(&mut state.untold));
        }
        if state.untold > 0 && !std::mem::replace(&mut state.is_listed, true) {
            self.streams.list(self.number);
        }
        (next, 0)
    }

    /// Pings if that is due. When to look again.
    fn beat(&self, pulse: &mut Pulse, out: &mut Outbox, now: Instant) -> Instant {
        loop {
            match pulse.due(now) {
                Due::Nothing(at) => return at,
                Due::Ping(payload) => out.own(frames::ping(&payload)),
                // Their pongs are not read now; a socket that takes nothing is found by its write timeout.
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
        state.unroomed = state.unroomed.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
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

    fn flush_and_tell(&self) {
        let told = self.flush();
        self.streams.tell_taken(self.number, told);
    }

    /// Tells the client to connect again after a delay; closes the socket then, or at once.
    pub(super) fn send_away(&self, after: Duration, reason: &'static str, at_once: bool) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let frame = frames::text(&ServerFrame::Reconnect { after_ms, reason }.encode());
        let mut state = self.state();
        state.out.own(frame);
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
        drop(state);
        self.streams.leave(self.number);
    }

    /// Serves the client's connection to its end. `first` is what was read beyond the HTTP request.
    pub(super) async fn run(self: Arc<Self>, stream: TcpStream, first: Bytes) {
        // A failure here is a dead socket, which the first write finds.
        stream.set_nodelay(true).ok();
        let (mut from, to) = stream.into_split();
        self.state().to = Some(to);
        let mut hearing = Hearing::new(&self.terms, first);
        let mut sleep = std::pin::pin!(tokio::time::sleep(SLEEP_MAX));
        loop {
            hearing.hear_rest(&self);
            let look = self.look(&hearing);
            if look.is_over {
                break;
            }
            if sleep.is_elapsed() || look.at < sleep.deadline().into_std() {
                sleep.as_mut().reset(look.at.into());
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = &mut sleep => {}
                () = std::future::poll_fn(|cx| self.poll(cx, &mut from, &mut hearing, look)) => {}
            }
        }
        // What is left cannot be written. To drop it shuts the write side.
        self.state().to = None;
        if !hearing.is_closed {
            let (mut rest, mut nowhere) = (from.take(LINGER_BYTES), tokio::io::sink());
            let reading_away = tokio::io::copy(&mut rest, &mut nowhere);
            tokio::time::timeout(LINGER, reading_away).await.ok();
        }
    }

    /// Ends what has to end now, and writes what can be written.
    fn look(&self, hearing: &Hearing) -> Look {
        let now = Instant::now();
        let mut state = self.state();
        if state.close_at.is_some_and(|at| now >= at) {
            state.out.end(End::Close(CloseCode::ServiceRestart));
        }
        let mut is_over = self.gives_up(&mut state, now);
        let (mut next, told) = self.write(&mut state, now);
        let end = state.out.ends();
        is_over |= end.is_some() && state.out.is_empty();
        if let Some(since) = state.blocked {
            next = next.min(since + self.patience(end));
        }
        next = state.close_at.filter(|_| end.is_none()).map_or(next, |at| next.min(at));
        if hearing.unsent.is_some() {
            next = next.min(now + UNSENT_LOOK);
        }
        state.armed = next;
        let is_full = state.unroomed.max(state.out.pong_bytes()) >= self.terms.half();
        let is_paused = end.is_none() && (is_full || hearing.unsent.is_some());
        self.is_paused.store(is_paused, Ordering::Relaxed);
        let is_blocked = state.blocked.is_some();
        drop(state);

        self.streams.tell_taken(self.number, told);
        if end.is_some() {
            self.streams.leave(self.number);
        }
        Look { at: next, is_blocked, reads: !is_paused && !hearing.is_closed, is_over }
    }

    /// Ends a socket that has taken nothing for too long; true when it does not even take its Close.
    fn gives_up(&self, state: &mut State, now: Instant) -> bool {
        let end = state.out.ends();
        if state.blocked.is_none_or(|since| now < since + self.patience(end)) {
            return false;
        }
        if end.is_some() {
            return true;
        }
        telemetry::SESSION_SLOW.add(1, &[("reason", "stalled")]);
        state.out.end(End::Close(CloseCode::SlowConsumer));
        state.blocked = Some(now);
        false
    }

    /// How long the socket may take nothing.
    fn patience(&self, end: Option<End>) -> Duration {
        match end {
            Some(End::Close(CloseCode::SlowConsumer)) => STALLED_LINGER,
            _ => milliseconds(self.terms.write_timeout_ms),
        }
    }

    /// Waits until the socket takes more or gives something, and takes that in.
    fn poll(&self, cx: &mut Context<'_>, from: &mut OwnedReadHalf, hearing: &mut Hearing, look: Look) -> Poll<()> {
        if look.is_blocked && from.as_ref().poll_write_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        if !look.reads {
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch.get_or_insert_with(|| vec![0; READ_BYTES].into_boxed_slice()));
            match Pin::new(from).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => hearing.hear(self, buffer.filled()),
                Poll::Ready(_ended) => {
                    hearing.is_closed = true;
                    self.state().out.end(End::Drop);
                }
            }
            Poll::Ready(())
        })
    }

    /// The socket is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.state().out.ends().is_some()
    }

    /// Nothing more is to be read of the client now.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.out.ends().is_none() && state.unroomed.max(state.out.pong_bytes()) >= self.terms.half()
    }

    /// Gives a message to the node. When there is no space for it, it is given back.
    pub(super) fn say(&self, text: Bytes) -> Option<Bytes> {
        let sent = self.streams.send(Up::Said { session: self.number, text: text.clone() });
        // When the connection has ended, so does the socket.
        (sent == Sent::Full).then_some(text)
    }

    /// Takes in a frame of the client. A message for which the link has no space is given back.
    pub(super) fn heard(&self, heard: Heard) -> Option<Bytes> {
        self.streams.count_in();
        match heard {
            Heard::Text(text) => {
                let cost = usize::try_from(front::cost(text.len())).unwrap_or(usize::MAX);
                self.state().unroomed += cost;
                return self.say(text);
            }
            Heard::Part => {}
            Heard::Ping(payload) => self.state().out.pong(&payload),
            Heard::Pong(payload) => {
                let marks = self.state().pulse.pong(&payload);
                self.streams.read(self.number, marks);
            }
            Heard::Close(code) => self.state().out.end(End::Answer(code)),
        }
        None
    }
}

thread_local! {
    /// Where what is read stands until it is understood: sockets need a buffer only while they have something.
    static SCRATCH: std::cell::RefCell<Option<Box<[u8]>>> = const { std::cell::RefCell::new(None) };
}

fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(number.into())
}
