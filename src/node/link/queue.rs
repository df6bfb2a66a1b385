//! What waits for a link's connection: the requests in the order in which they were made, and who
//! waits for their answers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::link::{Config, Failure};
use crate::node::link::frame::Answer;

pub(super) struct State {
    /// Names the connection that is open, or else the one opened next.
    pub(super) connection: u64,
    pub(super) queue: VecDeque<Queued>,
    pub(super) queued_bytes: usize,
    pub(super) waiting: HashMap<u64, Waiting>,
    pub(super) stopped: bool,
    pub(super) connected: bool,
}

pub(super) struct Queued {
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) frame: Vec<u8>,
    /// Version of the contract that the peer must speak.
    pub(super) since: u16,
    /// Goes by this connection or not at all.
    pub(super) bound: bool,
}

/// By which connection a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Any connection.
    Any,
    /// The one that is open or opened next, if it is this one where one is named.
    This(Option<u64>),
}

/// A request in the queue.
pub(super) struct Enqueued {
    pub(super) id: u64,
    pub(super) connection: u64,
    pub(super) answer: oneshot::Receiver<Result<Answer, Failure>>,
}

/// A name for a connection that no other of this process has, of whatever link.
pub(super) fn next_connection() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) struct Waiting {
    pub(super) answer: oneshot::Sender<Result<Answer, Failure>>,
    pub(super) sent: bool,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            connection: next_connection(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            waiting: HashMap::new(),
            stopped: false,
            connected: false,
        }
    }

    /// Takes back what was to go by the connection that has ended and by no other.
    pub(super) fn unbind(&mut self) -> Vec<Waiting> {
        let mut unbound = Vec::new();
        self.queue.retain(|queued| {
            if queued.bound {
                self.queued_bytes -= queued.frame.len();
                unbound.extend(self.waiting.remove(&queued.id));
            }
            !queued.bound
        });
        unbound
    }

    pub(super) fn is_full(&self, more: usize, config: &Config) -> bool {
        self.waiting.len().max(self.queue.len()) >= config.in_flight_max
            || self.queued_bytes.saturating_add(more) > config.queued_bytes_max
    }

    /// Drops what waited past its deadline: those who asked have given up.
    pub(super) fn purge(&mut self, now: Instant) {
        self.queue.retain(|queued| {
            let keep = queued.deadline > now;
            if !keep {
                self.queued_bytes -= queued.frame.len();
            }
            keep
        });
    }
}
