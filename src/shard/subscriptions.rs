//! Who is told of what: the bounded sinks of subscribed nodes, and per conversation and user index the set of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids::ShardId;
use crate::shard::command::Push;

/// Identifies a subscriber within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(u64);

/// The bounded sink of one subscribed node: this node's own hub, or a link to another node.
///
/// When the queue is full the push is dropped, and all that follow, until there is room again for a
/// [`Push::Resubscribe`], by which the node knows to ask for what it missed.
#[derive(Debug, Clone)]
pub struct Subscriber {
    id: SubscriberId,
    sender: mpsc::Sender<Push>,
    lagged: Arc<AtomicBool>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Queued.
    Queued,
    /// Dropped; the subscriber will be told to subscribe again.
    Dropped,
    /// The subscriber is gone: forget it.
    Gone,
}

impl Subscriber {
    /// A subscriber that is reached through `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Push>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = SubscriberId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, sender, lagged: Arc::new(AtomicBool::new(false)) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// Queues a push of `shard`, or drops it when the queue is full.
    pub fn push(&self, shard: ShardId, push: Push) -> Pushed {
        let _ = shard;
        match self.sender.try_send(push) {
            Ok(()) => Pushed::Queued,
            Err(TrySendError::Full(_)) => {
                self.lagged.store(true, Ordering::SeqCst);
                Pushed::Dropped
            }
            Err(TrySendError::Closed(_)) => Pushed::Gone,
        }
    }
}
