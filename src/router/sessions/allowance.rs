//! Pure: how many frames a client may send.

use std::time::Instant;

/// A burst of so many seconds of the rate is taken.
const BURST_SECONDS: f64 = 4.0;

/// Token bucket over client frames: a rate, and four seconds of it as a burst.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    /// A full bucket.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self {
            per_second,
            left: per_second * BURST_SECONDS,
            at: now,
        }
    }

    /// Takes one frame in; false when it is one too many.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + refill).min(self.per_second * BURST_SECONDS) - 1.0;
        self.at = now;
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, start);
        assert_eq!((0..100).filter(|_| allowance.take(start)).count(), 40);
        let mut steady = Allowance::new(10, start);
        let taken = (0..1_000)
            .filter(|tenth| steady.take(start + Duration::from_millis(100) * *tenth))
            .count();
        assert_eq!(taken, 1_000, "the rate itself is always taken");
    }
}
