//! What clients say: each message, which one it is, and those of a session that wait.
//!
//! **Invariant.** What waits is bounded by what the router may send before it is told of room; a
//! router that sends more is broken, and costs the session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::ids::IdempotencyKey;
use crate::link::front;
use crate::link::front::attach::{Repeat, Tells};
use crate::protocol::FRAME_BYTES_MAX;

/// Bytes worked off that are told at once; fewer are told with the next.
const TOLD_AT_ONCE: usize = 32 * 1024;

/// A message of a client.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// What it says.
    pub(super) text: Bytes,
    /// Which it is.
    pub(super) number: u64,
    /// The router's key for it.
    pub(super) key: Option<String>,
    /// Whether it was said before.
    pub(super) repeat: Repeat,
    /// Keys of later messages for the same conversation, if it was.
    pub(super) later: Vec<IdempotencyKey>,
}

impl Message {
    /// Its key: the client's, else the router's, so that it stays the same when it is said again.
    /// None when the client's is none, or nobody has one for it.
    pub(super) fn key_with(&self, client_id: Option<&str>) -> Option<IdempotencyKey> {
        if let Some(key) = client_id {
            return IdempotencyKey::from_client(key);
        }
        let key = self.key.as_deref()?;
        Some(IdempotencyKey {
            key: Arc::from(key),
            stamped: true,
        })
    }

    /// What its answer says of it.
    pub(super) fn number(&self) -> Number {
        Number {
            number: self.number,
            of: Of::Itself,
            repeat: self.repeat,
        }
    }
}

/// What a message is a part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Of {
    /// Nothing else.
    #[default]
    Itself,
    /// A resume whose cursors are not set yet.
    Resume,
    /// A resume that is given up with it.
    GivenUp,
    /// What the session watches, until it watches something else.
    Watch,
}

/// Which message is answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Number {
    /// Its number; 0 when the router gives none.
    pub(super) number: u64,
    /// What it is a part of.
    pub(super) of: Of,
    /// Whether it was said before.
    pub(super) repeat: Repeat,
}

impl Number {
    /// What its answer tells.
    pub(super) fn tells(self) -> Tells {
        match self {
            Self { number: 0, .. } => Tells::Nothing,
            Self {
                number,
                of: Of::Itself,
                ..
            } => Tells::Answer(number),
            Self {
                number,
                of: Of::Resume,
                ..
            } => Tells::Part(number),
            Self {
                number,
                of: Of::GivenUp,
                ..
            } => Tells::GivenUp(number),
            Self {
                number,
                of: Of::Watch,
                ..
            } => Tells::Watch(number),
        }
    }
}

/// The messages of a session that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    /// What they count for.
    bytes: usize,
    /// A task works on them.
    is_worked_on: bool,
    /// What is worked off and not told.
    untold: usize,
}

impl Backlog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind those that wait, if any do.
    pub(super) fn queue(&self, message: Message, bytes_max: usize) -> Queued {
        let mut state = self.state();
        if !state.is_worked_on {
            return Queued::Now(message);
        }

        // What is said again after a node was lost comes at once, and takes as much again.
        let more = if message.repeat == Repeat::First {
            0
        } else {
            bytes_max
        };

        if state.bytes
            >= bytes_max
                .saturating_add(FRAME_BYTES_MAX)
                .saturating_add(more)
        {
            return Queued::TooMuch;
        }

        state.bytes += cost(&message);
        state.waiting.push_back(message);
        Queued::Later
    }

    /// A message has to wait, and a task is to work on it.
    pub(super) fn begin(&self, message: Message) {
        let mut state = self.state();
        state.bytes += cost(&message);
        state.waiting.push_back(message);
        state.is_worked_on = true;
    }

    /// The message that is worked on next. None when there is none, and the task ends.
    pub(super) fn next(&self) -> Option<Message> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        match &next {
            Some(message) => state.bytes = state.bytes.saturating_sub(cost(message)),
            None => {
                *state = State {
                    untold: state.untold,
                    ..State::default()
                }
            }
        }
        next
    }

    /// So much is worked off; what is to be told now.
    pub(super) fn done(&self, bytes: usize, bytes_max: usize) -> usize {
        let mut state = self.state();
        state.untold += bytes;
        // What is never told must not be what the router waits for.
        let is_due = state.untold >= TOLD_AT_ONCE.min(bytes_max / 8);
        if is_due {
            std::mem::take(&mut state.untold)
        } else {
            0
        }
    }
}

/// What becomes of a message.
pub(super) enum Queued {
    /// It is worked on at once.
    Now(Message),
    /// It waits behind others.
    Later,
    /// The router sends more than it may.
    TooMuch,
}

/// What a message counts for.
pub(super) fn cost(message: &Message) -> usize {
    usize::try_from(front::cost(message.text.len())).unwrap_or(usize::MAX)
}
