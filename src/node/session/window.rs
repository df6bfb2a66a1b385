//! What may be on its way to one session: a number of bytes, and what each frame of it counts for.
//! Each kind of frame has a bound of its own, and none ends the session:
//! - an event that does not fit is not sent: the session falls behind, and is served by spans when
//!   there is room;
//! - an answer takes its room before its question is worked on: while there is none, nothing more
//!   is worked on;
//! - of receipts that do not fit the latest of each is kept, and sent when the rest is taken;
//! - what tells who types or who is there takes no more than the first half;
//! - the others (`hello`, `gap`, `live`, `ready`) are few for each conversation, and most of them
//!   come with spans.
//!
//! **Invariant.** A session keeps its window: what its router was given and the client's socket has
//! not taken is never more than that, beside the last kind.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::{ConversationName, MessageId, SessionId, UserId};
use crate::link::front::attach::Tells;
use crate::link::front::{self, Down, SessionNumber};
use crate::node::session::again::Again;
use crate::node::session::pace::Asides;
use crate::node::session::routers;
use crate::node::session::said::Backlog;
use crate::node::session::underway::UnderWay;
use crate::problem::CloseCode;
use crate::telemetry;

/// What an answer may take beside what its question had: the fields of a message, or of a problem.
const ANSWER_COST: usize = 1_024;
/// Receipts kept while there is no room for them; more are shed.
const RECEIPTS_MAX: usize = 1_000;

/// How much of that answers may take beside events.
fn answer_bytes(bytes_max: usize) -> usize {
    (bytes_max / 2).clamp(1, Semaphore::MAX_PERMITS)
}

/// A connection from a router, with the sessions on it.
pub(super) type Router = routers::Router<Session>;

/// Room for one answer, until it is taken.
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
    /// The user's own view of the conversation.
    View,
}

/// Whether a frame has a place in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has, and is to be sent.
    Taken,
    /// There is no room for it.
    Full,
    /// The session has ended: nothing is sent any more.
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// What is on its way counts for so much.
    pub(super) bytes: usize,
    /// The same, in the order in which it was sent; answers with their room.
    sent: VecDeque<(u32, Option<Owed>)>,
    /// The latest of receipts that found no room.
    receipts: HashMap<ReceiptKey, Bytes>,
    pub(super) has_ended: bool,
}

impl Window {
    /// So much more is on its way.
    pub(super) fn add(&mut self, cost: u32, owed: Option<Owed>) {
        self.bytes += usize::try_from(cost).unwrap_or(usize::MAX);
        match (self.sent.back_mut(), owed) {
            (Some((last, None)), None) => *last = last.saturating_add(cost),
            (_, owed) => self.sent.push_back((cost, owed)),
        }
    }

    /// Takes what was added last out again.
    fn take_back(&mut self, cost: u32) {
        self.bytes = self
            .bytes
            .saturating_sub(usize::try_from(cost).unwrap_or(usize::MAX));
        if let Some((last, _)) = self.sent.back_mut() {
            *last = last.saturating_sub(cost);
        }
    }

    fn taken(&mut self, mut bytes: u32) {
        self.bytes = self
            .bytes
            .saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        while let Some((first, _)) = self.sent.front_mut() {
            if *first > bytes {
                *first -= bytes;
                break;
            }
            bytes -= *first;
            self.sent.pop_front();
        }
        if self.sent.is_empty() {
            // An idle session keeps no room for the burst it once had.
            self.sent = VecDeque::new();
        }
    }

    fn fits(&self, cost: u32, bytes_max: usize) -> bool {
        self.bytes
            .saturating_add(usize::try_from(cost).unwrap_or(usize::MAX))
            <= bytes_max
    }
}

