//! Starts what is due when it is due, at most so many at once.
//!
//! A thread of its own follows the schedule, for the runtime's timers are too coarse for that. When
//! the bound of what is in flight is reached the thread waits, falls behind the schedule, and
//! catches up later: what waits is measured from the moment it was due, so nothing is left out. The
//! schedule itself is the queue; there is no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::load::recorder::micros;
use crate::load::schedule::Schedule;

/// What is in flight, and when the run began.
pub(crate) struct Pacer {
    /// When the run began; everything is due relative to it.
    begun: Instant,
    /// Most in flight.
    in_flight_max: u32,
    gate: Arc<Semaphore>,
    /// Ends the run early.
    pub(crate) stop: CancellationToken,
}

/// How a stretch went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Driven {
    /// Those that were due.
    pub(crate) scheduled: u64,
    /// Of these, those that could not start because too many were in flight until the end and
    /// beyond.
    pub(crate) unsent: u64,
    /// Those that had to wait because too many were in flight.
    pub(crate) held: u64,
}

impl Pacer {
    /// Nothing is in flight.
    pub(crate) fn new(
        begun: Instant,
        in_flight_max: u32,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let permits = usize::try_from(in_flight_max).map_err(|error| error.to_string())?;
        Ok(Self {
            begun,
            in_flight_max,
            gate: Arc::new(Semaphore::new(permits)),
            stop,
        })
    }

    /// Starts things by this schedule, which begins `from_us` after the begin of the run. `start`
    /// is called within the runtime, with the moment one was due and a permit that is dropped when
    /// it is done. What could not start `grace` after the schedule's end is given up. Returns when
    /// the last has started; it may not be done yet.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        (from_us, schedule, grace): (u64, Schedule, Duration),
        start: impl Fn(u64, OwnedSemaphorePermit) + Send + 'static,
    ) -> Result<Driven, String> {
        let (pacer, runtime) = (Arc::clone(self), Handle::current());
        let pacing = tokio::task::spawn_blocking(move || {
            pacer.pace((from_us, schedule, grace), &runtime, start)
        });
        pacing.await.map_err(|error| error.to_string())
    }

    /// Waits until nothing is in flight, so long at most; true when that is so.
    pub(crate) async fn settle(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.gate.acquire_many(self.in_flight_max))
            .await
            .is_ok()
    }

    /// How many are in flight now.
    pub(crate) fn in_flight(&self) -> u64 {
        let free = u32::try_from(self.gate.available_permits()).unwrap_or(u32::MAX);
        u64::from(self.in_flight_max.saturating_sub(free))
    }

    fn pace(
        &self,
        (from_us, mut schedule, grace): (u64, Schedule, Duration),
        runtime: &Handle,
        start: impl Fn(u64, OwnedSemaphorePermit),
    ) -> Driven {
        let mut driven = Driven::default();
        let mut give_up = None;

        while let Some(after) = schedule.next() {
            if self.stop.is_cancelled() {
                break;
            }
            driven.scheduled += 1;
            let due = self.begun + Duration::from_micros(from_us) + after;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let permit = match Arc::clone(&self.gate).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    driven.held += 1;
                    let end = *give_up.get_or_insert_with(|| {
                        self.begun + Duration::from_micros(from_us) + schedule.length() + grace
                    });
                    runtime.block_on(self.permit_before(end))
                }
            };
            let Some(permit) = permit else {
                // Too late for this one, and so for all that are left.
                let left = u64::try_from(schedule.count()).unwrap_or_default();
                driven.scheduled += left;
                driven.unsent = left + 1;
                break;
            };
            start(from_us + micros(after), permit);
        }

        driven
    }

    async fn permit_before(&self, end: Instant) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.gate).acquire_owned() => permit.ok(),
            () = tokio::time::sleep_until(end.into()) => None,
            () = self.stop.cancelled() => None,
        }
    }
}
