//! How high something was known to be at a moment: what a read that began then must reach.

use std::collections::VecDeque;

use crate::chaos::history::Micros;

/// No request takes longer; older steps are merged into one.
const KEPT: Micros = 120_000_000;

/// Rising steps over time.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    steps: VecDeque<(Micros, u64)>,
}

impl Floor {
    /// From this moment on it is known to be at least so high. A step that is told late counts from
    /// the last one told, so that nothing is held against a read that could not know.
    pub(crate) fn raise(&mut self, at: Micros, height: u64) {
        let (last, highest) = self.steps.back().copied().unwrap_or((0, 0));
        if height <= highest {
            return;
        }
        let at = at.max(last);
        self.steps.push_back((at, height));
        while self
            .steps
            .get(1)
            .is_some_and(|(second, _)| second + KEPT < at)
        {
            self.steps.pop_front();
        }
    }

    /// What was known strictly before that moment.
    pub(crate) fn before(&self, begun: Micros) -> u64 {
        let count = self.steps.partition_point(|(at, _)| *at < begun);
        count
            .checked_sub(1)
            .and_then(|i| self.steps.get(i))
            .map_or(0, |(_, height)| *height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_held_to_what_was_known_before_it_began() {
        let mut floor = Floor::default();
        floor.raise(10, 3);
        floor.raise(20, 5);
        floor.raise(15, 4);
        floor.raise(15, 7);
        assert_eq!(
            [5, 10, 11, 20, 21].map(|at| floor.before(at)),
            [0, 0, 3, 3, 7]
        );
    }
}
