//! Seeded randomness that can be split: every client and every step of the schedule has a stream of
//! its own, so that what one of them draws does not depend on how the others run.

/// The constant of `SplitMix64`: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: mixed(seed ^ GOLDEN),
        }
    }

    /// A stream of its own for a purpose; the same for the same seed and purpose, whatever was
    /// drawn meanwhile from others.
    pub(crate) fn split(&self, purpose: &str, number: u64) -> Self {
        let named = purpose
            .bytes()
            .fold(self.state, |state, byte| mixed(state ^ u64::from(byte)));
        Self {
            state: mixed(named ^ number.wrapping_mul(GOLDEN)),
        }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mixed(self.state)
    }

    /// A number below the bound; 0 when the bound is.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A number from the first up to the second, which belongs to it.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// True as often as that in a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of the list; `None` when it is empty.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(from.len()).unwrap_or(u64::MAX));
        from.get(usize::try_from(at).unwrap_or(0))
    }
}

fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_do_not_depend_on_each_other() {
        let root = Random::new(7);
        let mut first = root.split("client", 1);
        let mut again = root.split("client", 1);
        let mut other = root.split("client", 2);
        let drawn: Vec<u64> = (0..50).map(|_| first.next()).collect();
        assert_eq!(drawn, (0..50).map(|_| again.next()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..50).map(|_| other.next()).collect::<Vec<_>>());
        assert!((0..1_000).all(|_| (3..=9).contains(&first.between(3, 9))));
    }
}
