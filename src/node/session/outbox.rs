//! What waits to be written to one session: complete WebSocket frames, encoded once per node and shared, bounded in
//! bytes. A full outbox ends the session with 4420; nothing is ever dropped from the middle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

use crate::ids::{SessionId, UserId};
use crate::problem::CloseCode;
use crate::protocol::ServerFrame;
use crate::shard::log::record::Event;
use crate::telemetry;

/// Opcode of a text frame.
const TEXT: u8 = 0x1;
/// Opcode of a close frame.
const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub(super) const PING: u8 = 0x9;
/// Opcode of a pong.
pub(super) const PONG: u8 = 0xA;
/// Frames taken for one write, in bytes; the last one may exceed it.
const WRITE_BYTES: usize = 64 * 1024;
/// What a queued frame costs beside its bytes, so that a flood of tiny frames is bounded too.
const QUEUED_COST: usize = 64;

/// A complete unmasked WebSocket frame (as a server sends it).
pub(super) fn encode(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        frame.put_u8(short);
    } else if let Ok(middle) = u16::try_from(payload.len()) {
        frame.put_u8(126);
        frame.put_u16(middle);
    } else {
        frame.put_u8(127);
        frame.put_u64(u64::try_from(payload.len()).unwrap_or(u64::MAX));
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// A text frame with this payload.
pub(super) fn text(payload: &[u8]) -> Bytes {
    encode(TEXT, payload)
}

/// A Close frame with a code of ours.
pub(super) fn close(code: CloseCode) -> Bytes {
    let (number, reason) = code.parts();
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    encode(CLOSE, &payload)
}

/// A Close frame that answers the client's, with his code if he gave one.
pub(super) fn close_answer(code: Option<u16>) -> Bytes {
    encode(CLOSE, code.map(u16::to_be_bytes).as_ref().map_or(&[], |code| code.as_slice()))
}

/// How a session ends: what is written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// A Close frame of ours.
    Close(CloseCode),
    /// The answer to the client's Close.
    Answer(Option<u16>),
    /// Nothing: the peer is gone, or answers no ping.
    Drop,
}

/// A frame, and the event in it.
#[derive(Debug, Clone)]
struct Queued {
    frame: Bytes,
    event: Option<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Queued>,
    bytes: usize,
    end: Option<End>,
    close_at: Option<Instant>,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) struct Taken {
    /// Frames for one write; may be empty.
    pub(super) bytes: BytesMut,
    /// How many.
    pub(super) frames: u64,
    /// Events of others in them, for delivered marks.
    pub(super) events: Vec<Arc<Event>>,
    /// After these bytes the session ends so; given once everything before is taken.
    pub(super) end: Option<End>,
}

/// One live session, as the hub, its reader and its writer share it.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: SessionId,
    /// Whose.
    pub(super) user: UserId,
    /// Of the upgrade; named in every problem.
    pub(super) request_id: Arc<str>,
    /// Unix seconds at which the token ends, without leeway.
    pub(super) expires: AtomicU64,
    /// Spans wait for room in the outbox: the writer tells the hub when half of it is free.
    pub(super) hungry: AtomicBool,
    /// Wakes the writer.
    pub(super) wake: Notify,
    outbox: Mutex<Outbox>,
    bytes_max: usize,
}

