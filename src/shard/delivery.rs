//! How far the outbox of an owned shard is delivered to the shards of their users, told target by
//! target, and who waits for that.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::cluster::map::ShardMap;
use crate::ids::{Offset, ShardId};
use crate::log::record::OutboxPosition;
use crate::shard::error::OpenError;
use crate::shard::options::Opening;

/// The place such that a row is the first one behind it.
#[must_use]
pub(crate) fn before(position: OutboxPosition) -> OutboxPosition {
    match position.index.checked_sub(1) {
        Some(index) => OutboxPosition { index, ..position },
        None => OutboxPosition {
            offset: Offset(position.offset.0.saturating_sub(1)),
            index: u32::MAX,
        },
    }
}

/// How far an outbox is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Every row up to there is known to whoever delivers.
    pub seen: OutboxPosition,
    /// Of each shard that lacks some of those rows, the place of the first that it lacks.
    pub open: BTreeMap<ShardId, OutboxPosition>,
}

impl Reached {
    /// Everything up to there.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn upto(seen: OutboxPosition) -> Self {
        Self {
            seen,
            open: BTreeMap::new(),
        }
    }

    /// Whether a shard has every row for its users up to there.
    #[must_use]
    pub(crate) fn covers(&self, to: ShardId, upto: OutboxPosition) -> bool {
        self.seen >= upto && self.open.get(&to).is_none_or(|first| *first > upto)
    }

    /// Up to where every shard has every row.
    #[must_use]
    pub(crate) fn prefix(&self) -> OutboxPosition {
        self.open
            .values()
            .min()
            .map_or(self.seen, |first| before(*first).min(self.seen))
    }
}

/// Those who wait for an outbox, and what it leads to.
#[derive(Debug)]
pub(super) struct Waits {
    /// How far it is delivered.
    pub(super) done: watch::Sender<Reached>,
    /// Someone waits for what is not delivered.
    pub(super) hurry: watch::Sender<()>,
    /// Where users' indexes are.
    pub(super) map: ShardMap,
}

impl Waits {
    pub(super) fn of(opening: &Opening) -> Result<Self, OpenError> {
        let shards = opening.identity.shards;
        let no_map = || {
            OpenError::Refused(format!(
                "shard {}: {shards} shards are no power of two",
                opening.shard
            ))
        };
        let map = ShardMap::new(shards).ok_or_else(no_map)?;
        Ok(Self {
            done: watch::Sender::default(),
            hurry: watch::Sender::default(),
            map,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, index: u32) -> OutboxPosition {
        OutboxPosition {
            offset: Offset(offset),
            index,
        }
    }

    #[test]
    fn a_shard_that_lacks_rows_holds_up_the_prefix_and_no_other_shard() {
        let open = BTreeMap::from([(ShardId(1), at(5, 2)), (ShardId(2), at(7, 0))]);
        let delivered = Reached {
            seen: at(9, u32::MAX),
            open,
        };

        assert_eq!(delivered.prefix(), at(5, 1));
        assert!(delivered.covers(ShardId(1), at(5, 1)) && !delivered.covers(ShardId(1), at(5, 2)));
        assert!(
            delivered.covers(ShardId(2), at(6, u32::MAX))
                && !delivered.covers(ShardId(2), at(7, 0))
        );
        assert!(delivered.covers(ShardId(3), at(9, u32::MAX)));
        assert!(
            !delivered.covers(ShardId(3), at(10, 0)),
            "nobody has looked there"
        );
    }

    #[test]
    fn before_the_first_row_of_a_record_is_everything_of_the_records_before_it() {
        assert_eq!(before(at(5, 0)), at(4, u32::MAX));
        assert_eq!(before(at(5, 3)), at(5, 2));
        assert_eq!(Reached::upto(at(4, 1)).prefix(), at(4, 1));
    }
}
