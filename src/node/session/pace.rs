//! How fast a session may say what is no command: who types, and whom it watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames of a session that go to owners, a second and at once.
const PER_SECOND: f64 = 10.0;
const AT_ONCE: f64 = 20.0;

/// Frames of a session that owners have not answered.
const UNDER_WAY: usize = 8;

/// A session may say so often what it watches.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What a session says that is no command. Nothing is kept of one that says nothing of it, as most
/// do at most times.
#[derive(Debug, Default)]
pub(super) struct Asides(OnceLock<Box<(Pace, Watches)>>);

impl Asides {
    /// What it may say of its typing.
    pub(super) fn typing(&self) -> &Pace {
        &self.0.get_or_init(Box::default).0
    }

    /// What it says of whom it watches.
    pub(super) fn watches(&self) -> &Watches {
        &self.0.get_or_init(Box::default).1
    }
}

/// What a session may say of its typing.
#[derive(Debug)]
pub(super) struct Pace {
    left: Mutex<(f64, Instant)>,
    under_way: Arc<Semaphore>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            left: Mutex::new((AT_ONCE, Instant::now())),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
        }
    }
}

impl Pace {
    /// The place of one frame that is under way; none when too many are.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok()
    }

    /// False when it is one too many.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let more = now.saturating_duration_since(left.1).as_secs_f64() * PER_SECOND;
        *left = ((left.0 + more).min(AT_ONCE), now);
        let has_any = left.0 >= 1.0;
        if has_any {
            left.0 -= 1.0;
        }
        has_any
    }
}

/// What a session says of whom it watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    said: Mutex<Option<Instant>>,
    /// Counts them: what an earlier one asked for is of no interest any more.
    turn: AtomicU64,
}

impl Watches {
    /// False when it is too early for another one.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let may = said.is_none_or(|said| now.saturating_duration_since(said) >= WATCH_EVERY);
        if may {
            *said = Some(now);
        }
        may
    }

    /// The number of another one, in the place of all before it.
    pub(super) fn begin(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// No other one has begun since.
    pub(super) fn is_at(&self, turn: u64) -> bool {
        self.turn.load(Ordering::SeqCst) == turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_twenty_at_once_and_ten_a_second() {
        let (pace, start) = (Pace::default(), Instant::now());
        assert_eq!((0..100).filter(|_| pace.take(start)).count(), 20);
        let later = (1..=50)
            .filter(|step| pace.take(start + Duration::from_millis(100 * step)))
            .count();
        assert!((49..=50).contains(&later), "{later}");
    }
}