impl Session {
    /// A session with an empty outbox of at most `bytes_max`.
    pub(super) fn new(user: UserId, request_id: Arc<str>, expires: u64, bytes_max: usize) -> Self {
        Self {
            id: SessionId::random(),
            user,
            request_id,
            expires: AtomicU64::new(expires),
            hungry: AtomicBool::new(false),
            wake: Notify::new(),
            outbox: Mutex::default(),
            bytes_max,
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame. When it does not fit, the queue is dropped and the session ends with 4420: the client resumes.
    pub(super) fn offer(&self, frame: Bytes, event: Option<Arc<Event>>) {
        let mut outbox = self.outbox();
        if outbox.end.is_some() {
            return;
        }
        let cost = frame.len() + QUEUED_COST;
        if outbox.bytes + cost > self.bytes_max {
            telemetry::SESSION_SLOW.add(1, &[("reason", "overflow")]);
            *outbox = Outbox { end: Some(End::Close(CloseCode::SlowConsumer)), ..Outbox::default() };
        } else {
            outbox.bytes += cost;
            outbox.frames.push_back(Queued { frame, event });
        }
        let first = outbox.frames.len() <= 1;
        drop(outbox);
        if first {
            self.wake.notify_one();
        }
    }

    /// Queues a frame of the contract.
    pub(super) fn offer_frame(&self, frame: &ServerFrame<'_>) {
        self.offer(text(&frame.encode()), None);
    }

    /// True while spans may be queued: less than half of the outbox is taken.
    pub(super) fn has_room(&self) -> bool {
        let outbox = self.outbox();
        outbox.end.is_none() && outbox.bytes < self.bytes_max / 2
    }

    /// Ends the session after what is queued; the first end stands. A slow consumer's queue is dropped.
    pub(super) fn end(&self, end: End) {
        let mut outbox = self.outbox();
        if outbox.end.is_none() {
            if end == End::Close(CloseCode::SlowConsumer) || end == End::Drop {
                outbox.frames.clear();
                outbox.bytes = 0;
            }
            outbox.end = Some(end);
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// Closes the session with 1012 at `at`.
    pub(super) fn close_at(&self, at: Instant) {
        self.outbox().close_at = Some(at);
        self.wake.notify_one();
    }

    /// When a drain closes it.
    pub(super) fn closes_at(&self) -> Option<Instant> {
        self.outbox().close_at
    }

    /// True when the session is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.outbox().end.is_some()
    }

    /// Extends the life of the session to a newer token's end.
    pub(super) fn renew(&self, expires: u64) {
        self.expires.store(expires, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Takes what is queued, up to one write.
    pub(super) fn take(&self) -> Taken {
        let mut outbox = self.outbox();
        let mut taken = Taken { bytes: BytesMut::new(), frames: 0, events: Vec::new(), end: None };
        while taken.bytes.len() < WRITE_BYTES {
            let Some(Queued { frame, event }) = outbox.frames.pop_front() else {
                taken.end.clone_from(&outbox.end);
                break;
            };
            outbox.bytes = outbox.bytes.saturating_sub(frame.len() + QUEUED_COST);
            taken.frames += 1;
            taken.bytes.extend_from_slice(&frame);
            taken.events.extend(event.filter(|event| event.actor() != &self.user));
        }
        if outbox.frames.is_empty() && outbox.frames.capacity() > 64 {
            // An idle session keeps no room for the burst it once had.
            outbox.frames = VecDeque::new();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(bytes_max: usize) -> Session {
        Session::new(UserId::parse("bob").expect("a name"), Arc::from("r"), 0, bytes_max)
    }

    #[test]
    fn frames_have_the_shortest_header() {
        assert_eq!(&encode(TEXT, b"hi")[..], b"\x81\x02hi");
        assert_eq!(&encode(TEXT, &[b'x'; 126])[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(&encode(TEXT, &[b'x'; 65_536])[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(&close(CloseCode::Unauthorized)[..4], b"\x88\x0e\x11\x31");
    }

    #[test]
    fn everything_queued_leaves_in_one_write() {
        let session = session(10_000);
        for word in ["a", "b", "c"] {
            session.offer(text(word.as_bytes()), None);
        }
        assert_eq!(&session.take().bytes[..], b"\x81\x01a\x81\x01b\x81\x01c");
        assert!(session.take().bytes.is_empty());
    }

    #[test]
    fn what_does_not_fit_ends_the_session_as_a_slow_consumer() {
        let session = session(200);
        session.offer(text(b"a"), None);
        session.offer(text(&[b'x'; 300]), None);
        let taken = session.take();
        assert!(taken.bytes.is_empty());
        assert_eq!(taken.end, Some(End::Close(CloseCode::SlowConsumer)));
        session.offer(text(b"later"), None);
        assert!(session.take().bytes.is_empty(), "nothing follows the end");
    }

    #[test]
    fn the_end_comes_after_what_was_queued() {
        let session = session(1_000_000);
        session.offer(text(&[b'x'; 70_000]), None);
        session.offer(text(b"last"), None);
        session.end(End::Close(CloseCode::ServiceRestart));
        assert_eq!(session.take().end, None);
        let taken = session.take();
        assert_eq!(&taken.bytes[..], b"\x81\x04last");
        assert_eq!(taken.end, Some(End::Close(CloseCode::ServiceRestart)));
    }
}
