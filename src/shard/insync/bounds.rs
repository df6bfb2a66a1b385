//! How much of the log may be held back, and what is compared with that: offsets of both streams.

use crate::ids::Offset;
use crate::log::PerStream;

/// Of the cap of the log's bytes, in each of the two streams: what may be held back for standbys …
const STANDBYS_PART: u64 = 4;
/// … and for copies under way, in eighths.
const SEEDS_EIGHTHS: u64 = 3;

/// What the owner's trim finds in the log, by stream. Offsets below these are no reason to hold it
/// back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::shard) struct Bounds {
    /// Up to there it was trimmed: who has less cannot read on.
    pub(in crate::shard) gone: PerStream<Offset>,
    /// What follows takes the share of the cap that standbys may hold …
    pub(in crate::shard) standbys: PerStream<Offset>,
    /// … and the share that copies under way may hold.
    pub(in crate::shard) seeds: PerStream<Offset>,
}

impl Bounds {
    /// These, or what was found since: nothing in the log goes back.
    pub(super) fn later(self, found: Self) -> Self {
        let later = |known: PerStream<Offset>, new| {
            known
                .zip(new)
                .map(|(known, new): (Offset, _)| known.max(new))
        };
        Self {
            gone: later(self.gone, found.gone),
            standbys: later(self.standbys, found.standbys),
            seeds: later(self.seeds, found.seeds),
        }
    }

    /// The bytes of a stream that may be held back for standbys, and for copies under way.
    pub(in crate::shard) fn shares(cap: u64) -> [u64; 2] {
        [cap / STANDBYS_PART, cap / 8 * SEEDS_EIGHTHS]
    }
}

/// How many committed records are not there.
pub(super) fn lacks(at: PerStream<Offset>, committed: PerStream<Offset>) -> u64 {
    let lacking = committed
        .zip(at)
        .map(|(committed, at)| committed.0.saturating_sub(at.0));
    lacking.messages + lacking.receipts
}

/// Not below in either stream.
pub(super) fn reaches(at: PerStream<Offset>, other: PerStream<Offset>) -> bool {
    at.zip(other).all(|(at, other)| at >= other)
}
