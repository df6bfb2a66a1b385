//! What came of the things that people did beside sending: how many, how long they took, what
//! failed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::client::failure::Failure;
use crate::load::mix::scenario::Kind;
use crate::load::recorder::{ErrorKey, histogram};
use crate::report::figures::{self, ActionLoad, Latency};

/// What became of one.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was answered, or said over a socket, which has no answer.
    Done,
    /// There was nothing to do it to, or nobody who could.
    PassedOver,
    /// It failed.
    Failed(Failure),
}

/// All of them, of the measured span.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    kinds: Mutex<BTreeMap<Kind, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    done: u64,
    passed_over: u64,
    /// From the moment one was due to its answer; none before the first.
    latency: Option<Histogram<u64>>,
    errors: BTreeMap<ErrorKey, u64>,
}

impl Counts {
    /// A measured span begins: what was counted so far is forgotten.
    pub(crate) fn begin(&self) {
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// One was done so many microseconds after it was due.
    pub(crate) fn add(&self, kind: Kind, outcome: Outcome, took_us: u64) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kinds.entry(kind).or_default();
        match outcome {
            Outcome::Done => {
                count.done += 1;
                if count.latency.is_none() {
                    count.latency = histogram().ok();
                }
                if let Some(latency) = &mut count.latency {
                    latency.saturating_record(took_us);
                }
            }
            Outcome::PassedOver => count.passed_over += 1,
            Outcome::Failed(failure) => {
                let key = (failure.status, failure.code);
                *count.errors.entry(key).or_default() += 1;
            }
        }
    }

    /// What the report says of them.
    pub(crate) fn figures(&self) -> Vec<ActionLoad> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(kind, count): (&Kind, &Count)| ActionLoad {
            kind: kind.word().to_owned(),
            done: count.done,
            passed_over: count.passed_over,
            latency: count
                .latency
                .as_ref()
                .map_or_else(Latency::default, Latency::of),
            errors: figures::errors(&count.errors),
        };
        kinds.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::failure::Fault;

    #[test]
    fn each_kind_is_counted_by_what_became_of_it() {
        let counts = Counts::default();
        counts.add(Kind::Edit, Outcome::Done, 1);
        counts.begin();

        let broken = || Outcome::Failed(Failure::transport(Fault::Broken, String::new()));
        counts.add(Kind::Read, Outcome::Done, 2_000);
        counts.add(Kind::Read, broken(), 9_000);
        counts.add(Kind::Edit, Outcome::PassedOver, 5);

        let figures = counts.figures();
        let [edit, read] = &figures[..] else {
            panic!("{figures:?}")
        };
        assert_eq!((edit.done, edit.passed_over, edit.latency.count), (0, 1, 0));
        assert_eq!((read.done, read.errors[0].count), (1, 1));
        assert!((read.latency.max_ms - 2.0).abs() < 0.01, "{read:?}");
    }
}
