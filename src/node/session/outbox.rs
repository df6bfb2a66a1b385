//! What waits to be written to one session: complete WebSocket frames, encoded once per node and shared, bounded in
//! bytes. Each kind has a bound of its own, and none ends the session:
//! - an event that does not fit is not taken: the session falls behind, and is served by spans when there is room;
//! - an answer takes its room before its question is worked on: while there is none, nothing more is read;
//! - of receipts that do not fit the latest of each is kept, and written when the rest is;
//! - the others (`hello`, `gap`, `live`, `ready`) are few for each conversation, and most of them come with spans.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::ids::{ConversationName, MessageId, SessionId, UserId};
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
/// What an answer may take beside what its question had: the fields of a message, or of a problem.
const ANSWER_COST: usize = 1_024;
/// Receipts kept while there is no room for them; more are shed.
const RECEIPTS_MAX: usize = 1_000;

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

/// How much of that answers may take beside events.
fn answer_bytes(bytes_max: usize) -> usize {
    (bytes_max / 2).clamp(1, Semaphore::MAX_PERMITS)
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

/// Room for one answer, until it is written.
pub(super) type Owed = OwnedSemaphorePermit;

/// What a later receipt stands for too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ReceiptKey {
    /// In which conversation.
    pub(super) conversation: ConversationName,
    /// Who was given, read, or reacted.
    pub(super) user: UserId,
    /// To what.
    pub(super) of: ReceiptOf,
}

/// Kinds of receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ReceiptOf {
    /// Everything up to a seq.
    Watermark {
        /// Read, not only delivered.
        read: bool,
    },
    /// One message.
    Reaction(MessageId),
}

/// A frame, the event in it, and the room that it took as an answer.
#[derive(Debug)]
struct Queued {
    frame: Bytes,
    event: Option<Arc<Event>>,
    owed: Option<Owed>,
}

#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Queued>,
    bytes: usize,
    /// The latest of receipts that found no room.
    receipts: HashMap<ReceiptKey, Bytes>,
    end: Option<End>,
    close_at: Option<Instant>,
}

impl Outbox {
    /// Receipts that were kept are queued, when nothing else is; true when there were any.
    fn write_receipts(&mut self) -> bool {
        for (_, frame) in self.receipts.drain() {
            self.bytes += frame.len() + QUEUED_COST;
            self.frames.push_back(Queued { frame, event: None, owed: None });
        }
        self.receipts.shrink_to(0);
        !self.frames.is_empty()
    }
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
    /// The reader waits for room for an answer, so no pong is read.
    pub(super) held: AtomicBool,
    /// Wakes the writer.
    pub(super) wake: Notify,
    /// Bytes that answers may take.
    answers: Arc<Semaphore>,
    /// Bytes that answers may take which come late.
    late_answers: Arc<Semaphore>,
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
            held: AtomicBool::new(false),
            wake: Notify::new(),
            answers: Arc::new(Semaphore::new(answer_bytes(bytes_max))),
            late_answers: Arc::new(Semaphore::new(answer_bytes(bytes_max))),
            outbox: Mutex::default(),
            bytes_max,
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame.
    pub(super) fn offer(&self, frame: Bytes, event: Option<Arc<Event>>) {
        let outbox = self.outbox();
        self.queue(outbox, Queued { frame, event, owed: None });
    }

    /// Queues the frame of an event; false when there is no room for it.
    pub(super) fn offer_if_it_fits(&self, frame: &Bytes, event: &Arc<Event>) -> bool {
        let outbox = self.outbox();
        let fits = outbox.end.is_some() || outbox.bytes + frame.len() + QUEUED_COST <= self.bytes_max;
        if fits {
            self.queue(outbox, Queued { frame: frame.clone(), event: Some(Arc::clone(event)), owed: None });
        }
        fits
    }

    /// Queues a receipt, or keeps it in the place of an earlier one until there is room.
    pub(super) fn offer_receipt(&self, key: &ReceiptKey, frame: &Bytes) {
        let mut outbox = self.outbox();
        if outbox.frames.is_empty() || outbox.bytes + frame.len() + QUEUED_COST <= self.bytes_max {
            // What was kept before is older.
            outbox.receipts.remove(key);
            return self.queue(outbox, Queued { frame: frame.clone(), event: None, owed: None });
        }
        if outbox.end.is_some() {
            return;
        }
        if outbox.receipts.len() < RECEIPTS_MAX || outbox.receipts.contains_key(key) {
            outbox.receipts.insert(key.clone(), frame.clone());
        } else {
            telemetry::SESSION_RECEIPTS.add(1, &[("result", "shed")]);
        }
    }

