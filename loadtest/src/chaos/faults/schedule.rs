//! Which faults follow each other, for how long, and with which pauses: nothing but the seed
//! decides.

use std::time::Duration;

use crate::chaos::faults::Fault;
use crate::chaos::random::Random;

/// Between the end of a fault, when all is well again, and the next, in milliseconds.
const QUIET_MS: (u64, u64) = (1_000, 4_000);

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Before it begins.
    pub(crate) quiet: Duration,
    /// What is broken.
    pub(crate) fault: Fault,
    /// Before it is mended.
    pub(crate) stays: Duration,
    /// Seed of what it draws.
    pub(crate) number: u64,
}

/// How often each fault is done in a row: what a first one leaves behind is hit by the next.
pub(crate) const IN_A_ROW: usize = 2;

/// Steps without end: all of the faults in an order by chance, each several times in a row, then
/// all of them in another.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: Random,
    faults: Vec<Fault>,
    left: Vec<Fault>,
    again: Option<(Fault, usize)>,
    number: u64,
}

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn new(random: &Random, faults: Vec<Fault>) -> Self {
        Self {
            random: random.split("schedule", 0),
            faults,
            left: Vec::new(),
            again: None,
            number: 0,
        }
    }
}

impl Schedule {
    fn draw(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            self.left.clone_from(&self.faults);
        }
        let at = self.random.below(u64::try_from(self.left.len()).ok()?);
        let at = usize::try_from(at)
            .ok()
            .filter(|at| *at < self.left.len())?;
        Some(self.left.swap_remove(at))
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (fault, left) = match self.again.take() {
            Some(again) => again,
            None => (self.draw()?, IN_A_ROW),
        };
        self.again = (left > 1).then_some((fault, left - 1));
        self.number += 1;
        let mut between =
            |(from, to): (u64, u64)| Duration::from_millis(self.random.between(from, to));
        Some(Step {
            quiet: between(QUIET_MS),
            stays: between(fault.stays_ms),
            fault,
            number: self.number,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::chaos::faults::all;

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        Schedule::new(&Random::new(seed), all().collect())
            .take(count)
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_another() {
        assert_eq!(steps(1, 200), steps(1, 200));
        assert_ne!(steps(1, 200), steps(2, 200));
    }

    #[test]
    fn every_fault_comes_twice_in_a_row_before_any_comes_again() {
        let count = all().count();
        for round in steps(3, count * IN_A_ROW * 4).chunks(count * IN_A_ROW) {
            assert!(
                round
                    .chunks(IN_A_ROW)
                    .all(|row| row.iter().all(|step| step.fault == row[0].fault))
            );
            let names: BTreeSet<&str> = round.iter().map(|step| step.fault.name).collect();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn stays_are_within_their_bounds_and_names_are_unique() {
        for step in steps(4, 500) {
            let stays = u64::try_from(step.stays.as_millis()).unwrap();
            assert!((step.fault.stays_ms.0..=step.fault.stays_ms.1).contains(&stays));
        }
        let names: BTreeSet<&str> = all().map(|fault| fault.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
