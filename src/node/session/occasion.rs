//! What calls for a turn in which sessions are told how users are, and what it gives way to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::node::session::board::Board;

/// What calls for a turn, and what it gives way to.
#[derive(Debug, Default)]
pub(super) struct Occasion {
    /// Sessions are to be told something, or are owed it. Changed under the lock of the board
    /// alone.
    pub(super) is_due: AtomicBool,
    pub(super) changed: Notify,
    /// Inputs that wait for the board.
    waiting: AtomicUsize,
}

impl Occasion {
    /// To be called with the board after each input.
    pub(super) fn look(&self, board: &Board) {
        let has_changed = board.watching.has_changed();
        if has_changed || board.watching.owes() && !self.is_due.load(Ordering::SeqCst) {
            self.is_due.store(true, Ordering::SeqCst);
            self.changed.notify_one();
        }
    }

    /// An input waits for the board until what is returned is dropped.
    pub(super) fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waits(self)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// See [`Occasion::wait`].
pub(super) struct Waits<'a>(&'a Occasion);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
