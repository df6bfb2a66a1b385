//! The writes that are parked while the log does not answer, in their order, and whether it does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::lane::Standings;
use crate::problem::Problem;
use crate::shard::write::owner::input::Asked;

/// When a caller may try again who was refused because the log has no space: a person has to make
/// some. As long as a whole budget, so that nobody on the way here tries again meanwhile.
pub(super) const SPACE_AFTER: Duration = Duration::from_secs(5);

/// The parked writes of a shard.
#[derive(Debug)]
pub(super) struct Parking {
    pub(super) standing: Standings,
    /// As it was when last looked at.
    pub(super) stalled: bool,
    /// As it was last written to the log of the program.
    pub(super) told: bool,
    /// By turn, which is the order of arrival.
    pub(super) parked: BTreeMap<u64, Asked>,
    pub(super) next_turn: u64,
    /// The turn of the write that was last let through to a log without space.
    pub(super) looks: Option<u64>,
    /// Parked writes at once; more are refused.
    pub(super) max: usize,
}

impl Parking {
    pub(super) fn new(standing: Standings, max: usize) -> Self {
        Self {
            standing,
            stalled: false,
            told: false,
            parked: BTreeMap::new(),
            next_turn: 0,
            looks: None,
            max,
        }
    }

    /// The place of a write in the order of arrival.
    pub(super) fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// Nothing is decided now but what its caller asks for while there is space.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled || self.is_full()
    }

    /// The log has no space.
    pub(super) fn is_full(&self) -> bool {
        self.standing.is_full()
    }

    /// Whether a write is refused because the log has no space. One that is let through to look is
    /// not refused later on its way.
    pub(super) fn refuses(&mut self, turn: u64) -> bool {
        if self.looks == Some(turn) {
            return false;
        }
        let refuses = self.standing.refuses();
        if !refuses && self.is_full() {
            self.looks = Some(turn);
        }
        refuses
    }

    /// Watches this lane from now on.
    pub(super) fn watch(&mut self, standing: Standings) {
        self.standing = standing;
    }

    /// Waits until the lane stands otherwise; for ever when the lane is gone.
    pub(super) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Parks from now on, whatever the log says.
    pub(super) fn stall(&mut self) {
        self.stalled = true;
    }

    /// Parks no more, but what the log makes it park.
    pub(super) fn unstall(&mut self) {
        self.stalled = false;
    }

    /// Lets go of every parked write, undecided.
    pub(super) fn clear(&mut self) {
        self.parked.clear();
    }

    /// How many are parked.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }
}

/// What is told to those whose write the log has no space for. Surely not written.
pub(super) fn no_space() -> Problem {
    let detail =
        "the log has no space left until its operator makes some; nothing was written, retry later";
    Problem {
        retry_after: Some(SPACE_AFTER),
        ..Problem::unavailable(detail)
    }
}
