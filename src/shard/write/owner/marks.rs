//! The marks by which an owner tells the log how long it has owned the shard.

use std::time::Duration;

use crate::clock::Clock;
use crate::ids::Offset;
use crate::log::PerStream;
use crate::log::record::Tail;

/// The marks of an owner.
#[derive(Debug)]
pub(super) struct Marks {
    /// Time of day when it began, which only names a beginning, and the other clock then.
    pub(super) began: (u64, Duration),
    /// When the last ones were due.
    pub(super) last: Duration,
    /// Where each stream ended with its last mark: without anything new in it there is nothing to
    /// forget either.
    pub(super) at: PerStream<Offset>,
}

impl Marks {
    pub(super) fn new(clock: &Clock, tails: PerStream<Tail>) -> Self {
        let now = clock.since_boot();
        Self {
            began: (clock.now_ms(), now),
            last: now,
            at: tails.map(|tail| tail.offset),
        }
    }
}
