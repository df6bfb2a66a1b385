//! What a metric is told by, and the handles that a thread has used. To ask the recorder for one
//! takes a lock, and an allocation for the key and for each label: under load that was a sixteenth
//! of a node's time. A handle is good for as long as its recorder is, so each thread keeps those
//! that it has.
//!
//! **Invariant.** Nothing is kept before the process has its recorder: tests set others for a
//! moment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::LocalKey;

use metrics::{Label, counter, gauge, histogram};

/// Handles that a thread keeps of one kind. Labels are of low cardinality, so there are not nearly
/// as many; with more it begins anew.
const HANDLES_MAX: usize = 8_192;

/// The recorder is there, and stays.
static HAS_RECORDER: AtomicBool = AtomicBool::new(false);

/// Labels as a caller gives them: a name and a value each.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// From now on handles are kept: the recorder of this process is installed.
pub(super) fn keep() {
    HAS_RECORDER.store(true, Ordering::Relaxed);
}

thread_local! {
    static COUNTERS: RefCell<Handles<metrics::Counter>> = RefCell::default();
    static GAUGES: RefCell<Handles<metrics::Gauge>> = RefCell::default();
    static HISTOGRAMS: RefCell<Handles<metrics::Histogram>> = RefCell::default();
}

/// A number that only grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter(pub(super) &'static str);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauge(pub(super) &'static str);

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Histogram(pub(super) &'static str);

impl Counter {
    /// Adds.
    pub(crate) fn add(self, count: u64, with: Labels<'_>) {
        of_counter(self.0, with).increment(count);
    }

    /// A handle for a hot path, its labels bound once.
    pub(crate) fn bind(self, with: Labels<'_>) -> metrics::Counter {
        of_counter(self.0, with)
    }
}

impl Gauge {
    /// Sets.
    pub(crate) fn set(self, value: f64, with: Labels<'_>) {
        of_gauge(self.0, with).set(value);
    }

    /// A handle for a hot path, its labels bound once.
    pub(crate) fn bind(self, with: Labels<'_>) -> metrics::Gauge {
        of_gauge(self.0, with)
    }
}

impl Histogram {
    /// Records one observation.
    pub(crate) fn record(self, value: f64, with: Labels<'_>) {
        of_histogram(self.0, with).record(value);
    }
}

/// The handle of a counter.
fn of_counter(name: &'static str, with: Labels<'_>) -> metrics::Counter {
    handle(&COUNTERS, name, with, || counter!(name, labels(with)))
}

/// The handle of a gauge.
fn of_gauge(name: &'static str, with: Labels<'_>) -> metrics::Gauge {
    handle(&GAUGES, name, with, || gauge!(name, labels(with)))
}

/// The handle of a histogram.
fn of_histogram(name: &'static str, with: Labels<'_>) -> metrics::Histogram {
    handle(&HISTOGRAMS, name, with, || histogram!(name, labels(with)))
}

fn labels(with: Labels<'_>) -> Vec<Label> {
    with.iter()
        .map(|(name, value)| Label::new(*name, (*value).to_owned()))
        .collect()
}

fn handle<H: Clone>(
    kept: &'static LocalKey<RefCell<Handles<H>>>,
    name: &'static str,
    with: Labels<'_>,
    ask: impl Fn() -> H,
) -> H {
    if !HAS_RECORDER.load(Ordering::Relaxed) {
        return ask();
    }
    // A thread that ends has none any more, and asks.
    kept.try_with(|kept| kept.borrow_mut().get(name, with, &ask))
        .unwrap_or_else(|_ended| ask())
}

/// Handles by the hash of what they are of.
#[derive(Debug)]
struct Handles<H> {
    kept: HashMap<u64, Kept<H>>,
}

#[derive(Debug)]
struct Kept<H> {
    name: &'static str,
    labels: Vec<(&'static str, Box<str>)>,
    handle: H,
}

impl<H> Default for Handles<H> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
        }
    }
}

impl<H> Kept<H> {
    fn is_of(&self, name: &str, with: Labels<'_>) -> bool {
        let is_same = |((own, kept), (other, value)): (&(&str, Box<str>), &(&str, &str))| {
            own == other && **kept == **value
        };
        self.name == name
            && self.labels.len() == with.len()
            && self.labels.iter().zip(with).all(is_same)
    }
}

impl<H: Clone> Handles<H> {
    /// The handle of a metric with these labels; asked for when it is not kept.
    fn get(&mut self, name: &'static str, with: Labels<'_>, ask: &impl Fn() -> H) -> H {
        let mut hasher = DefaultHasher::new();
        (name, with).hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(kept) = self.kept.get(&hash)
            && kept.is_of(name, with)
        {
            return kept.handle.clone();
        }

        if self.kept.len() >= HANDLES_MAX {
            self.kept.clear();
        }
        let handle = ask();
        let labels = with
            .iter()
            .map(|(label, value)| (*label, Box::from(*value)));
        let kept = Kept {
            name,
            labels: labels.collect(),
            handle: handle.clone(),
        };
        self.kept.insert(hash, kept);
        handle
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_handle_is_asked_for_once_and_each_label_has_its_own() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            asked.get()
        };
        let mut handles = Handles::<i32>::default();

        assert_eq!(handles.get("a", &[("node", "1")], &ask), 1);
        assert_eq!(handles.get("a", &[("node", "2")], &ask), 2);
        assert_eq!(handles.get("a", &[("shard", "1")], &ask), 3);
        assert_eq!(handles.get("b", &[("node", "1")], &ask), 4);
        assert_eq!(handles.get("a", &[], &ask), 5);
        let again = [
            handles.get("a", &[("node", "1")], &ask),
            handles.get("a", &[("node", "2")], &ask),
            handles.get("b", &[("node", "1")], &ask),
            handles.get("a", &[], &ask),
        ];
        assert_eq!((again, asked.get()), ([1, 2, 4, 5], 5));
    }

    #[test]
    fn two_with_the_same_hash_are_never_taken_for_each_other() {
        let mut handles = Handles::<&str>::default();
        handles.get("a", &[("node", "1")], &|| "a");
        for kept in handles.kept.values_mut() {
            kept.labels = vec![("node", Box::from("2"))];
        }
        assert_eq!(handles.get("a", &[("node", "1")], &|| "asked"), "asked");
    }

    #[test]
    fn no_more_are_kept_than_may_be() {
        let mut handles = Handles::<usize>::default();
        for number in 0..HANDLES_MAX + 10 {
            let value = number.to_string();
            assert_eq!(handles.get("a", &[("shard", &value)], &|| number), number);
        }
        assert!(handles.kept.len() <= HANDLES_MAX);
    }
}
