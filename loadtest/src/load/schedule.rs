//! When each send is due. The schedule never looks at the answers: a slow server is asked as often
//! as a fast one, and what waits is measured from the moment it was due.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// How sends are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spacing {
    /// Independent of each other, as of many people: a Poisson process
    Poisson,
    /// One after the other at the same distance
    Fixed,
}

impl Spacing {
    /// The word of the flag.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Fixed => "fixed",
        }
    }
}

/// The moments at which sends are due, from 0 up to the end, which is no longer in it.
#[derive(Debug)]
pub(crate) struct Schedule {
    spacing: Spacing,
    gap_s: f64,
    end_s: f64,
    number: u64,
    at_s: f64,
    chance: StdRng,
}

impl Schedule {
    /// So many a second, for so long. The same seed gives the same schedule.
    pub(crate) fn new(rate: f64, length: Duration, spacing: Spacing, seed: u64) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        Self {
            spacing,
            gap_s: 1.0 / rate,
            end_s: length.as_secs_f64(),
            number: 0,
            at_s: 0.0,
            chance,
        }
    }

    /// From its begin to its end.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.end_s)
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at_s = match self.spacing {
            // By multiplication, so that no error gathers.
            Spacing::Fixed => self.gap_s * exact(self.number),
            Spacing::Poisson => self.at_s - self.gap_s * (1.0 - self.chance.random::<f64>()).ln(),
        };
        self.number += 1;
        (self.at_s < self.end_s).then(|| Duration::from_secs_f64(self.at_s))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of sends, far below 2^52"
)]
fn exact(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64, seconds: u64, spacing: Spacing, seed: u64) -> Vec<Duration> {
        Schedule::new(rate, Duration::from_secs(seconds), spacing, seed).collect()
    }

    #[test]
    fn fixed_spacing_has_the_same_distance_everywhere_and_no_drift() {
        let due = schedule(3.0, 1_000, Spacing::Fixed, 1);
        assert_eq!(due.len(), 3_000);
        assert_eq!(due[0], Duration::ZERO);
        assert_eq!(due[2_997], Duration::from_secs(999));
    }

    #[test]
    fn poisson_spacing_has_the_rate_and_the_spread_of_independent_sends() {
        let due = schedule(100.0, 1_000, Spacing::Poisson, 7);
        assert!(due.is_sorted() && *due.last().unwrap() < Duration::from_secs(1_000));
        // The count of a Poisson process has the standard deviation of its root: 316.
        assert!(due.len().abs_diff(100_000) < 5 * 316, "{}", due.len());

        let gaps: Vec<f64> = due
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / exact(gaps.len() as u64);
        let variance =
            gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / exact(gaps.len() as u64);
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.03,
            "of an exponential distribution: {}",
            variance.sqrt() / mean
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        assert_eq!(
            schedule(50.0, 10, Spacing::Poisson, 3),
            schedule(50.0, 10, Spacing::Poisson, 3)
        );
        assert_ne!(
            schedule(50.0, 10, Spacing::Poisson, 3),
            schedule(50.0, 10, Spacing::Poisson, 4)
        );
    }
}
