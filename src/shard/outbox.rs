//! The outbox of an owned shard: its rows, how far they are delivered to the shards of their users, and who waits for that.
//!
//! Delivery is told target by target. What the log keeps is only the prefix: rows that were delivered ahead of one that
//! could not be are delivered again by the next owner, where the older seq changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::cluster::map::ShardMap;
use crate::ids::{Offset, ShardId};
use crate::log::Stream;
use crate::log::record::OutboxPosition;
use crate::shard::command::ShardError;
use crate::shard::file::store::OutboxRow;
use crate::shard::handle::Inner;
use crate::shard::write::owner::Input;
use crate::shard::{OpenError, Opening, ShardHandle};

/// Pause before an outbox that could not be read is read again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Kept back from the budget of a question for the way of its answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// How long what is on its way when the shard is closed may take to arrive, and its answer waits for it.
pub const LAST_ROWS_MAX: Duration = Duration::from_millis(500);

/// The place such that a row is the first one behind it.
#[must_use]
pub fn before(position: OutboxPosition) -> OutboxPosition {
    match position.index.checked_sub(1) {
        Some(index) => OutboxPosition { index, ..position },
        None => OutboxPosition { offset: Offset(position.offset.0.saturating_sub(1)), index: u32::MAX },
    }
}

/// How far an outbox is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// Every row up to there is known to whoever delivers.
    pub seen: OutboxPosition,
    /// Of each shard that lacks some of those rows, the place of the first that it lacks.
    pub open: BTreeMap<ShardId, OutboxPosition>,
}

impl Reached {
    /// Everything up to there.
    #[must_use]
    pub fn upto(seen: OutboxPosition) -> Self {
        Self { seen, open: BTreeMap::new() }
    }

    /// Whether a shard has every row for its users up to there.
    #[must_use]
    pub fn covers(&self, to: ShardId, upto: OutboxPosition) -> bool {
        self.seen >= upto && self.open.get(&to).is_none_or(|first| *first > upto)
    }

    /// Up to where every shard has every row.
    #[must_use]
    pub fn prefix(&self) -> OutboxPosition {
        self.open.values().min().map_or(self.seen, |first| before(*first).min(self.seen))
    }
}

/// Those who wait for an outbox, and what it leads to.
#[derive(Debug)]
pub(super) struct Waits {
    /// How far it is delivered.
    done: watch::Sender<Reached>,
    /// Someone waits for what is not delivered.
    hurry: watch::Sender<()>,
    /// Where users' indexes are.
    pub(super) map: ShardMap,
}

impl Waits {
    pub(super) fn of(opening: &Opening) -> Result<Self, OpenError> {
        let shards = opening.identity.shards;
        let no_map = || OpenError::Refused(format!("shard {}: {shards} shards are no power of two", opening.shard));
        let map = ShardMap::new(shards).ok_or_else(no_map)?;
        Ok(Self { done: watch::Sender::default(), hurry: watch::Sender::default(), map })
    }
}

/// Rows of an outbox, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxPage {
    /// All there are up to `upto`, behind the place asked for.
    pub rows: Vec<OutboxRow>,
    /// The next page begins behind this.
    pub upto: OutboxPosition,
}

impl Inner {
    /// Waits until these shards have every row for their users up to there; false when the deadline passed first, or the
    /// shard has been closed for a moment.
    pub(super) async fn outbox_covers(&self, to: &[ShardId], upto: OutboxPosition, deadline: Instant) -> bool {
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
    async fn outbox_page(&self, after: OutboxPosition, all: OutboxPosition, limit: u32) -> Option<OutboxPage> {
        match self.store.outbox(after, limit).await {
            Ok(rows) => {
                let last = rows.last().map_or(after, |row| row.position);
                let whole = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
                Some(OutboxPage { rows, upto: if whole { last.max(all) } else { last } })
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
    /// A page of the outbox behind `after`, in order; waits until a record that has rows is committed behind it. Rows are
    /// there until the log says that they are delivered. `None` when the shard is closed.
    pub async fn outbox_page(&self, after: OutboxPosition, limit: u32) -> Option<OutboxPage> {
        let inner = &self.0;
        let mut due = inner.outbox_due.subscribe();
        let mut closed = inner.closed.clone();
        let reading = async {
            loop {
                let wanted = *due.borrow_and_update();
                // Rows of the last record may be left: its offset alone does not tell.
                let all = OutboxPosition { offset: wanted, index: u32::MAX };
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

    /// Tells how far the outbox is delivered; wakes those who wait for it. `progress`: every row up to there is delivered,
    /// to be logged (not at once), after which those rows are dropped.
    pub fn outbox_delivered(&self, delivered: Reached, progress: Option<OutboxPosition>) {
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

    /// Changes whenever someone waits for what may not be delivered yet: what waits before another try is tried now.
    #[must_use]
    pub fn outbox_hurried(&self) -> watch::Receiver<()> {
        self.0.outbox.hurry.subscribe()
    }

    /// Whether `to` has every change of its users' indexes that this shard acknowledged before the call: proven, because
    /// nobody else owned the shard until the answer was made. Waits for what is on its way, almost until the deadline.
    ///
    /// # Errors
    /// [`ShardError::NotOwner`] when the shard is closed.
    pub async fn outbox_clear(&self, to: ShardId, deadline: Instant) -> Result<bool, ShardError> {
        let inner = &self.0;
        let all = OutboxPosition { offset: *inner.outbox_due.borrow(), index: u32::MAX };
        if !inner.outbox.done.borrow().covers(to, all) {
            // Whoever asks is reached again, be it only since now.
            inner.outbox.hurry.send_replace(());
        }
        let until = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        let clear = inner.outbox_covers(&[to], all, until).await;
        // Both looked at last: what was found holds of the only owner there was until now.
        if *inner.closed.borrow() {
            return Err(ShardError::NotOwner);
        }
        Ok(clear && self.is_proven())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, index: u32) -> OutboxPosition {
        OutboxPosition { offset: Offset(offset), index }
    }

    #[test]
    fn a_shard_that_lacks_rows_holds_up_the_prefix_and_no_other_shard() {
        let open = BTreeMap::from([(ShardId(1), at(5, 2)), (ShardId(2), at(7, 0))]);
        let delivered = Reached { seen: at(9, u32::MAX), open };
        assert_eq!(delivered.prefix(), at(5, 1));
        assert!(delivered.covers(ShardId(1), at(5, 1)) && !delivered.covers(ShardId(1), at(5, 2)));
        assert!(delivered.covers(ShardId(2), at(6, u32::MAX)) && !delivered.covers(ShardId(2), at(7, 0)));
        assert!(delivered.covers(ShardId(3), at(9, u32::MAX)));
        assert!(!delivered.covers(ShardId(3), at(10, 0)), "nobody has looked there");
    }

    #[test]
    fn before_the_first_row_of_a_record_is_everything_of_the_records_before_it() {
        assert_eq!(before(at(5, 0)), at(4, u32::MAX));
        assert_eq!(before(at(5, 3)), at(5, 2));
        assert_eq!(Reached::upto(at(4, 1)).prefix(), at(4, 1));
    }
}