/// One live session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: SessionId,
    /// Whose session it is.
    pub(super) user: UserId,
    /// The id of the upgrade; named in every problem.
    pub(super) request_id: Arc<str>,
    /// Unix seconds at which the token ends, without leeway.
    pub(super) expires: AtomicU64,
    /// Spans wait for room in the window.
    pub(super) hungry: AtomicBool,
    /// The connection that it is on.
    pub(super) router: Arc<Router>,
    /// Its number there.
    pub(super) number: SessionNumber,
    /// The router keeps what another node would need to go on with it.
    pub(super) is_followed: bool,
    /// Its commands.
    pub(super) under_way: Arc<UnderWay>,
    /// What its client said and is not worked off.
    pub(super) said: Backlog,
    /// What its client is to say again.
    pub(super) again: Again,
    /// What it says of its typing, and of whom it watches.
    pub(super) asides: Asides,
    /// Bytes that answers may take.
    answers: Arc<Semaphore>,
    /// Bytes that answers may take which come late.
    late_answers: Arc<Semaphore>,
    window: Mutex<Window>,
    bytes_max: usize,
}

impl Session {
    /// A session on this connection, to which at most `bytes_max` are on their way.
    pub(super) fn new(
        (router, number): (Arc<Router>, SessionNumber),
        user: UserId,
        request_id: Arc<str>,
        expires: u64,
        bytes_max: usize,
    ) -> Self {
        Self {
            id: SessionId::random(),
            user,
            request_id,
            expires: AtomicU64::new(expires),
            hungry: AtomicBool::new(false),
            router,
            number,
            is_followed: false,
            under_way: UnderWay::new(answer_bytes(bytes_max)),
            said: Backlog::default(),
            again: Again::default(),
            asides: Asides::default(),
            answers: Arc::new(Semaphore::new(answer_bytes(bytes_max))),
            late_answers: Arc::new(Semaphore::new(answer_bytes(bytes_max))),
            window: Mutex::default(),
            bytes_max,
        }
    }

    /// The same, of which its router keeps what another node would need; with the id that it had at
    /// another node, if it was there.
    pub(super) fn followed(self, id: Option<SessionId>) -> Self {
        Self {
            id: id.unwrap_or(self.id),
            is_followed: true,
            ..self
        }
    }

    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for an event; the caller sends it.
    pub(super) fn reserve(&self, cost: u32) -> Place {
        let mut window = self.window();
        if window.has_ended {
            return Place::Ended;
        }
        if !window.fits(cost, self.bytes_max) {
            return Place::Full;
        }
        window.add(cost, None);
        Place::Taken
    }

    /// Takes a place for what may be missing: only in the first half of the window. The caller
    /// sends it.
    pub(super) fn reserve_spare(&self, cost: u32) -> Place {
        let mut window = self.window();
        if window.has_ended {
            return Place::Ended;
        }
        if !window.fits(cost, self.bytes_max / 2) {
            return Place::Full;
        }
        window.add(cost, None);
        Place::Taken
    }

    /// Gives back the place of what could not be sent.
    pub(super) fn take_back(&self, cost: u32) {
        self.window().take_back(cost);
    }

    /// Takes a place for a receipt, which the caller then sends; or keeps it in the place of an
    /// earlier one until there is room.
    pub(super) fn reserve_receipt(&self, key: &ReceiptKey, text: &Bytes) -> Place {
        let cost = front::cost(text.len());
        let mut window = self.window();
        if window.has_ended {
            return Place::Ended;
        }
        if window.bytes == 0 || window.fits(cost, self.bytes_max) {
            // What was kept before is older.
            window.receipts.remove(key);
            window.add(cost, None);
            return Place::Taken;
        }
        Self::keep(&mut window, key, text);
        Place::Full
    }

    /// Keeps a receipt that could not be sent, in the place that it had.
    pub(super) fn keep_receipt(&self, key: &ReceiptKey, text: &Bytes) {
        let mut window = self.window();
        window.take_back(front::cost(text.len()));
        Self::keep(&mut window, key, text);
    }

    fn keep(window: &mut Window, key: &ReceiptKey, text: &Bytes) {
        if window.receipts.len() < RECEIPTS_MAX || window.receipts.contains_key(key) {
            window.receipts.insert(key.clone(), text.clone());
        } else {
            telemetry::SESSION_RECEIPTS.add(1, &[("result", "shed")]);
        }
    }

