//! One socket: a reader and a writer. The writer alone writes, everything queued in one go, and keeps the session's
//! deadlines; the reader is never cancelled within a frame but for good.
//!
//! After our Close the write side is shut, and what the client still sends is read away for a moment, so that the Close
//! arrives instead of a reset.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, after_handshake_split};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use crate::auth::LEEWAY;
use crate::node::session::outbox::{self, End, Session};
use crate::node::session::pulse::{Due, Pulse};
use crate::node::session::underway::UnderWay;
use crate::node::session::{Inner, commands};
use crate::problem::CloseCode;
use crate::protocol::{FRAME_BYTES_MAX, ServerFrame};
use crate::shard::log::record::Event;
use crate::telemetry;

/// How long a client may take to answer our Close.
const LINGER: Duration = Duration::from_secs(2);
/// What is read away in that time at most.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// Frames of one session are written at most this often: a lone frame goes at once, those of a burst go together. System
/// calls are what a frame costs.
const FLUSH_EVERY: Duration = Duration::from_millis(2);
/// How long a stalled socket may take for its Close frame before it is dropped.
const STALLED_LINGER: Duration = Duration::from_secs(3);
/// Until the next look at a client whose answers have no room.
const HELD_LOOK: Duration = Duration::from_secs(1);
/// Longest sleep of a writer: a clock that was set is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// After the end of file of a draining router: the longest delay told to a client.
const ROUTER_DRAIN_JITTER_MS: u64 = 1_000;

/// How a socket begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As a session; `held` until its resume.
    Admitted {
        /// `resume=wait`.
        held: bool,
    },
    /// Closed at once.
    Refused(CloseCode),
}

/// Serves one upgraded socket to its end. `first` is what was read beyond the HTTP request.
pub(super) async fn serve(
    inner: &Arc<Inner>,
    stream: TcpStream,
    first: Bytes,
    session: Arc<Session>,
    admission: Admission,
) {
    // A failure here is a dead socket, which the first write finds.
    stream.set_nodelay(true).ok();
    let (read, write) = stream.into_split();
    if let Admission::Refused(code) = admission {
        session.end(End::Close(code));
    }
    let now = Instant::now();
    let pulse = Pulse::new(inner.config.heartbeat, inner.config.delivered_every, rand::random(), now);
    let socket = Arc::new(Socket { inner: Arc::clone(inner), session, pulse: Mutex::new(pulse) });
    let stop = CancellationToken::new();
    let reader = Arc::clone(&socket).read(read, first);
    let reading = tokio::spawn(stop.clone().run_until_cancelled_owned(reader));
    let stopped_with_us = stop.drop_guard();
    let held = admission == Admission::Admitted { held: true };
    let held_until = held.then(|| now + inner.config.resume_wait_max);
    socket.write(write, held_until).await;
    if matches!(admission, Admission::Admitted { .. }) {
        inner.leave(&socket.session);
    }
    // Ends when the client has closed too, or here; its outcome is in the outbox.
    drop(tokio::time::timeout(LINGER, reading).await);
    drop(stopped_with_us);
}

/// What reader and writer share.
struct Socket {
    inner: Arc<Inner>,
    session: Arc<Session>,
    pulse: Mutex<Pulse>,
}

/// What a client sent that is answered.
enum Asked {
    /// A whole message.
    Text(Vec<u8>),
    /// A ping with this payload.
    Ping(Vec<u8>),
}

/// Why a write did not finish.
enum Unwritten {
    /// The socket took nothing for too long.
    Stalled,
    /// The peer is gone.
    Gone,
}

impl Socket {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the session ends, then its last frame, then shuts the write side.
    async fn write(&self, mut to: OwnedWriteHalf, mut held_until: Option<Instant>) {
        let mut quiet_until = Instant::now();
        loop {
            if Instant::now() < quiet_until {
                tokio::time::sleep_until(quiet_until.into()).await;
            }
            let next = self.check_deadlines(&mut held_until);
            let mut taken = self.session.take();
            let next = next.min(self.beat(&taken.events, &mut taken.bytes));
            if let Some(end) = taken.end {
                self.finish(&mut to, taken.bytes, &end).await;
                return;
            }
            if taken.bytes.is_empty() {
                tokio::select! {
                    () = self.session.wake.notified() => {}
                    () = tokio::time::sleep_until(next.into()) => {}
                }
                continue;
            }
            self.inner.frames_out.increment(taken.frames);
            match self.write_all(&to, &mut taken.bytes, self.inner.config.write_timeout).await {
                Ok(()) => {
                    quiet_until = Instant::now() + FLUSH_EVERY;
                    self.ask_for_spans();
                }
                Err(Unwritten::Gone) => self.session.end(End::Drop),
                Err(Unwritten::Stalled) => {
                    telemetry::SESSION_SLOW.add(1, &[("reason", "stalled")]);
                    self.session.end(End::Close(CloseCode::SlowConsumer));
                    self.inner.leave(&self.session);
                    taken.bytes.extend_from_slice(&outbox::close(CloseCode::SlowConsumer));
                    // No use to look at the outcome: either way the socket is dropped.
                    self.write_all(&to, &mut taken.bytes, STALLED_LINGER).await.ok();
                    to.shutdown().await.ok();
                    return;
                }
            }
        }
    }

