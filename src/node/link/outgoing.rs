//! The requests of a link: they wait until the link is open, are out until they are answered, and
//! are lost with the socket that they were handed to.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::NodeId;
use crate::link::socket::{COALESCE_BYTES, Writer};
use crate::link::{Config, Credentials, Failure};
use crate::node::link::frame::Answer;
use crate::node::link::queue::{State, next_connection};
use crate::shard::command::Push;

/// What a link is made of.
pub(crate) struct Setup {
    /// Who we are.
    pub credentials: Credentials,
    /// The node at the other end.
    pub peer: NodeId,
    /// Tells how it is reached.
    pub table: watch::Receiver<Arc<Table>>,
    /// Takes its pushes; while it is full nothing more is read from the link.
    pub pushes: mpsc::Sender<Push>,
    /// Called each time an open link has ended, after the last of its pushes and before it is
    /// opened again.
    pub broken: Box<dyn Fn(&NodeId) + Send + Sync>,
    /// Told with each request, and tells of each answer.
    pub reach: Arc<Reach>,
    /// Settings.
    pub config: Config,
    /// Ends the link.
    pub stop: CancellationToken,
}

/// What the ends of a link within this process share.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) next: AtomicU64,
    pub(super) state: Mutex<State>,
    pub(super) wake: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.setup.peer)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request is queued. Cancel-safe.
    pub(super) async fn until_queued(&self) {
        while !self.has_queued() {
            self.wake.notified().await;
        }
    }

    fn has_queued(&self) -> bool {
        let mut state = self.state();
        state.purge(Instant::now());
        !state.queue.is_empty()
    }

    /// Moves requests from the queue to the writer, up to one write, and remembers that they are
    /// out.
    pub(super) fn take(&self, writer: &mut Writer, version: u16) {
        let now = Instant::now();
        let mut state = self.state();

        while writer.gathered() < COALESCE_BYTES {
            let Some(queued) = state.queue.pop_front() else {
                break;
            };
            state.queued_bytes -= queued.frame.len();
            if queued.deadline <= now {
                continue;
            }
            if queued.since > version {
                if let Some(waiting) = state.waiting.remove(&queued.id) {
                    waiting
                        .answer
                        .send(Err(Failure::NotSent(
                            "the node is too old for this request",
                        )))
                        .ok();
                }
                continue;
            }
            if let Some(waiting) = state.waiting.get_mut(&queued.id) {
                waiting.sent = true;
            }
            writer.add(queued.frame, 1);
        }
    }

    pub(super) fn answered(&self, answer: Answer) {
        if let Some(waiting) = self.state().waiting.remove(&answer.id) {
            // Fails when the asker has given up.
            waiting.answer.send(Ok(answer)).ok();
        }
    }

    /// The socket is gone: what was handed to it is lost; what was not waits for the next, unless
    /// it was bound to this one.
    pub(super) fn disconnected(&self) {
        let mut state = self.state();
        state.connected = false;
        state.connection = next_connection();
        let lost: Vec<_> = state
            .waiting
            .extract_if(|_, waiting| waiting.sent)
            .collect();
        let unbound = state.unbind();
        drop(state);
        for (_, waiting) in lost {
            waiting.answer.send(Err(Failure::Lost)).ok();
        }

        for waiting in unbound {
            waiting
                .answer
                .send(Err(Failure::NotSent("the connection has ended")))
                .ok();
        }
    }

    pub(super) fn stopped(&self) {
        let mut state = self.state();
        state.stopped = true;
        let all = std::mem::take(&mut state.waiting);
        state.queue.clear();
        state.queued_bytes = 0;
        drop(state);
        for waiting in all.into_values() {
            let failure = if waiting.sent {
                Failure::Lost
            } else {
                Failure::NotSent("this node ends")
            };
            waiting.answer.send(Err(failure)).ok();
        }
    }
}