    /// Waits for room for the answer to a frame of that many bytes.
    pub(super) async fn owe(&self, asked: usize) -> Option<Owed> {
        let cost = (asked + ANSWER_COST).min(answer_bytes(self.bytes_max));
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        if let Ok(owed) = Arc::clone(&self.answers).try_acquire_many_owned(cost) {
            return Some(owed);
        }
        self.held.store(true, Ordering::Relaxed);
        let owed = Arc::clone(&self.answers).acquire_many_owned(cost).await;
        self.held.store(false, Ordering::Relaxed);
        owed.ok()
    }

    /// Bytes that answers may take.
    pub(super) fn answers_max(&self) -> usize {
        answer_bytes(self.bytes_max)
    }

    /// The room for an answer that is late: of another kind, as long as there is some, so that those behind it go on.
    pub(super) fn owe_late(&self, owed: Owed) -> Owed {
        let cost = u32::try_from(owed.num_permits()).unwrap_or(u32::MAX);
        Arc::clone(&self.late_answers).try_acquire_many_owned(cost).unwrap_or(owed)
    }

    /// Queues an answer, in the room that it has.
    pub(super) fn answer(&self, frame: Bytes, owed: Owed) {
        let outbox = self.outbox();
        self.queue(outbox, Queued { frame, event: None, owed: Some(owed) });
    }

    /// Queues an answer of the contract, in the room that it has.
    pub(super) fn answer_frame(&self, frame: &ServerFrame<'_>, owed: Owed) {
        self.answer(text(&frame.encode()), owed);
    }

    fn queue(&self, mut outbox: MutexGuard<'_, Outbox>, queued: Queued) {
        if outbox.end.is_some() {
            return;
        }
        outbox.bytes += queued.frame.len() + QUEUED_COST;
        outbox.frames.push_back(queued);
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
                outbox.receipts.clear();
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
            let Some(Queued { frame, event, owed }) = outbox.frames.pop_front() else {
                if outbox.write_receipts() {
                    continue;
                }
                taken.end.clone_from(&outbox.end);
                break;
            };
            drop(owed);
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
    use futures_util::FutureExt;

    use super::*;
    use crate::ids::{Seq, Slot};
    use crate::shard::log::record::EventKind;

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

    fn event(seq: u64) -> Arc<Event> {
        let source = UserId::parse("alice").expect("a name");
        let kind = EventKind::Message { id: message(seq), source, text: Arc::from("x"), reply_to: None };
        Arc::new(Event { conversation: conversation(), seq: Seq(seq), created: 1, key: None, kind })
    }

    fn conversation() -> ConversationName {
        ConversationName::parse("c").expect("a name")
    }

    fn message(seq: u64) -> MessageId {
        MessageId::new(1, Slot(1), seq)
    }

    #[test]
    fn an_event_that_does_not_fit_is_not_taken_and_ends_nothing() {
        let session = session(400);
        assert!(session.offer_if_it_fits(&text(&[b'x'; 200]), &event(1)));
        assert!(!session.offer_if_it_fits(&text(&[b'y'; 200]), &event(2)));
        assert!(!session.is_ending());
        assert_eq!(session.take().frames, 1);
        assert!(session.offer_if_it_fits(&text(&[b'y'; 200]), &event(2)), "there is room again");
        session.end(End::Drop);
        assert!(session.offer_if_it_fits(&text(&[b'z'; 2_000]), &event(3)), "a session that ends falls behind no more");
        assert!(session.take().bytes.is_empty(), "nothing follows the end");
    }

    #[test]
    fn of_receipts_without_room_the_latest_of_each_is_written_at_last() {
        let session = session(400);
        let user = UserId::parse("bob").expect("a name");
        let key = |of| ReceiptKey { conversation: conversation(), user: user.clone(), of };
        assert!(session.offer_if_it_fits(&text(&[b'x'; 300]), &event(1)));
        for round in ["early", "later"] {
            for of in [ReceiptOf::Watermark { read: true }, ReceiptOf::Reaction(message(1))] {
                session.offer_receipt(&key(of), &text(round.as_bytes()));
            }
        }
        for number in 0..2_000 {
            session.offer_receipt(&key(ReceiptOf::Reaction(message(number))), &text(b"other"));
        }
        assert!(!session.is_ending());
        let taken = session.take();
        let written = String::from_utf8_lossy(&taken.bytes).into_owned();
        assert!(taken.frames <= 1 + 1_000, "they are bounded too");
        assert_eq!((written.matches("early").count(), written.matches("later").count()), (0, 1), "the other is newer");
        assert!(session.take().bytes.is_empty());
    }

    #[tokio::test]
    async fn an_answer_takes_room_until_it_is_written() {
        let session = session(8_000);
        let first = session.owe(100_000).await.expect("room");
        session.answer(text(b"first"), first);
        assert!(session.owe(1).now_or_never().is_none(), "the first one is not written yet");
        assert_eq!(session.take().frames, 1);
        assert!(session.owe(1).now_or_never().is_some());
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