    /// Ends what has to end now; the instant of the next look.
    fn check_deadlines(&self, held_until: &mut Option<Instant>) -> Instant {
        let now = Instant::now();
        let expires = self.session.expires.load(Ordering::Relaxed).saturating_add(LEEWAY.as_secs());
        let left = expires.saturating_mul(1_000).saturating_sub(self.inner.clock.now_ms());
        if left == 0 {
            self.session.end(End::Close(CloseCode::Unauthorized));
        }
        let mut next = now + Duration::from_millis(left).clamp(Duration::from_millis(1), SLEEP_MAX);
        if let Some(until) = *held_until {
            if now >= until {
                *held_until = None;
                self.inner.on_board(|board| board.stop_waiting(self.session.id));
            } else {
                next = next.min(until);
            }
        }
        if let Some(at) = self.session.closes_at() {
            if now >= at {
                self.session.end(End::Close(CloseCode::ServiceRestart));
            } else {
                next = next.min(at);
            }
        }
        next
    }

    /// Adds a ping after what is written now, if one is due.
    fn beat(&self, events: &[Arc<Event>], bytes: &mut BytesMut) -> Instant {
        let now = Instant::now();
        let mut pulse = self.pulse();
        events.iter().for_each(|event| pulse.wrote(event));
        match pulse.due(now) {
            Due::Nothing(at) => at,
            Due::Ping(payload) => {
                bytes.extend_from_slice(&outbox::encode(outbox::PING, &payload));
                now + SLEEP_MAX
            }
            // Their pongs are not read while answers wait for room; a socket that takes nothing is found by its writer.
            Due::Dead if self.session.held.load(Ordering::Relaxed) => now + HELD_LOOK,
            Due::Dead => {
                self.session.end(End::Drop);
                now
            }
        }
    }

    fn ask_for_spans(&self) {
        let session = &self.session;
        if session.hungry.load(Ordering::SeqCst) && session.has_room() && session.hungry.swap(false, Ordering::SeqCst) {
            self.inner.pump(session.id);
        }
    }

    async fn finish(&self, to: &mut OwnedWriteHalf, mut bytes: BytesMut, end: &End) {
        match end {
            End::Close(code) => bytes.extend_from_slice(&outbox::close(*code)),
            End::Answer(code) => bytes.extend_from_slice(&outbox::close_answer(*code)),
            End::Drop => {}
        }
        let limit = self.inner.config.write_timeout;
        // Either way the socket is dropped; a Close that the peer does not take is not worth more.
        self.write_all(to, &mut bytes, limit).await.ok();
        to.shutdown().await.ok();
    }

    async fn write_all(&self, to: &OwnedWriteHalf, bytes: &mut BytesMut, limit: Duration) -> Result<(), Unwritten> {
        while !bytes.is_empty() {
            match to.try_write(bytes) {
                Ok(written) => {
                    self.inner.writes.increment(1);
                    bytes.advance(written);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    match tokio::time::timeout(limit, to.writable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(Unwritten::Gone),
                        Err(_) => return Err(Unwritten::Stalled),
                    }
                }
                Err(_) => return Err(Unwritten::Gone),
            }
        }
        Ok(())
    }

    /// Reads until the session ends, then reads away what is left until the client has closed.
    async fn read(self: Arc<Self>, from: OwnedReadHalf, first: Bytes) {
        let mut stream = AsyncReadExt::chain(std::io::Cursor::new(first), from);
        let end = self.read_frames(&mut stream).await;
        let closed = matches!(end, End::Answer(_) | End::Drop);
        self.session.end(end);
        if !closed {
            tokio::io::copy(&mut AsyncReadExt::take(stream, LINGER_BYTES), &mut tokio::io::sink()).await.ok();
        }
    }

