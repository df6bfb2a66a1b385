//! Pauses between attempts: each twice as long as the one before, up to a longest one.

use std::time::Duration;

/// How long to wait after so many failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// `first` after the first failure, and never more than `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the pause after so many failures in a row; none after none.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .first
                .saturating_mul(2_u32.saturating_pow(doublings))
                .min(self.longest),
        }
    }

    /// Returns between half and all of the pause after so many failures, at random, so that those
    /// who wait for the same thing do not ask in step.
    pub(crate) fn jittered(&self, failures: u32) -> Duration {
        self.after(failures).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Begins to count failures.
    pub(crate) const fn pauses(self) -> Pauses {
        Pauses {
            backoff: self,
            failures: 0,
        }
    }
}

/// The pauses of one who tries again and again.
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    backoff: Backoff,
    failures: u32,
}

impl Pauses {
    /// Counts a failure. Returns the pause after it.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.after(self.failures)
    }

    /// Counts a failure. Returns between half and all of the pause after it, at random.
    pub(crate) fn next_jittered(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.jittered(self.failures)
    }

    /// Begins anew: the next failure is the first.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));

    #[test]
    fn a_pause_doubles_up_to_the_longest_however_many_fail() {
        let pauses: Vec<u128> = (0..5)
            .map(|failures| BACKOFF.after(failures).as_millis())
            .collect();
        assert_eq!(pauses, [0, 20, 40, 80, 160]);
        for failures in [8, 40, u32::MAX] {
            assert_eq!(
                BACKOFF.after(failures),
                Duration::from_secs(2),
                "after {failures}"
            );
        }
    }

    #[test]
    fn whoever_begins_anew_waits_as_after_the_first_failure() {
        let mut pauses = BACKOFF.pauses();
        assert_eq!(
            (pauses.next(), pauses.next()),
            (Duration::from_millis(20), Duration::from_millis(40))
        );
        pauses.reset();
        assert_eq!(pauses.next(), Duration::from_millis(20));
    }

    #[test]
    fn a_jittered_pause_is_between_half_and_all_of_it() {
        for failures in 1..100 {
            let (pause, whole) = (BACKOFF.jittered(failures), BACKOFF.after(failures));
            assert!(
                pause >= whole / 2 && pause <= whole,
                "{pause:?} of {whole:?}"
            );
        }
    }
}
