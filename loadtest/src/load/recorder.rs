//! What was measured: histograms and counts, of the whole measured span and of each second of it.
//!
//! Values are recorded from many tasks at once; a few slots, each behind its own lock, keep them
//! out of each other's way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::failure::Failure;

/// Slots; more than there are threads here is of no use.
const SLOTS: usize = 4;
/// Longest latency that is told apart; longer ones count as this.
const LATENCY_MAX_US: u64 = 120_000_000;
/// A send that starts so much later than it was due counts as late: the client did not keep up.
pub(crate) const LATE: Duration = Duration::from_millis(5);

/// Status and code, as errors are counted.
pub(crate) type ErrorKey = (Option<u16>, String);

/// What one second had.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    pub(crate) post: Histogram<u64>,
    pub(crate) deliver: Histogram<u64>,
    pub(crate) accepted: u64,
    pub(crate) late: u64,
    pub(crate) errors: BTreeMap<ErrorKey, u64>,
}

/// What the measured span had: everything that was due in it, whenever it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    /// From the moment a send was due to its answer.
    pub(crate) post: Histogram<u64>,
    /// From the moment a send started to its answer.
    pub(crate) service: Histogram<u64>,
    /// From the moment a send was due to the moment it started.
    pub(crate) lateness: Histogram<u64>,
    /// For each size of groups.
    pub(crate) groups: Vec<Group>,
    pub(crate) late: u64,
    pub(crate) errors: BTreeMap<ErrorKey, u64>,
    /// Deliveries that the accepted sends should lead to.
    pub(crate) expected: u64,
    /// When the last answer and the last delivery came, since the run began.
    pub(crate) last_answer_us: u64,
    pub(crate) last_delivery_us: u64,
}

/// What the conversations of one size had.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) post: Histogram<u64>,
    pub(crate) deliver: Histogram<u64>,
    pub(crate) accepted: u64,
}

/// One send that was answered, or failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Which size of groups.
    pub(crate) group: usize,
    /// How many sessions should get it.
    pub(crate) listeners: u64,
    pub(crate) due_us: u64,
    pub(crate) started_us: u64,
    pub(crate) answered_us: u64,
}

/// Gathers from all tasks.
#[derive(Debug)]
pub(crate) struct Recorder {
    begun: Instant,
    from_us: AtomicU64,
    sizes: usize,
    slots: Vec<Mutex<Slot>>,
}

#[derive(Debug)]
struct Slot {
    totals: Totals,
    interval: Interval,
}

impl Recorder {
    /// For so many sizes of groups. Time is told since `begun`.
    pub(crate) fn new(begun: Instant, sizes: usize) -> Result<Self, String> {
        let slot = || {
            Ok(Mutex::new(Slot {
                totals: Totals::new(sizes)?,
                interval: Interval::new()?,
            }))
        };
        let slots = (0..SLOTS).map(|_| slot()).collect::<Result<_, String>>()?;
        Ok(Self {
            begun,
            from_us: AtomicU64::new(u64::MAX),
            sizes,
            slots,
        })
    }

    /// Microseconds since the run began.
    pub(crate) fn now_us(&self) -> u64 {
        micros(self.begun.elapsed())
    }

    /// Begins a measured span: what is due from then on counts. What was counted so far is
    /// forgotten.
    pub(crate) fn measure_from(&self, from_us: u64) -> Result<(), String> {
        for slot in &self.slots {
            lock(slot).totals = Totals::new(self.sizes)?;
        }
        self.from_us.store(from_us, Ordering::Relaxed);
        Ok(())
    }

