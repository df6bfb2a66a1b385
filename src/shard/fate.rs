//! Whether a write was decided or given up: one atomic step that only one of the two sides can take, the loop that
//! decides it or the caller whose budget ends. So a caller can say truthfully that nothing was written, and never will be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const DECIDED: u8 = 1;
const ABANDONED: u8 = 2;

/// The fate of one write, shared by its two sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// The loop's step, before the write has any effect. False when the caller has given it up: it must have none.
    pub(super) fn decide(&self) -> bool {
        self.step(DECIDED)
    }

    /// The caller's step. False when the write is decided: it may yet appear.
    pub(super) fn abandon(&self) -> bool {
        self.step(ABANDONED)
    }

    /// Nobody has decided or given it up yet.
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    fn step(&self, to: u8) -> bool {
        self.0.compare_exchange(OPEN, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_sides_exactly_one_takes_the_step() {
        for _ in 0..200 {
            let fate = Fate::default();
            let other = fate.clone();
            let decided = std::thread::spawn(move || other.decide());
            let abandoned = fate.abandon();
            assert_ne!(decided.join().expect("ends"), abandoned);
            assert!(!fate.is_open() && !fate.decide() && !fate.abandon(), "and nobody takes another");
        }
    }
}
