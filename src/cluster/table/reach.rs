//! Whether this process reaches the log and the table, and whether others do. With each request and
//! answer a process tells which table it follows and how long ago it read it; so a node that is cut
//! off from Redis alone hears that the world goes on without it, and one that is cut off together
//! with everybody else hears nothing of the kind. ADR 15.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::ShardId;

/// Stands for "never" where milliseconds are kept.
const NEVER: u64 = u64::MAX;

/// What a process tells of the table that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its version.
    pub version: u64,
    /// Milliseconds since it was read in the store last; `None` from a process that does not tell.
    pub age_ms: Option<u64>,
}

/// Reads of others that showed a newer table than ours, in milliseconds after the origin.
#[derive(Debug, Clone, Copy)]
struct Newer {
    version: u64,
    first: u64,
    last: u64,
}

/// What a process knows of its own and of others' way to the store. Times are of the monotonic
/// clock.
#[derive(Debug)]
pub struct Reach {
    origin: Instant,
    /// Of the table as it was read last.
    version: AtomicU64,
    /// When it was read last, in milliseconds after `origin`.
    read_ms: AtomicU64,
    /// Since when reads fail.
    failing_ms: AtomicU64,
    /// What others read of newer tables since our own reads fail.
    newer: Mutex<Option<Newer>>,
    cut_off: AtomicBool,
    /// Places of the log that did not answer the last renewal there, each with a shard of it.
    unanswered: Mutex<BTreeMap<u64, ShardId>>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            version: AtomicU64::new(0),
            read_ms: AtomicU64::new(NEVER),
            failing_ms: AtomicU64::new(NEVER),
            newer: Mutex::default(),
            cut_off: AtomicBool::new(false),
            unanswered: Mutex::default(),
        }
    }
}

impl Reach {
    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_millis()).unwrap_or(NEVER - 1)
    }

    fn newer(&self) -> MutexGuard<'_, Option<Newer>> {
        self.newer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> MutexGuard<'_, BTreeMap<u64, ShardId>> {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The table was read, and this version of it is followed.
    pub fn read(&self, version: u64, now: Instant) {
        self.version.store(version, Ordering::SeqCst);
        self.read_ms.store(self.ms(now), Ordering::SeqCst);
        self.failing_ms.store(NEVER, Ordering::SeqCst);
        *self.newer() = None;
    }

    /// The table could not be read.
    pub fn failed(&self, now: Instant) {
        let since = self.ms(now);
        // Only the first failure after a read counts.
        self.failing_ms
            .compare_exchange(NEVER, since, Ordering::SeqCst, Ordering::SeqCst)
            .ok();
    }

    /// What to tell others.
    #[must_use]
    pub fn told(&self, now: Instant) -> Told {
        let read = self.read_ms.load(Ordering::SeqCst);
        let age_ms = (read != NEVER).then(|| self.ms(now).saturating_sub(read));
        Told {
            version: self.version.load(Ordering::SeqCst),
            age_ms,
        }
    }

    /// Somebody told this. It counts when our own reads fail, and they read a newer table after
    /// that had begun.
    pub fn hear(&self, told: Told, now: Instant) {
        let Some(age_ms) = told
            .age_ms
            .filter(|_| told.version > self.version.load(Ordering::SeqCst))
        else {
            return;
        };

        let read = self.ms(now).saturating_sub(age_ms);
        if read < self.failing_ms.load(Ordering::SeqCst) {
            return;
        }

        let mut newer = self.newer();
        let known = newer.unwrap_or(Newer {
            version: told.version,
            first: read,
            last: read,
        });
        let version = if read >= known.last {
            told.version
        } else {
            known.version
        };
        *newer = Some(Newer {
            version,
            first: known.first.min(read),
            last: known.last.max(read),
        });
    }

    /// The version of a newer table than ours, once others have read it for `patience` while all
    /// our own reads failed.
    #[must_use]
    pub fn left_behind(&self, patience: Duration) -> Option<u64> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(NEVER);
        let Newer {
            version,
            first,
            last,
        } = (*self.newer())?;
        (last.saturating_sub(first) >= patience).then_some(version)
    }

    /// This node is cut off from the log while others are not.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst)
    }

    /// Notes whether it is; true when that changed.
    pub(crate) fn set_cut_off(&self, cut_off: bool) -> bool {
        self.cut_off.swap(cut_off, Ordering::SeqCst) != cut_off
    }

    /// A place of the log answered the renewal of this shard, and others of it, or did not.
    pub(crate) fn renewed_at(&self, place: u64, shard: ShardId, answered: bool) {
        if answered {
            self.unanswered().remove(&place);
        } else {
            self.unanswered().insert(place, shard);
        }
    }

    /// The places that did not answer last.
    pub(crate) fn silent_places(&self) -> BTreeMap<u64, ShardId> {
        self.unanswered().clone()
    }

    /// A shard of this place could be kept, as far as is known: renewals there are answered, or
    /// were never tried.
    pub(crate) fn can_hold_at(&self, place: u64) -> bool {
        !self.unanswered().contains_key(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(3);

    fn at(reach: &Reach, ms: u64) -> Instant {
        reach.origin + Duration::from_millis(ms)
    }

    fn told(version: u64, age_ms: u64) -> Told {
        Told {
            version,
            age_ms: Some(age_ms),
        }
    }

    /// Follows version 15, and fails to read since the tenth second.
    fn failing() -> Reach {
        let reach = Reach::default();
        reach.read(15, at(&reach, 9_750));
        reach.failed(at(&reach, 10_000));
        reach.failed(at(&reach, 12_000));
        reach
    }

    #[test]
    fn a_newer_table_that_others_go_on_reading_while_this_node_cannot_shows_that_it_is_left_behind()
    {
        let reach = failing();
        reach.hear(told(16, 100), at(&reach, 11_000));
        reach.hear(told(16, 100), at(&reach, 13_999));
        assert_eq!(
            reach.left_behind(T),
            None,
            "Redis may have failed over, and be found again in a moment"
        );
        reach.hear(told(17, 100), at(&reach, 14_000));
        assert_eq!(reach.left_behind(T), Some(17));
        reach.read(17, at(&reach, 14_100));
        assert_eq!(reach.left_behind(T), None, "it is back");
    }

    #[test]
    fn an_outage_for_everybody_leaves_nobody_behind() {
        let reach = failing();
        // The last table before the outage, which some have read and others have not; to one it was
        // told late.
        reach.hear(told(16, 1_100), at(&reach, 11_000));
        reach.hear(told(16, 500), at(&reach, 11_000));
        reach.hear(told(16, 49_000), at(&reach, 60_000));
        assert_eq!(reach.left_behind(T), None, "nobody has gone on reading it");

        let other = failing();
        for ms in [11_000, 60_000] {
            other.hear(told(15, 0), at(&other, ms));
            other.hear(
                Told {
                    version: 16,
                    age_ms: None,
                },
                at(&other, ms),
            );
        }

        assert_eq!(
            other.left_behind(T),
            None,
            "what is known here holds; and a former version does not tell when"
        );
    }

    #[test]
    fn who_reads_the_table_is_not_left_behind_whatever_version_others_name() {
        let reach = Reach::default();
        reach.read(15, at(&reach, 1_000));
        // The table fell back, and they have not seen it yet; or this node was paused meanwhile.
        reach.hear(told(18, 10), at(&reach, 20_000));
        reach.hear(told(18, 10), at(&reach, 30_000));
        reach.failed(at(&reach, 30_500));
        assert_eq!(reach.left_behind(T), None);
    }
}
