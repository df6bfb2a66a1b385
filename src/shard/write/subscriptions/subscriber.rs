//! The bounded sink of a subscribed node.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::shard::command::Push;

/// Identifies a subscriber within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriberId(u64);

/// The bounded sink of one subscribed node: this node's own hub, or a link to another node.
///
/// When the queue is full the push is dropped, and all of that shard that follow, until there is
/// room again for a [`Push::Resubscribe`], by which the node knows to ask for what it missed.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(super) id: SubscriberId,
    pub(super) sender: mpsc::Sender<Push>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Queued.
    Queued,
    /// Dropped: the queue is full.
    Dropped,
    /// No one will ever take it.
    Gone,
}

impl Subscriber {
    /// A subscriber that is reached through `sender`.
    #[must_use]
    pub(crate) fn new(sender: mpsc::Sender<Push>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: SubscriberId(NEXT.fetch_add(1, Ordering::Relaxed)),
            sender,
        }
    }

    /// Its id.
    #[must_use]
    pub(crate) fn id(&self) -> SubscriberId {
        self.id
    }

    /// Queues a push that may be missing, if less than half of the queue is taken.
    pub(super) fn push_spare(&self, push: Push) -> bool {
        self.sender.capacity() > self.sender.max_capacity() / 2
            && self.sender.try_send(push).is_ok()
    }

    /// Queues a push, or drops it when the queue is full.
    pub(crate) fn push(&self, push: Push) -> Pushed {
        match self.sender.try_send(push) {
            Ok(()) => Pushed::Queued,
            Err(TrySendError::Full(_)) => Pushed::Dropped,
            Err(TrySendError::Closed(_)) => Pushed::Gone,
        }
    }
}