    /// Receipts that were kept are sent, when nothing else is on its way.
    pub(super) fn send_receipts(&self) {
        let kept = {
            let mut window = self.window();
            if window.receipts.is_empty() || window.bytes > 0 {
                return;
            }
            std::mem::take(&mut window.receipts)
        };
        for (key, text) in kept {
            self.window().add(front::cost(text.len()), None);
            if !self.give(text.clone(), None, Tells::Nothing) {
                self.keep_receipt(&key, &text);
            }
        }
    }

    /// Waits for room for the answer to a frame of that many bytes. None when the session has
    /// ended.
    pub(super) async fn owe(&self, asked: usize) -> Option<Owed> {
        // Less than a quarter of the room is taken by what the router has not told of yet: that
        // holds up no answer.
        let most = (answer_bytes(self.bytes_max) / 4 * 3).max(1);
        let cost = (asked + ANSWER_COST).min(most);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        if let Ok(owed) = Arc::clone(&self.answers).try_acquire_many_owned(cost) {
            return Some(owed);
        }
        Arc::clone(&self.answers)
            .acquire_many_owned(cost)
            .await
            .ok()
    }

    /// The room for an answer that is late: of another kind, as long as there is some, so that
    /// those behind it go on.
    pub(super) fn owe_late(&self, owed: Owed) -> Owed {
        let cost = u32::try_from(owed.num_permits()).unwrap_or(u32::MAX);
        Arc::clone(&self.late_answers)
            .try_acquire_many_owned(cost)
            .unwrap_or(owed)
    }

    /// True while spans may be sent: less than half of the window is taken, and the link has room.
    pub(super) fn has_room(&self) -> bool {
        let is_free = {
            let window = self.window();
            !window.has_ended && window.bytes < self.bytes_max / 2
        };
        is_free && self.router.has_room()
    }

    /// The client's socket took so much.
    pub(super) fn taken(&self, bytes: u32) {
        self.window().taken(bytes);
        self.send_receipts();
    }

    /// The client is gone: nothing is sent any more, and answers need no room.
    pub(super) fn gone(&self) {
        let mut window = self.window();
        *window = Window {
            has_ended: true,
            ..Window::default()
        };
    }

    /// Ends the session after what was sent; what its client said and is not worked off is dropped.
    pub(super) fn end(&self, code: CloseCode) {
        {
            let mut window = self.window();
            if window.has_ended {
                return;
            }
            *window = Window {
                has_ended: true,
                ..Window::default()
            };
        }

        self.answers.close();
        self.late_answers.close();
        self.router.offer(Down::Close {
            session: self.number,
            code,
        });
    }

    /// The session is over here, and its router is to have another node go on with it.
    pub(super) fn moves(&self) {
        self.gone();
        self.answers.close();
        self.late_answers.close();
        self.router.offer(Down::Move(self.number));
    }

    /// True when the session has ended.
    #[cfg(test)]
    pub(super) fn has_ended(&self) -> bool {
        self.window().has_ended
    }

