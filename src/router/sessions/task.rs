//! The one task of a socket: it reads what the client says, keeps the deadlines, and writes what
//! had to wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::problem::CloseCode;
use crate::router::sessions::hearing::Hearing;
use crate::router::sessions::outbox::End;
use crate::router::sessions::socket::{On, SLEEP_MAX, Socket, State, milliseconds};
use crate::telemetry;

/// How long a client may take to answer our Close.
const LINGER: Duration = Duration::from_secs(2);
/// What is read away in that time at most.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// How long a stalled socket may take for its Close frame before it is dropped.
const STALLED_LINGER: Duration = Duration::from_secs(3);
/// Bytes read at once, into a buffer that all sockets of a thread share.
const READ_BYTES: usize = 16 * 1024;
/// Until the next look at a link that had no space for a message.
const UNSENT_LOOK: Duration = Duration::from_millis(100);

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
    /// Serves the client's connection to its end. `first` is what was read beyond the HTTP request.
    pub(super) async fn run(self: Arc<Self>, stream: TcpStream, first: Bytes) {
        // A failure here is a dead socket, which the first write finds.
        stream.set_nodelay(true).ok();
        let (mut from, to) = stream.into_split();
        self.state().to = Some(to);
        let mut hearing = Hearing::new(&self.state().terms, first);
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
            next = next.min(since + state.patience(end));
        }
        next = state
            .close_at
            .filter(|_| end.is_none())
            .map_or(next, |at| next.min(at));
        Self::speak(&mut state);
        if state.on.is_some() && state.unanswered.has_unsent() {
            next = next.min(now + UNSENT_LOOK);
        }
        state.armed = next;
        let is_paused = state.is_full();
        self.is_paused.store(is_paused, Ordering::Relaxed);
        let is_blocked = state.blocked.is_some();
        let on = state.on.clone().filter(|_| told > 0 || end.is_some());
        drop(state);

        if let Some(On { streams, number }) = on {
            streams.tell_taken(number, told);
            if end.is_some() {
                streams.leave(number);
            }
        }
        Look {
            at: next,
            is_blocked,
            reads: !is_paused && !hearing.is_closed,
            is_over,
        }
    }

    /// Ends a socket that has taken nothing for too long; true when it does not even take its
    /// Close.
    fn gives_up(&self, state: &mut State, now: Instant) -> bool {
        let end = state.out.ends();
        if state
            .blocked
            .is_none_or(|since| now < since + state.patience(end))
        {
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

    /// Waits until the socket takes more or gives something, and takes that in.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        from: &mut OwnedReadHalf,
        hearing: &mut Hearing,
        look: Look,
    ) -> Poll<()> {
        if look.is_blocked && from.as_ref().poll_write_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        if !look.reads {
            return Poll::Pending;
        }

        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer =
                ReadBuf::new(scratch.get_or_insert_with(|| vec![0; READ_BYTES].into_boxed_slice()));
            match Pin::new(from).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    hearing.hear(self, buffer.filled())
                }
                Poll::Ready(_ended) => {
                    hearing.is_closed = true;
                    self.state().out.end(End::Drop);
                }
            }
            Poll::Ready(())
        })
    }
}

impl State {
    /// How long the socket may take nothing.
    fn patience(&self, end: Option<End>) -> Duration {
        match end {
            Some(End::Close(CloseCode::SlowConsumer)) => STALLED_LINGER,
            _ => milliseconds(self.terms.write_timeout_ms),
        }
    }
}

thread_local! {
    /// Where what is read stands until it is understood: sockets need a buffer only while they have
    /// something.
    static SCRATCH: std::cell::RefCell<Option<Box<[u8]>>> = const { std::cell::RefCell::new(None) };
}
