//! Whether a write was decided or given up: one atomic step that only one of the two sides can
//! take, the loop that decides it or the caller whose budget ends. So a caller can say truthfully
//! that nothing was written, and never will be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const DECIDED: u8 = 1;
const ABANDONED: u8 = 2;

/// The fate of one write, shared by its two sides.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// The loop's step, before the write has any effect. False when the caller has given it up: it
    /// must have none.
    pub(in crate::shard) fn decide(&self) -> bool {
        self.step(DECIDED)
    }

    /// The caller's step. False when the write is decided: it may yet appear.
    pub(in crate::shard) fn abandon(&self) -> bool {
        self.step(ABANDONED)
    }

    /// The loop's step back: it decided, but wrote nothing, and the answer has to wait. Whoever
    /// gives up now may say so.
    pub(in crate::shard) fn reopen(&self) {
        let _was_given_up =
            self.0
                .compare_exchange(DECIDED, OPEN, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Nobody has decided or given it up yet.
    pub(in crate::shard) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    fn step(&self, to: u8) -> bool {
        self.0
            .compare_exchange(OPEN, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
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
            assert!(
                !fate.is_open() && !fate.decide() && !fate.abandon(),
                "and nobody takes another"
            );
            fate.reopen();
            assert_ne!(
                fate.abandon(),
                abandoned,
                "what was given up stays so, what was decided may be given up now"
            );
        }
    }
}
