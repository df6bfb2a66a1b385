//! The requesting end of a link: keeps requests in the order in which they were made, and waits for
//! their answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout_at;

use crate::link::Failure;
use crate::link::codec::encode;
use crate::node::link::frame::{Answer, Body, Frame, Request};
use crate::node::link::opened::run;
use crate::node::link::outgoing::Shared;
use crate::node::link::queue::{By, Enqueued, Queued, State, Waiting};

pub(crate) use crate::node::link::outgoing::Setup;

/// How much earlier than at our deadline the owner is to answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// The requesting end of the link to one node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

impl Link {
    /// A link that is opened when it is first needed. Its task ends when `setup.stop` fires.
    #[must_use]
    pub(crate) fn spawn(setup: Setup) -> Self {
        let shared = Arc::new(Shared {
            setup,
            next: AtomicU64::new(1),
            state: Mutex::new(State::new()),
            wake: Notify::new(),
        });
        tokio::spawn(run(Arc::clone(&shared)));
        Self { shared }
    }

    /// Asks the node. The request is queued, behind all earlier ones, before this returns; the
    /// future waits for the answer, at most until `deadline`. Dropping the future does not take the
    /// request back.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn call(
        &self,
        body: &Body,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let queued = self.enqueue(body, deadline, By::Any);
        self.answer(queued, deadline)
    }

    /// Like [`Link::call`], but by the connection that is open or opened next and by no later one:
    /// when that ends, the request is surely not served unless it was handed to it. Tells which
    /// connection that is. `None` when it is not `of`, where one is named. So requests by one
    /// connection are served in their order or, from some one on, not at all.
    pub(crate) fn call_over(
        &self,
        of: Option<u64>,
        body: &Body,
        deadline: Instant,
    ) -> Option<(
        u64,
        impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    )> {
        let queued = self.enqueue(body, deadline, By::This(of));
        let connection = match &queued {
            Ok(queued) => queued.connection,
            Err(Failure::NotSent(_)) if of.is_some() => return None,
            // Refused for good: it keeps its place among those of the connection.
            Err(_) => of.unwrap_or_default(),
        };
        Some((connection, self.answer(queued, deadline)))
    }

    fn answer(
        &self,
        queued: Result<Enqueued, Failure>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let Enqueued { id, answer, .. } = queued?;
            let mut abandon = Abandon {
                shared,
                id,
                done: false,
            };
            match timeout_at(deadline.into(), answer).await {
                Ok(answered) => {
                    abandon.done = true;
                    answered.unwrap_or(Err(Failure::Lost))
                }
                Err(_elapsed) => Err(abandon.give_up()),
            }
        }
    }

    /// Tells the node something whose answer nobody needs, behind all earlier requests. Does
    /// nothing when the link is neither open nor about to be: then the node knows nothing of us
    /// that could end.
    pub(crate) fn tell(&self, body: &Body, deadline: Instant) {
        let state = self.shared.state();
        let needed = state.connected || !state.queue.is_empty();
        drop(state);
        if needed {
            // The answer is dropped unread: its waiting entry goes with the receiver.
            if let Ok(Enqueued { id, .. }) = self.enqueue(body, deadline, By::Any) {
                self.shared.state().waiting.remove(&id);
            }
        }
    }

    /// The failure is the caller's answer.
    fn enqueue(&self, body: &Body, deadline: Instant, by: By) -> Result<Enqueued, Failure> {
        let shared = &self.shared;
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        // So that what the owner says at its deadline is still heard before ours.
        let told = left.saturating_sub(ANSWER_MARGIN.min(left / 4));
        let deadline_ms = u64::try_from(told.as_millis()).unwrap_or(u64::MAX);
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let table_version = shared.setup.table.borrow().version;
        let table_age_ms = shared.setup.reach.told(now).age_ms;
        let frame = encode(&Frame::Request(Request {
            id,
            deadline_ms,
            table_version,
            table_age_ms,
            body,
        }))
        .map_err(|_error| Failure::TooLarge)?;

        let (sender, answer) = oneshot::channel();
        let mut state = shared.state();
        if state.stopped {
            return Err(Failure::NotSent("this node ends"));
        }

        let connection = state.connection;
        if matches!(by, By::This(Some(of)) if of != connection) {
            return Err(Failure::NotSent("the connection has ended"));
        }

        if state.is_full(frame.len(), &shared.setup.config) {
            state.purge(now);
            if state.is_full(frame.len(), &shared.setup.config) {
                return Err(Failure::Full);
            }
        }

        state.queued_bytes += frame.len();
        state.queue.push_back(Queued {
            id,
            deadline,
            frame,
            since: body.since(),
            bound: by != By::Any,
        });

        state.waiting.insert(
            id,
            Waiting {
                answer: sender,
                sent: false,
            },
        );
        drop(state);
        shared.wake.notify_one();
        Ok(Enqueued {
            id,
            connection,
            answer,
        })
    }
}

/// Forgets a request that nobody waits for any more.
struct Abandon {
    shared: Arc<Shared>,
    id: u64,
    done: bool,
}

impl Abandon {
    /// Time is up. A request still in the queue will not be taken from it, since its deadline has
    /// passed.
    fn give_up(&mut self) -> Failure {
        self.done = true;
        match self.shared.state().waiting.remove(&self.id) {
            Some(waiting) if !waiting.sent => {
                Failure::NotSent("the owner could not be reached in time")
            }
            _ => Failure::Lost,
        }
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.done {
            self.shared.state().waiting.remove(&self.id);
        }
    }
}