    async fn read_frames(&self, stream: &mut (impl AsyncRead + Unpin)) -> End {
        let (mut frames, _unused) = after_handshake_split(stream, tokio::io::sink(), Role::Server);
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        // The crate refuses what is equal too.
        frames.set_max_message_size(FRAME_BYTES_MAX + 1);
        let mut allowance = Allowance::new(self.inner.config.frames_per_second_max);
        let under_way = UnderWay::new(self.session.answers_max());
        let mut partial: Option<Vec<u8>> = None;
        let mut nothing_to_send = |_frame: Frame<'_>| std::future::ready(Ok::<(), Infallible>(()));
        loop {
            let frame = match frames.read_frame(&mut nothing_to_send).await {
                Ok(frame) => frame,
                Err(error) => return self.broken(&error),
            };
            self.inner.frames_in.increment(1);
            let ending = self.session.is_ending();
            if ending && frame.opcode != OpCode::Close {
                continue;
            }
            if !allowance.take() {
                return End::Close(CloseCode::TooMany);
            }
            match self.frame(frame, &mut partial) {
                Ok(Some(Asked::Text(text))) => commands::handle(&self.inner, &self.session, &under_way, &text).await,
                Ok(Some(Asked::Ping(payload))) => {
                    if let Some(owed) = self.session.owe(payload.len()).await {
                        self.session.answer(outbox::encode(outbox::PONG, &payload), owed);
                    }
                }
                Ok(None) => {}
                Err(end) => return end,
            }
        }
    }

    /// One frame: what is to be answered, when it is complete.
    fn frame(&self, mut frame: Frame<'_>, partial: &mut Option<Vec<u8>>) -> Result<Option<Asked>, End> {
        const PROTOCOL_ERROR: End = End::Close(CloseCode::ProtocolError);
        if !was_masked(&mut frame) {
            return Err(PROTOCOL_ERROR);
        }
        let is_control = matches!(frame.opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
        if is_control && frame.payload.len() > 125 {
            return Err(PROTOCOL_ERROR);
        }
        match (frame.opcode, partial.as_mut()) {
            (OpCode::Close, _) => return Err(closed_by(&frame.payload)),
            (OpCode::Ping, _) => return Ok(Some(Asked::Ping(Vec::from(frame.payload)))),
            (OpCode::Pong, _) => {
                let marks = self.pulse().pong(&frame.payload);
                if !marks.is_empty() {
                    self.inner.gather.add(&self.session.user, marks);
                }
                self.session.wake.notify_one();
            }
            (OpCode::Binary, _) => return Err(End::Close(CloseCode::UnsupportedData)),
            (OpCode::Text, None) if frame.fin => return Ok(Some(Asked::Text(Vec::from(frame.payload)))),
            (OpCode::Text, None) => *partial = Some(Vec::from(frame.payload)),
            (OpCode::Continuation, Some(begun)) => {
                if begun.len() + frame.payload.len() > FRAME_BYTES_MAX {
                    return Err(End::Close(CloseCode::TooBig));
                }
                begun.extend_from_slice(&frame.payload);
                if frame.fin {
                    let whole = partial.take().unwrap_or_default();
                    let is_text = std::str::from_utf8(&whole).is_ok();
                    return if is_text { Ok(Some(Asked::Text(whole))) } else { Err(PROTOCOL_ERROR) };
                }
            }
            (OpCode::Text, Some(_)) | (OpCode::Continuation, None) => return Err(PROTOCOL_ERROR),
        }
        Ok(None)
    }

    fn broken(&self, error: &WebSocketError) -> End {
        match error {
            WebSocketError::FrameTooLarge => End::Close(CloseCode::TooBig),
            WebSocketError::IoError(_) => End::Drop,
            // Without a Close this is a router that drains: its clients can still read.
            WebSocketError::UnexpectedEOF => {
                let after_ms = rand::random_range(0..=ROUTER_DRAIN_JITTER_MS);
                self.session.offer_frame(&ServerFrame::Reconnect { after_ms, reason: "router drains" });
                End::Close(CloseCode::ServiceRestart)
            }
            _ => End::Close(CloseCode::ProtocolError),
        }
    }
}

/// The crate takes unmasked frames of clients and keeps the key to itself; the header it would write shows it.
fn was_masked(frame: &mut Frame<'_>) -> bool {
    let mut head = [0; 14];
    frame.fmt_head(&mut head);
    let [_, second, ..] = head;
    second & 0x80 != 0
}

/// The answer to a client's Close: the same code, or a protocol error for one that may not be sent.
fn closed_by(payload: &[u8]) -> End {
    match payload {
        [] => End::Answer(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if allowed && std::str::from_utf8(reason).is_ok() {
                End::Answer(Some(code))
            } else {
                End::Close(CloseCode::ProtocolError)
            }
        }
        [_] => End::Close(CloseCode::ProtocolError),
    }
}

/// Token bucket over client frames: a rate, and four seconds of it as a burst.
struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, left: per_second * 4.0, at: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + refill).min(self.per_second * 4.0) - 1.0;
        self.at = now;
        self.left >= 0.0
    }
}
