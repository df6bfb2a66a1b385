//! The outbox of an owned shard: its rows, how far they are delivered to the shards of their users,
//! and who waits for that.
//!
//! Delivery is told target by target. What the log keeps is only the prefix: rows that were
//! delivered ahead of one that could not be are delivered again by the next owner, where the older
//! seq changes nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::ids::ShardId;
use crate::log::Stream;
use crate::log::record::OutboxPosition;
use crate::shard::command::ShardError;
use crate::shard::delivery::Reached;
use crate::shard::file::store::OutboxRow;
use crate::shard::handle::ShardHandle;
use crate::shard::state::Inner;
use crate::shard::write::owner::Input;

/// Pause before an outbox that could not be read is read again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Kept back from the budget of a question for the way of its answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// How long what is on its way when the shard is closed may take to arrive, and its answer waits
/// for it.
pub(crate) const LAST_ROWS_MAX: Duration = Duration::from_millis(500);

/// Rows of an outbox, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OutboxPage {
    /// All there are up to `upto`, behind the place asked for.
    pub rows: Vec<OutboxRow>,
    /// The next page begins behind this.
    pub upto: OutboxPosition,
}

impl Inner {
    /// Waits until these shards have every row for their users up to there; false when the deadline
    /// passed first, or the shard has been closed for a moment.
    pub(super) async fn outbox_covers(
        &self,
        to: &[ShardId],
        upto: OutboxPosition,
        deadline: Instant,
    ) -> bool {
        let mut done = self.outbox.done.subscribe();
        let covers = |reached: &Reached| to.iter().all(|to| reached.covers(*to, upto));
        if covers(&done.borrow_and_update()) {
            return true;
        }

        self.hurry(Stream::Messages);
        let mut closed = self.closed.clone();
        let ended = async {
            drop(closed.wait_for(|closed| *closed).await);
            tokio::time::sleep(LAST_ROWS_MAX).await;
        };

        tokio::select! {
            biased;
            reached = tokio::time::timeout_at(deadline.into(), done.wait_for(covers)) => matches!(reached, Ok(Ok(_))),
            () = ended => false,
        }
    }

    /// A page behind `after`, of which everything up to `all` is in the file.
    async fn outbox_page(
        &self,
        after: OutboxPosition,
        all: OutboxPosition,
        limit: u32,
    ) -> Option<OutboxPage> {
        match self.store.outbox(after, limit).await {
            Ok(rows) => {
                let last = rows.last().map_or(after, |row| row.position);
                let whole = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
                Some(OutboxPage {
                    rows,
                    upto: if whole { last.max(all) } else { last },
                })
            }
            Err(error) => {
                tracing::warn!(shard = %self.shard, %error, "outbox cannot be read; trying again");
                tokio::time::sleep(READ_RETRY).await;
                None
            }
        }
    }
}

impl ShardHandle {
    /// A page of the outbox behind `after`, in order; waits until a record that has rows is
    /// committed behind it. Rows are there until the log says that they are delivered. `None` when
    /// the shard is closed.
    pub(crate) async fn outbox_page(
        &self,
        after: OutboxPosition,
        limit: u32,
    ) -> Option<OutboxPage> {
        let inner = &self.0;
        let mut due = inner.outbox_due.subscribe();
        let mut closed = inner.closed.clone();
        let reading = async {
            loop {
                let wanted = *due.borrow_and_update();
                // Rows of the last record may be left: its offset alone does not tell.
                let all = OutboxPosition {
                    offset: wanted,
                    index: u32::MAX,
                };
                if all > after {
                    let mut applied = inner.applied(Stream::Messages);
                    inner.hurry(Stream::Messages);
                    drop(applied.wait_for(|tail| tail.offset >= wanted).await.ok()?);
                    if let Some(page) = inner.outbox_page(after, all, limit).await {
                        return Some(page);
                    }
                } else {
                    due.changed().await.ok()?;
                }
            }
        };

        tokio::select! {
            page = reading => page,
            _ = closed.wait_for(|closed| *closed) => None,
        }
    }

    /// Tells how far the outbox is delivered; wakes those who wait for it. `progress`: every row up
    /// to there is delivered, to be logged (not at once), after which those rows are dropped.
    pub(crate) fn outbox_delivered(&self, delivered: Reached, progress: Option<OutboxPosition>) {
        self.0.outbox.done.send_replace(delivered);
        if let Some(upto) = progress {
            self.tell(Input::OutboxDelivered(upto));
        }
    }

    /// As it was told last.
    #[cfg(test)]
    pub(super) fn outbox_reached(&self) -> Reached {
        self.0.outbox.done.borrow().clone()
    }

    /// Changes whenever someone waits for what may not be delivered yet: what waits before another
    /// try is tried now.
    #[must_use]
    pub(crate) fn outbox_hurried(&self) -> watch::Receiver<()> {
        self.0.outbox.hurry.subscribe()
    }

    /// Whether `to` has every change of its users' indexes that this shard acknowledged before the
    /// call: proven, because nobody else owned the shard until the answer was made. Waits for what
    /// is on its way, almost until the deadline.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`] when the shard is closed.
    pub(crate) async fn outbox_clear(
        &self,
        to: ShardId,
        deadline: Instant,
    ) -> Result<bool, ShardError> {
        let inner = &self.0;
        let all = OutboxPosition {
            offset: *inner.outbox_due.borrow(),
            index: u32::MAX,
        };
        if !inner.outbox.done.borrow().covers(to, all) {
            // Whoever asks is reached again, be it only since now.
            inner.outbox.hurry.send_replace(());
        }

        let until = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        let clear = inner.outbox_covers(&[to], all, until).await;
        inner.settled().await;

        // Both looked at last: what was found holds of the only owner there was until now.
        if *inner.closed.borrow() {
            return Err(ShardError::NotOwner);
        }

        Ok(clear && self.is_proven())
    }
}