    /// A send was accepted or failed.
    pub(crate) fn answered(&self, sent: Sent, failure: Option<&Failure>) {
        let Some(slot) = self
            .slots
            .get(usize::try_from(sent.due_us).unwrap_or_default() % SLOTS)
        else {
            return;
        };
        let lateness = sent.started_us.saturating_sub(sent.due_us);
        let late = u64::from(lateness > micros(LATE));
        let post = sent.answered_us.saturating_sub(sent.due_us);
        let measured = sent.due_us >= self.from_us.load(Ordering::Relaxed);
        let Slot { totals, interval } = &mut *lock(slot);
        interval.late += late;

        if measured {
            totals.late += late;
            totals.lateness.saturating_record(lateness);
            totals.last_answer_us = totals.last_answer_us.max(sent.answered_us);
        }

        if let Some(failure) = failure {
            let key = (failure.status, failure.code.clone());
            if measured {
                *totals.errors.entry(key.clone()).or_default() += 1;
            }
            *interval.errors.entry(key).or_default() += 1;
            return;
        }

        interval.accepted += 1;
        interval.post.saturating_record(post);

        if measured {
            totals.post.saturating_record(post);
            totals.expected += sent.listeners;
            totals
                .service
                .saturating_record(sent.answered_us.saturating_sub(sent.started_us));
            if let Some(group) = totals.groups.get_mut(sent.group) {
                group.post.saturating_record(post);
                group.accepted += 1;
            }
        }
    }

    /// A message reached a session; `lane` spreads sessions over the slots.
    pub(crate) fn delivered(&self, lane: usize, group: usize, due_us: u64) {
        let Some(slot) = self.slots.get(lane % SLOTS) else {
            return;
        };
        let now = self.now_us();
        let latency = now.saturating_sub(due_us);
        let measured = due_us >= self.from_us.load(Ordering::Relaxed);
        let Slot { totals, interval } = &mut *lock(slot);
        interval.deliver.saturating_record(latency);
        if measured {
            totals.last_delivery_us = totals.last_delivery_us.max(now);
            if let Some(group) = totals.groups.get_mut(group) {
                group.deliver.saturating_record(latency);
            }
        }
    }

    /// What came since the last call.
    pub(crate) fn take_interval(&self) -> Result<Interval, String> {
        let mut all = Interval::new()?;
        for slot in &self.slots {
            let one = std::mem::replace(&mut lock(slot).interval, Interval::new()?);
            add(&mut all.post, &one.post)?;
            add(&mut all.deliver, &one.deliver)?;
            all.accepted += one.accepted;
            all.late += one.late;
            add_errors(&mut all.errors, &one.errors);
        }
        Ok(all)
    }

    /// What the measured span has so far.
    pub(crate) fn totals(&self) -> Result<Totals, String> {
        let mut all = Totals::new(self.sizes)?;
        for slot in &self.slots {
            all.take_in(&lock(slot).totals)?;
        }
        Ok(all)
    }
}

impl Interval {
    fn new() -> Result<Self, String> {
        Ok(Self {
            post: histogram()?,
            deliver: histogram()?,
            accepted: 0,
            late: 0,
            errors: BTreeMap::new(),
        })
    }
}

impl Totals {
    fn new(sizes: usize) -> Result<Self, String> {
        let group = || {
            Ok(Group {
                post: histogram()?,
                deliver: histogram()?,
                accepted: 0,
            })
        };
        Ok(Self {
            post: histogram()?,
            service: histogram()?,
            lateness: histogram()?,
            groups: (0..sizes).map(|_| group()).collect::<Result<_, String>>()?,
            late: 0,
            errors: BTreeMap::new(),
            expected: 0,
            last_answer_us: 0,
            last_delivery_us: 0,
        })
    }

    fn take_in(&mut self, other: &Self) -> Result<(), String> {
        add(&mut self.post, &other.post)?;
        add(&mut self.service, &other.service)?;
        add(&mut self.lateness, &other.lateness)?;
        for (group, more) in self.groups.iter_mut().zip(&other.groups) {
            add(&mut group.post, &more.post)?;
            add(&mut group.deliver, &more.deliver)?;
            group.accepted += more.accepted;
        }
        self.late += other.late;
        self.expected += other.expected;
        add_errors(&mut self.errors, &other.errors);
        self.last_answer_us = self.last_answer_us.max(other.last_answer_us);
        self.last_delivery_us = self.last_delivery_us.max(other.last_delivery_us);
        Ok(())
    }

