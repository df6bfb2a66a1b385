//! Name → slot → shard: fixed arithmetic, the same for ever. Which *node* has a shard is no concern
//! of this file.

use crate::ids::{ShardId, Slot};

/// How many shards the cluster has: a power of two from 1 to 65,536, fixed when the cluster is
/// created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardMap {
    shards: u32,
}

impl ShardMap {
    /// A map over that many shards; `None` unless it is a power of two from 1 to 65,536.
    #[must_use]
    pub fn new(shards: u32) -> Option<Self> {
        (shards.is_power_of_two() && shards <= 65_536).then_some(Self { shards })
    }

    /// How many shards.
    #[must_use]
    pub fn shards(self) -> u32 {
        self.shards
    }

    /// `slot * S / 65536`.
    #[must_use]
    pub fn shard_of(self, slot: Slot) -> ShardId {
        let shard = u32::from(slot.0) * self.shards / 65_536;
        ShardId(u16::try_from(shard).unwrap_or(u16::MAX))
    }

    /// Every shard, in order.
    pub fn all(self) -> impl Iterator<Item = ShardId> {
        (0..=u16::MAX).take(self.shards as usize).map(ShardId)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_powers_of_two_up_to_the_number_of_slots_are_taken() {
        for good in [1, 2, 16, 256, 65_536] {
            assert!(ShardMap::new(good).is_some());
        }
        for bad in [0, 3, 17, 131_072] {
            assert!(ShardMap::new(bad).is_none());
        }
    }

    proptest! {
        #[test]
        fn every_slot_has_one_shard_in_range_and_shards_are_runs_of_slots(slot: u16, power in 0_u32..=16) {
            let map = ShardMap::new(1 << power).expect("a power of two");
            let shard = map.shard_of(Slot(slot));
            prop_assert!(u32::from(shard.0) < map.shards());
            prop_assert_eq!(u32::from(shard.0), u32::from(slot) >> (16 - power));
        }
    }
}
