//! The calls of one connection that have no answer yet, and the parts of those whose answer has
//! begun.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::ids::NodeId;
use crate::link::Failure;
use crate::link::front::queue::{Bound, Queue, Refused};
use crate::link::front::{Call, CallNumber, Part, Reply, Up};

/// What a node answered.
#[derive(Debug)]
pub enum Answer {
    /// This is for the client.
    Told(Told),
    /// The node does not own the shard, and did nothing.
    Elsewhere {
        /// Who owns it, as far as it knows.
        owner: Option<NodeId>,
        /// By which table.
        version: u64,
    },
}

impl Answer {
    /// The version of the table that it is by, where it is by one.
    pub(super) fn version(&self) -> u64 {
        match self {
            Self::Told(_) => 0,
            Self::Elsewhere { version, .. } => *version,
        }
    }
}

/// A whole answer for a client.
#[derive(Debug)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// The headers that mean something.
    pub headers: Vec<(String, String)>,
    /// The body, in order.
    pub body: Vec<Bytes>,
}

/// The calls of one connection.
pub(super) struct Calls {
    out: Arc<Queue<Up>>,
    state: Mutex<State>,
    most: usize,
    bytes_max: usize,
}

struct State {
    next: CallNumber,
    waiting: HashMap<CallNumber, Waiting>,
    /// Bytes of answers that are not whole.
    bytes: usize,
    ended: bool,
}

struct Waiting {
    answer: oneshot::Sender<Result<Answer, Failure>>,
    /// Its place in the queue.
    place: u64,
    begun: Option<Told>,
    bytes: usize,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("waiting", &self.state().waiting.len())
            .finish_non_exhaustive()
    }
}

impl Calls {
    /// At most `most` calls, and `bytes_max` of answers that are not whole: one that takes more is
    /// given up.
    pub(super) fn new(out: Arc<Queue<Up>>, most: usize, bytes_max: usize) -> Self {
        let state = State {
            next: 1,
            waiting: HashMap::new(),
            bytes: 0,
            ended: false,
        };
        Self {
            out,
            state: Mutex::new(state),
            most,
            bytes_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call behind all that was sent, and gives what waits for its answer.
    pub(super) fn begin(
        self: &Arc<Self>,
        mut call: Call,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<Answer, Failure>> + Send + use<>, Failure> {
        let mut state = self.state();
        if state.ended {
            return Err(Failure::NotSent("the connection has ended"));
        }
        if state.waiting.len() >= self.most {
            return Err(Failure::Full);
        }

        let id = state.next;
        state.next += 1;
        call.id = id;
        let frame = Up::Call(call);
        let weight = frame.weight();
        let place = self
            .out
            .put(frame, weight, Bound::All)
            .map_err(|refused| match refused {
                Refused::Full => Failure::Full,
                Refused::Closed => Failure::NotSent("the connection has ended"),
            })?;
        let (sender, answer) = oneshot::channel();

        state.waiting.insert(
            id,
            Waiting {
                answer: sender,
                place,
                begun: None,
                bytes: 0,
            },
        );
        drop(state);
        let open = Open {
            calls: Arc::clone(self),
            id,
        };

        Ok(async move {
            match timeout_at(deadline.into(), answer).await {
                Ok(answered) => answered.unwrap_or(Err(Failure::Lost)),
                Err(_elapsed) => Err(open.give_up()),
            }
        })
    }

    /// Takes a part of an answer. Of a call that nobody waits for it is dropped.
    pub(super) fn replied(&self, reply: Reply) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(waiting) = state.waiting.get_mut(&reply.id) else {
            return;
        };

        let (bytes, more) = match reply.part {
            Part::Elsewhere { owner } => {
                let answer = Answer::Elsewhere {
                    owner,
                    version: reply.table_version,
                };
                return state.settle(reply.id, Ok(answer));
            }
            Part::Head {
                status,
                headers,
                body,
                more,
            } => {
                let bytes = body.len();
                let body = if body.is_empty() {
                    Vec::new()
                } else {
                    vec![body]
                };
                waiting.begun = Some(Told {
                    status,
                    headers,
                    body,
                });
                (bytes, more)
            }
            Part::Body { body, more } => {
                let bytes = body.len();
                match &mut waiting.begun {
                    Some(begun) => begun.body.push(body),
                    // Without a head it is nothing.
                    None => return state.settle(reply.id, Err(Failure::Lost)),
                }
                (bytes, more)
            }
        };
        if !more {
            let Some(told) = waiting.begun.take() else {
                return;
            };
            return state.settle(reply.id, Ok(Answer::Told(told)));
        }

        waiting.bytes += bytes;
        state.bytes += bytes;
        if state.bytes > self.bytes_max {
            tracing::warn!("answers that are not whole take too many bytes, one is given up");
            state.settle(reply.id, Err(Failure::Lost));
        }
    }

    /// The connection has ended: what was sent is lost, and what was not was not.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let all = std::mem::take(&mut state.waiting);
        state.bytes = 0;
        drop(state);
        for waiting in all.into_values() {
            let failure = self.failure(waiting.place, "the connection has ended");
            // Fails when the asker has given up.
            waiting.answer.send(Err(failure)).ok();
        }
    }

    /// What became of a call without an answer. One that was not sent is taken back, so that it
    /// never will be.
    fn failure(&self, place: u64, why: &'static str) -> Failure {
        if self.out.withdraw(place) {
            Failure::NotSent(why)
        } else {
            Failure::Lost
        }
    }
}

impl State {
    fn settle(&mut self, id: CallNumber, with: Result<Answer, Failure>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.bytes = self.bytes.saturating_sub(waiting.bytes);
            // Fails when the asker has given up.
            waiting.answer.send(with).ok();
        }
    }
}

/// A call that somebody waits for.
struct Open {
    calls: Arc<Calls>,
    id: CallNumber,
}

impl Open {
    /// Forgets it, if it was not answered.
    fn give_up(&self) -> Failure {
        let waiting = {
            let mut state = self.calls.state();
            let waiting = state.waiting.remove(&self.id);
            state.bytes = state
                .bytes
                .saturating_sub(waiting.as_ref().map_or(0, |waiting| waiting.bytes));
            waiting
        };
        let late = "the node could not be reached in time";
        waiting.map_or(Failure::Lost, |waiting| {
            self.calls.failure(waiting.place, late)
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.give_up();
    }
}