    /// Sends that were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.groups.iter().map(|group| group.accepted).sum()
    }

    /// Sends that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Deliveries to all groups.
    pub(crate) fn deliver(&self) -> Result<Histogram<u64>, String> {
        let mut all = histogram()?;
        for group in &self.groups {
            add(&mut all, &group.deliver)?;
        }
        Ok(all)
    }
}

/// Microseconds from 1 to the longest, three digits: some 150 KB.
pub(crate) fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(LATENCY_MAX_US, 3).map_err(|error| error.to_string())
}

/// Whole microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn add(to: &mut Histogram<u64>, more: &Histogram<u64>) -> Result<(), String> {
    to.add(more).map_err(|error| error.to_string())
}

fn add_errors(to: &mut BTreeMap<ErrorKey, u64>, more: &BTreeMap<ErrorKey, u64>) {
    for (key, count) in more {
        *to.entry(key.clone()).or_default() += count;
    }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::failure::Fault;

    fn sent(due_ms: u64, started_ms: u64, answered_ms: u64) -> Sent {
        Sent {
            group: 0,
            listeners: 2,
            due_us: due_ms * 1_000,
            started_us: started_ms * 1_000,
            answered_us: answered_ms * 1_000,
        }
    }

    #[test]
    fn latency_counts_from_the_moment_a_send_was_due() {
        let recorder = Recorder::new(Instant::now(), 1).unwrap();
        recorder.measure_from(0).unwrap();
        recorder.answered(sent(100, 300, 350), None);
        let totals = recorder.totals().unwrap();
        assert!(
            totals.post.max().abs_diff(250_000) < 500,
            "{}",
            totals.post.max()
        );
        assert!(
            totals.service.max().abs_diff(50_000) < 100,
            "{}",
            totals.service.max()
        );
        assert_eq!((totals.late, totals.accepted(), totals.expected), (1, 1, 2));
    }

    #[test]
    fn a_warm_up_is_in_the_seconds_and_not_in_the_totals() {
        let recorder = Recorder::new(Instant::now(), 1).unwrap();
        recorder.measure_from(1_000_000).unwrap();
        recorder.answered(sent(999, 999, 2_000), None);
        recorder.answered(sent(1_000, 1_000, 1_002), None);

        let failure = Failure::transport(Fault::Timeout, String::new());
        recorder.answered(sent(1_001, 1_001, 1_002), Some(&failure));

        let interval = recorder.take_interval().unwrap();
        assert_eq!(
            (interval.accepted, interval.errors.values().sum::<u64>()),
            (2, 1)
        );

        let totals = recorder.totals().unwrap();
        assert_eq!(
            (totals.accepted(), totals.failed(), totals.post.len()),
            (1, 1, 1)
        );
        assert_eq!(recorder.take_interval().unwrap().accepted, 0, "taken");
    }

    #[test]
    fn percentiles_are_those_of_all_values_of_all_slots() {
        let recorder = Recorder::new(Instant::now(), 1).unwrap();
        recorder.measure_from(0).unwrap();

        for number in 1..=1_000 {
            let answered_us = number + number * 100;
            recorder.answered(
                Sent {
                    group: 0,
                    listeners: 2,
                    due_us: number,
                    started_us: number,
                    answered_us,
                },
                None,
            );
        }

        let post = recorder.totals().unwrap().post;
        for (quantile, expected) in [
            (0.5, 50_000),
            (0.9, 90_000),
            (0.99, 99_000),
            (0.999, 99_900),
            (1.0, 100_000),
        ] {
            let found = post.value_at_quantile(quantile);
            assert!(
                found.abs_diff(expected) <= expected / 1_000 + 1,
                "{quantile}: {found}"
            );
        }
    }
}