    /// Bytes of the client's messages that may wait.
    pub(super) fn said_max(&self) -> usize {
        answer_bytes(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::Value;

    use super::*;
    use crate::node::session::said::Number;
    use crate::node::session::testing::{self, frames};
    use crate::protocol::ServerFrame;

    fn session(bytes_max: usize) -> Arc<Session> {
        testing::session("bob", bytes_max)
    }

    fn message(seq: u64) -> MessageId {
        MessageId::new(1, crate::ids::Slot(1), seq)
    }

    fn text(length: usize) -> Bytes {
        Bytes::from(serde_json::to_vec(&"x".repeat(length)).expect("json"))
    }

    #[test]
    fn an_event_that_does_not_fit_is_not_taken_and_ends_nothing() {
        let session = session(400);
        assert_eq!(session.reserve(front::cost(200)), Place::Taken);
        assert_eq!(session.reserve(front::cost(200)), Place::Full);
        assert!(!session.has_ended());

        session.taken(front::cost(200));
        assert_eq!(
            session.reserve(front::cost(200)),
            Place::Taken,
            "there is room again"
        );

        session.end(CloseCode::ServiceRestart);
        assert_eq!(
            session.reserve(front::cost(2_000)),
            Place::Ended,
            "a session that ends falls behind no more"
        );
    }

    #[test]
    fn what_was_sent_and_what_was_taken_agree_however_it_is_told() {
        let session = session(10_000);
        for length in [10, 20, 30] {
            assert_eq!(session.reserve(front::cost(length)), Place::Taken);
        }
        session.taken(100);
        session.taken(3 * 64 + 60 - 100);
        assert_eq!(session.window().bytes, 0);
        assert!(session.window().sent.is_empty());
    }

    #[test]
    fn of_receipts_without_room_the_latest_of_each_is_sent_at_last() {
        let session = session(400);
        let conversation = ConversationName::parse("c").expect("a name");
        let user = UserId::parse("bob").expect("a name");
        let key = |of| ReceiptKey {
            conversation: conversation.clone(),
            user: user.clone(),
            of,
        };
        let word = |word: &str| Bytes::from(serde_json::to_vec(word).expect("json"));
        assert_eq!(session.reserve(front::cost(300)), Place::Taken);

        for round in ["early", "later"] {
            for of in [
                ReceiptOf::Watermark { read: true },
                ReceiptOf::Reaction(message(1)),
            ] {
                assert_eq!(session.reserve_receipt(&key(of), &word(round)), Place::Full);
            }
        }

        for number in 0..2_000 {
            session.reserve_receipt(&key(ReceiptOf::Reaction(message(number))), &word("other"));
        }

        assert!(!session.has_ended() && frames(&session).is_empty());
        session.taken(front::cost(300));
        let sent = frames(&session);
        assert!(sent.len() <= 1_000, "they are bounded too");

        let count = |text: &str| sent.iter().filter(|frame| *frame == text).count();
        assert_eq!(
            (count("early"), count("later")),
            (0, 1),
            "the other is newer"
        );
        assert!(frames(&session).is_empty());
    }

    #[tokio::test]
    async fn an_answer_takes_room_until_it_is_taken() {
        let session = session(8_000);
        let first = session.owe(100_000).await.expect("room");
        assert!(
            session.owe(1).now_or_never().is_none(),
            "most of the room is promised"
        );

        session.answer_frame(&ServerFrame::Ready {}, first, Number::default());
        assert!(
            session.owe(100_000).now_or_never().is_some(),
            "it took less than was thought"
        );

        let (mut answered, reference) = (1, Value::from("x".repeat(500)));
        while let Some(Some(owed)) = session.owe(500).now_or_never() {
            session.answer_frame(
                &ServerFrame::Pong {
                    reference: Some(&reference),
                    now: 0,
                },
                owed,
                Number::default(),
            );
            answered += 1;
        }

        assert!(
            (2..10).contains(&answered),
            "{answered} answers are not taken yet"
        );
        assert_eq!(frames(&session).len(), answered);
        assert!(session.owe(100_000).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_for_room_goes_on_when_the_client_is_gone_and_ends_with_the_session() {
        let (gone, ended) = (session(8_000), session(8_000));
        for session in [&gone, &ended] {
            let reference = Value::from("x".repeat(500));
            while let Some(Some(owed)) = session.owe(500).now_or_never() {
                session.answer_frame(
                    &ServerFrame::Pong {
                        reference: Some(&reference),
                        now: 0,
                    },
                    owed,
                    Number::default(),
                );
            }
        }

        gone.gone();
        assert!(matches!(gone.owe(500).now_or_never(), Some(Some(_))));

        ended.end(CloseCode::Unauthorized);
        assert!(matches!(ended.owe(500).now_or_never(), Some(None)));
    }

    #[test]
    fn what_may_not_be_missing_and_finds_no_room_on_the_link_costs_the_session() {
        let session = session(8_000);
        testing::router_of(&session).fill();
        assert!(
            !session.offer_event(text(1), None, None),
            "an event is fetched later"
        );
        assert_eq!(session.window().bytes, 0);
        session.offer_frame(&ServerFrame::Ready {});
        assert_eq!(session.router.take_lost(), [session.id]);
    }
}
