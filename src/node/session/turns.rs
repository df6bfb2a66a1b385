//! When sessions are told how users are: in turns of a bounded size, each of which gives way to
//! everything else. A turn begins when no push waits (the one who takes pushes takes the turns
//! too), nobody else waits for the board, and the links have next to nothing to carry. So a message
//! has at most one turn before it on the board, and on a link what is less than
//! [`SPARE_BYTES`](crate::link::front::server::SPARE_BYTES) and one turn.
//!
//! **Invariants.** One link that does not get on costs its own sessions alone: the others wait for
//! it at most [`LINK_WITHIN`]. While nothing is to be told no clock runs here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::SessionId;
use crate::node::session::board::Board;
use crate::node::session::hub::Inner;

/// How often sessions are looked through that are owed something.
const OWED_EVERY: Duration = Duration::from_secs(1);

/// How long a turn waits for a link that has something to carry; its sessions are then owed what
/// they miss.
const LINK_WITHIN: Duration = Duration::from_millis(20);

/// How often links are looked at meanwhile.
const LINK_EVERY: Duration = Duration::from_millis(1);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Turns {
    /// Sessions that are owed something, and have not had their turn in this round.
    debtors: VecDeque<SessionId>,
    /// When the next round begins.
    round: Instant,
    /// Connections that have something to carry, and since when.
    laden: HashMap<u64, Instant>,
}

impl Turns {
    /// No turn was taken.
    pub(super) fn new() -> Self {
        Self {
            debtors: VecDeque::new(),
            round: Instant::now(),
            laden: HashMap::new(),
        }
    }

    /// Waits until a turn may be taken. Cancel-safe.
    pub(super) async fn next(&mut self, inner: &Inner) {
        loop {
            if !inner.presence.is_due.load(Ordering::SeqCst) {
                inner.presence.changed.notified().await;
            } else if inner.presence.is_wanted() {
                tokio::task::yield_now().await;
            } else if self.must_wait_for_links(inner) {
                tokio::time::sleep(LINK_EVERY).await;
            } else if self.has_work(inner) {
                return;
            } else {
                // Nothing but what sessions are owed, which had its round.
                tokio::select! {
                    () = tokio::time::sleep_until(self.round) => {}
                    () = inner.presence.changed.notified() => {}
                }
            }
        }
    }

    /// Takes a turn, after [`Turns::next`].
    pub(super) async fn take(&mut self, inner: &Arc<Inner>) {
        if inner.board().watching.has_changed() {
            inner.on_board(Board::give_presence);
        } else if let Some(session) = self.debtors.pop_front()
            && inner.on_board(|board| board.give_owed(session))
        {
            self.debtors.push_back(session);
        }
        // Whoever shares this thread goes first too.
        tokio::task::yield_now().await;
    }

    /// Whether there is something to do now; false until the next round, or for good.
    fn has_work(&mut self, inner: &Inner) -> bool {
        let board = inner.board();
        if board.watching.has_changed() || !self.debtors.is_empty() {
            return true;
        }
        if !board.watching.owes() {
            // Under the lock: whoever owes something from now on says so afterwards.
            inner.presence.is_due.store(false, Ordering::SeqCst);
            return false;
        }

        let now = Instant::now();
        if now < self.round {
            return false;
        }

        self.round = now + OWED_EVERY;
        self.debtors.extend(board.watching.debtors());
        true
    }

    fn must_wait_for_links(&mut self, inner: &Inner) -> bool {
        let (now, routers) = (Instant::now(), inner.routers());
        self.laden
            .retain(|connection, _| routers.contains_key(connection));
        let mut must_wait = false;
        for (connection, router) in routers.iter() {
            if router.takes_spare() {
                self.laden.remove(connection);
            } else {
                let since = self.laden.entry(*connection).or_insert(now);
                must_wait |= now.saturating_duration_since(*since) < LINK_WITHIN;
            }
        }
        must_wait
    }
}
