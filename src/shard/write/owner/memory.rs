//! How much memory heads take: estimated, per shard and for all shards of a process together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard::write::owner::conversation::{ConversationState, Known};

/// Of a conversation, whatever it has.
const CONVERSATION_BYTES: usize = 1024;
/// Of a participant, a watermark, a key, the author of a recent message or one who is banned: names
/// of usual length, and what maps take.
const PARTICIPANT_BYTES: usize = 192;
const MARK_BYTES: usize = 160;
const KEY_BYTES: usize = 256;
const RECENT_BYTES: usize = 128;
/// A name that a recent message mentions.
const NAME_BYTES: usize = 40;

/// One shard takes this part of the whole at most.
const PART_OF_ONE: u64 = 4;

/// The heads of all shards of a process.
#[derive(Debug, Default)]
pub struct HeadMemory {
    bytes: AtomicU64,
    shards: AtomicU64,
}

/// The part of one shard; given back when it ends.
#[derive(Debug)]
pub(super) struct Taken {
    of_all: Arc<HeadMemory>,
    bytes: u64,
    max: u64,
}

impl Taken {
    /// Of a process that may take `max` bytes.
    pub(super) fn new(of_all: Arc<HeadMemory>, max: u64) -> Self {
        of_all.shards.fetch_add(1, Ordering::Relaxed);
        Self {
            of_all,
            bytes: 0,
            max,
        }
    }

    /// A head that took `before` takes `now`.
    pub(super) fn change(&mut self, before: u64, now: u64) {
        self.bytes = self.bytes.saturating_sub(before) + now;
        self.of_all.bytes.fetch_add(now, Ordering::Relaxed);
        self.of_all.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Something is to go: this shard takes more than it may, or all do and this one more than its
    /// share. So those that take much give way, also when they are idle, and not those that happen
    /// to work.
    pub(super) fn is_too_much(&self) -> bool {
        let (all, shards) = (
            self.of_all.bytes.load(Ordering::Relaxed),
            self.of_all.shards.load(Ordering::Relaxed),
        );
        self.bytes > self.max / PART_OF_ONE
            || (all > self.max && self.bytes > self.max / shards.max(1))
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.of_all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of_all.shards.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConversationState {
    /// Bytes that it takes, roughly. What waits and what is not applied is bounded elsewhere.
    fn estimate(&self) -> u64 {
        let head = match &self.known {
            Known::Head(head) => {
                (head.participants.len() + head.gone.len()) * PARTICIPANT_BYTES
                    + head
                        .recent
                        .iter()
                        .map(|recent| recent.mentions.len() * NAME_BYTES)
                        .sum::<usize>()
                    + (head.recent.len()
                        + head.banned.len()
                        + head.views.len()
                        + head.closed.as_ref().map_or(0, BTreeSet::len))
                        * RECENT_BYTES
                    + head.data.as_ref().map_or(0, |data| data.len())
            }
            Known::No | Known::Absent => 0,
        };
        let marks = self
            .marks
            .as_ref()
            .map_or(0, |marks| marks.len() * MARK_BYTES);
        (CONVERSATION_BYTES + head + marks + self.keys.len() * KEY_BYTES) as u64
    }

    /// Estimates it anew.
    pub(super) fn weigh(&mut self, taken: &mut Taken) {
        let now = self.estimate();
        taken.change(std::mem::replace(&mut self.bytes, now), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_gives_way_when_it_takes_too_much_or_more_than_its_share_of_too_much() {
        let all = Arc::<HeadMemory>::default();
        let mut shards: Vec<Taken> = (0..8).map(|_| Taken::new(Arc::clone(&all), 800)).collect();
        shards[0].change(0, 200);
        assert!(!shards[0].is_too_much(), "a quarter");

        shards[0].change(0, 1);
        assert!(shards[0].is_too_much());

        shards[0].change(201, 150);
        for shard in &mut shards[1..] {
            shard.change(0, 92);
        }

        assert!(!shards[0].is_too_much(), "together no more than they may");
        shards[1].change(92, 100);
        assert!(
            shards[0].is_too_much() && !shards[1].is_too_much(),
            "its share is 100"
        );

        drop(shards.remove(0));
        assert!(shards.iter().all(|shard| !shard.is_too_much()));
        assert_eq!(
            (
                all.bytes.load(Ordering::Relaxed),
                all.shards.load(Ordering::Relaxed)
            ),
            (652, 7)
        );
    }
}
