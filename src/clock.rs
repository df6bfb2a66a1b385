//! The clock: the one place that reads the time of day. Everything durable takes its time from here once, at the
//! decision, and carries it in the record from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time in unix milliseconds, from the system or set by a test.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set`].
    #[must_use]
    pub fn manual(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Unix milliseconds. May step back when the system's clock is set.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(ms) => ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock; no effect on the system's.
    pub fn set(&self, unix_ms: u64) {
        if let Source::Manual(ms) = &self.0 {
            ms.store(unix_ms, Ordering::SeqCst);
        }
    }
}
