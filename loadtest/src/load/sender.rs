//! Sends what is due when it is due, at most so many at once.
//!
//! A thread of its own follows the schedule, for the runtime's timers are too coarse for that. When
//! the bound of sends in flight is reached the thread waits, falls behind the schedule, and catches
//! up later: what waits is measured from the moment it was due, so nothing is left out. The
//! schedule itself is the queue; there is no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::client::failure::{Failure, Fault};
use crate::client::http::Ask;
use crate::load::ledger::Ledger;
use crate::load::recorder::{Recorder, Sent, micros};
use crate::load::schedule::Schedule;
use crate::load::text::Stamp;
use crate::load::workload::Workload;
use crate::target::Target;

/// What a sender needs.
pub(crate) struct Sender {
    pub(crate) target: Arc<Target>,
    pub(crate) workload: Arc<Workload>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) ledger: Arc<Ledger>,
    /// When the run began; everything is due relative to it.
    pub(crate) begun: Instant,
    /// Bytes of each text.
    pub(crate) payload: usize,
    /// Whether each send carries an `Idempotency-Key`.
    pub(crate) keys: bool,
    /// Most sends in flight.
    pub(crate) in_flight_max: u32,
    pub(crate) gate: Arc<Semaphore>,
    /// Number of the next send.
    pub(crate) number: AtomicU64,
    /// Ends the sending early.
    pub(crate) stop: CancellationToken,
}

/// How a stretch of sending went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Driven {
    /// Sends that were due.
    pub(crate) scheduled: u64,
    /// Of these, sends that could not start because too many were in flight until the end and
    /// beyond.
    pub(crate) unsent: u64,
    /// Sends that had to wait because too many were in flight.
    pub(crate) held: u64,
}

#[derive(Debug, Deserialize)]
struct Accepted {
    /// 0 where there are none; Rookery's begin with 1, so that an answer that lacks it is found to
    /// be wrong.
    #[serde(default)]
    seq: u64,
}

impl Sender {
    /// Sends by this schedule, which begins `from_us` after the begin of the run. What could not
    /// start `grace` after its end is given up. Returns when the last has started; it may not have
    /// been answered yet.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        from_us: u64,
        schedule: Schedule,
        grace: Duration,
    ) -> Result<Driven, String> {
        let (sender, runtime) = (Arc::clone(self), Handle::current());
        let pacing =
            tokio::task::spawn_blocking(move || sender.pace(from_us, schedule, grace, &runtime));
        pacing.await.map_err(|error| error.to_string())
    }

    /// Waits until nothing is in flight, so long at most; true when that is so.
    pub(crate) async fn settle(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.gate.acquire_many(self.in_flight_max))
            .await
            .is_ok()
    }

    /// Sends in flight now.
    pub(crate) fn in_flight(&self) -> u64 {
        let free = u32::try_from(self.gate.available_permits()).unwrap_or(u32::MAX);
        u64::from(self.in_flight_max.saturating_sub(free))
    }

    fn pace(
        self: &Arc<Self>,
        from_us: u64,
        mut schedule: Schedule,
        grace: Duration,
        runtime: &Handle,
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
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let due_us = from_us + micros(after);
            runtime.spawn(Arc::clone(self).send(Stamp { number, due_us }, permit));
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

    async fn send(self: Arc<Self>, stamp: Stamp, permit: OwnedSemaphorePermit) {
        let Some((conversation, user)) = self.workload.pick(stamp.number) else {
            return;
        };
        let Some(chosen) = self.workload.conversations.get(conversation) else {
            return;
        };
        let started_us = self.recorder.now_us();
        let posted = self.post(&chosen.name, user, stamp).await;
        let sent = Sent {
            group: chosen.group,
            listeners: chosen.online,
            due_us: stamp.due_us,
            started_us,
            answered_us: self.recorder.now_us(),
        };

        match posted {
            Ok(seq) => {
                self.ledger.accepted(conversation, seq, stamp.number);
                self.recorder.answered(sent, None);
            }
            Err(failure) => {
                self.ledger.failed(conversation, stamp.number, &failure);
                self.recorder.answered(sent, Some(&failure));
            }
        }
        drop(permit);
    }

    /// Posts one message; its seq.
    async fn post(&self, conversation: &str, user: usize, stamp: Stamp) -> Result<u64, Failure> {
        let unsent = |detail: String| Failure::transport(Fault::Connect, detail);
        let name = self.workload.user(user).map_err(unsent)?;
        let token = self.target.tokens.of(name).await.map_err(unsent)?;
        let path = format!("/v1/conversations/{conversation}/messages");
        let mut ask = Ask::post(path, token, stamp.body(self.payload));

        ask.key = self
            .keys
            .then(|| format!("{conversation}-{}", stamp.number));
        let answer = self
            .target
            .pool(user)
            .map_err(unsent)?
            .succeed(&ask)
            .await?;
        let accepted: Result<Accepted, _> = serde_json::from_slice(&answer);

        accepted
            .map(|accepted| accepted.seq)
            .map_err(|error| Failure::transport(Fault::Broken, error.to_string()))
    }
}
