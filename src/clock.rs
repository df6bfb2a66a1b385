//! The clocks: the one place that reads the time of day, and the time since the machine started,
//! which also runs while it sleeps. Everything durable takes its time of day from here once, at the
//! decision, and carries it in the record from then on; a lease goes by the other one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Both clocks, of the system or set by a test.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<Hands>),
}

/// What a manual clock shows, in milliseconds.
#[derive(Debug)]
struct Hands {
    unix: AtomicU64,
    since_boot: AtomicU64,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set`] or [`Clock::pass`].
    #[must_use]
    pub fn manual(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(Hands {
            unix: AtomicU64::new(unix_ms),
            since_boot: AtomicU64::new(1),
        })))
    }

    /// Unix milliseconds. May step back when the system's clock is set.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
                }),
            Source::Manual(hands) => hands.unix.load(Ordering::SeqCst),
        }
    }

    /// Time since the machine started, the time that it slept included (`CLOCK_BOOTTIME`). Never
    /// steps back: what a paused process missed has passed nevertheless.
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        match &self.0 {
            // Linux has had it since 2.6.39; without it time would seem to end, and with it every
            // lease.
            Source::System => {
                clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
            }
            Source::Manual(hands) => Duration::from_millis(hands.since_boot.load(Ordering::SeqCst)),
        }
    }

    /// Sets the time of day of a manual clock, as an operator would; no effect on the system's.
    pub fn set(&self, unix_ms: u64) {
        if let Source::Manual(hands) = &self.0 {
            hands.unix.store(unix_ms, Ordering::SeqCst);
        }
    }

    /// Lets time pass on both faces of a manual clock; no effect on the system's.
    pub fn pass(&self, time: Duration) {
        if let Source::Manual(hands) = &self.0 {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            hands.unix.fetch_add(ms, Ordering::SeqCst);
            hands.since_boot.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_boot_runs_and_is_not_moved_by_setting_the_time_of_day() {
        let system = Clock::system();
        let before = system.since_boot();
        assert!(
            before > Duration::ZERO && before < Duration::from_secs(100 * 365 * 86_400),
            "{before:?}"
        );

        while system.since_boot() == before {
            std::hint::spin_loop();
        }

        assert!(system.since_boot() > before);
        let manual = Clock::manual(1_000_000);
        let began = manual.since_boot();
        manual.set(5);
        assert_eq!(manual.since_boot(), began);

        manual.pass(Duration::from_millis(70));
        assert_eq!(
            (manual.now_ms(), manual.since_boot() - began),
            (75, Duration::from_millis(70))
        );
    }
}
