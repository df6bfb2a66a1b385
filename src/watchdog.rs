//! Whether the process's loops move: a beat of the runtime that carries them, and loops that must
//! not end unasked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The runtime is asked for a beat this often.
const BEAT_EVERY: Duration = Duration::from_millis(250);

/// A runtime whose last beat is older than this stands still.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Watches the loops of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watchdog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds after `started` of the last beat.
    beat_ms: AtomicU64,
    loop_ended: AtomicBool,
    silence_max: Duration,
}

impl Watchdog {
    /// Starts the beat on the current runtime, until `stop`.
    #[must_use]
    pub fn spawn(stop: CancellationToken) -> Self {
        let watchdog = Self::still(SILENCE_MAX);
        let beating = watchdog.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(BEAT_EVERY);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = every.tick() => beating.beat(),
                }
            }
        });
        watchdog
    }

    /// Without a beat of its own.
    fn still(silence_max: Duration) -> Self {
        let inner = Inner {
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
            loop_ended: AtomicBool::new(false),
            silence_max,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn beat(&self) {
        self.inner.beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs a loop that must not end before `stop`; if it does, the process no longer counts as
    /// alive.
    pub async fn watch(
        self,
        name: &'static str,
        stop: CancellationToken,
        running: impl Future<Output = ()>,
    ) {
        running.await;
        if !stop.is_cancelled() {
            tracing::error!(name, "a loop ended that must not");
            self.inner.loop_ended.store(true, Ordering::Relaxed);
        }
    }

    /// How long ago the runtime gave its last beat.
    #[must_use]
    pub fn silent(&self) -> Duration {
        Duration::from_millis(
            self.now_ms()
                .saturating_sub(self.inner.beat_ms.load(Ordering::Relaxed)),
        )
    }

    /// Whether all loops move.
    ///
    /// # Errors
    /// One sentence: which do not.
    pub fn check(&self) -> Result<(), String> {
        if self.inner.loop_ended.load(Ordering::Relaxed) {
            return Err("a loop of this process ended".to_owned());
        }
        let silent = self.silent();
        if silent > self.inner.silence_max {
            return Err(format!(
                "the loops of this process stand still since {} ms",
                silent.as_millis()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_unasked_is_told_and_one_that_was_stopped_is_not() {
        let stop = CancellationToken::new();
        let watchdog = Watchdog::spawn(stop.clone());
        assert_eq!(watchdog.check(), Ok(()));
        let stopped = CancellationToken::new();
        stopped.cancel();
        watchdog.clone().watch("stopped", stopped, async {}).await;
        assert_eq!(watchdog.check(), Ok(()));
        watchdog
            .clone()
            .watch("ended", CancellationToken::new(), async {})
            .await;
        assert!(watchdog.check().is_err());
    }

    #[test]
    fn a_runtime_that_gives_no_beat_counts_as_standing_still() {
        let watchdog = Watchdog::still(Duration::ZERO);
        while watchdog.now_ms() == 0 {
            std::thread::yield_now();
        }
        assert!(watchdog.check().is_err());
    }
}
