//! The trim of the log: behind what is durable here and at the standbys in sync, and not what is
//! young.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ids::Offset;
use crate::log::{PerStream, Stream};
use crate::shard::file::worker::kept::{Kept, Stood, gauge, lock};
use crate::shard::file::worker::setup::{Setup, Trimming};
use crate::shard::insync::{Bounds, InSync};
use crate::telemetry::{SHARD_DURABLE_OFFSET, TRIMS};

/// Entries of one trim.
const TRIM_STEP: usize = 256;

/// Of the cap of the log's bytes, in each of the two streams: what the floor may keep of durable
/// ones at most, so that it never fills the log by itself.
const FLOOR_PART: u64 = 4;

/// After how long what was too young is looked at again, though nothing else changed.
const AGED_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether a standby fell silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Publishes what is durable, and trims the log behind it.
pub(super) struct Trim {
    pub(super) setup: Setup,
    pub(super) retained: PerStream<Kept>,
    pub(super) durable: watch::Sender<PerStream<Offset>>,
    pub(super) trimmed: watch::Sender<PerStream<Offset>>,
    pub(super) stood: Arc<watch::Sender<Stood>>,
    /// Where the streams ended when the shard was opened.
    pub(super) opened_at: PerStream<Offset>,
    pub(super) stop: CancellationToken,
}

impl Trim {
    pub(super) async fn run(self) {
        let stop = self.stop.clone();
        let _cut_off = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(self) {
        let mut progress = self.setup.store.watch_progress();
        let mut standbys = self
            .setup
            .trimming
            .as_ref()
            .map(|trimming| trimming.standbys.subscribe());
        let (mut trimmed_behind, mut aged_at) = (None, None);

        loop {
            let at = *progress.borrow_and_update();
            let durable = at.durable.map(|tail| tail.offset);
            self.durable
                .send_if_modified(|known| std::mem::replace(known, durable) != durable);
            if let Some(trimming) = &self.setup.trimming {
                let point = self.point(trimming, durable);
                let aged = aged_at.is_some_and(|due| due <= Instant::now());
                if trimmed_behind.replace((durable, point)) != Some((durable, point)) || aged {
                    let mut young = false;
                    for (stream, upto) in point {
                        young |= self.trim(trimming, stream, upto).await;
                    }
                    // What was deleted leaves the log though nothing is written any more.
                    aged_at = young.then(|| Instant::now() + AGED_EVERY);
                }
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = reported(&mut standbys) => {}
            }
        }
    }

    /// How far the log may be trimmed.
    fn point(&self, trimming: &Trimming, durable: PerStream<Offset>) -> PerStream<Offset> {
        for (stream, on_disk) in durable {
            let shard = self.setup.shard.0.to_string();
            SHARD_DURABLE_OFFSET.set(
                gauge(on_disk),
                &[("shard", &shard), ("stream", stream.as_str())],
            );
        }
        let bounds = self.bounds(trimming);

        // Nobody is woken: this is asked whenever something changed, and once a second.
        trimming.standbys.send_if_modified(|standbys| {
            standbys.bound(bounds);
            false
        });

        let committed = self
            .setup
            .committed
            .each_ref()
            .map(|tail| tail.borrow().offset);
        trimming
            .standbys
            .borrow()
            .trim_point(durable, committed, trimming.clock.since_boot())
    }

    /// From where on the log may be held back at most.
    fn bounds(&self, trimming: &Trimming) -> Bounds {
        let [standbys, seeds] = Bounds::shares(trimming.bytes_max);
        let behind = |share: u64| {
            self.retained
                .each_ref()
                .map(|retained| lock(retained).bound(share))
        };
        let (trimmed, of_opening) = (*self.trimmed.borrow(), self.stood.borrow().gone);
        let gone = trimmed
            .zip(of_opening)
            .map(|(trimmed, gone)| trimmed.max(gone));
        Bounds {
            gone,
            standbys: behind(standbys),
            seeds: behind(seeds),
        }
    }

    /// Trims one stream as far as what is durable and the floor allow. Whether the floor keeps some
    /// of what is durable.
    pub(super) async fn trim(&self, trimming: &Trimming, stream: Stream, point: Offset) -> bool {
        let (setup, config, retained) = (&self.setup, &self.setup.config, &self.retained[stream]);
        let floor_bytes = config.trim_floor_bytes.min(trimming.bytes_max / FLOOR_PART);

        loop {
            let floor = (Instant::now(), config.trim_floor);
            let upto = { lock(retained).releasable(point, floor, floor_bytes, TRIM_STEP) };
            let Some(upto) = upto else {
                return lock(retained).has_upto(point);
            };
            let done = setup
                .log
                .trim(setup.shard, trimming.token, stream, upto)
                .await;
            let result = if done.is_ok() { "done" } else { "failed" };
            TRIMS.add(1, &[("stream", stream.as_str()), ("result", result)]);
            if let Err(error) = done {
                // Nothing is lost: the same entries are due again after the next checkpoint.
                tracing::warn!(shard = %setup.shard, stream = stream.as_str(), %error, "trim failed");
                return false;
            }
            let left = {
                let mut retained = lock(retained);
                retained.release(upto);
                retained.bytes_upto(self.opened_at[stream])
            };
            self.stood
                .send_modify(|stood| stood.bytes[stream] = left.min(stood.bytes[stream]));
            self.trimmed.send_modify(|trimmed| trimmed[stream] = upto);
        }
    }
}

/// Until a standby reported, or it is time to look whether one fell silent; for ever on a standby.
async fn reported(standbys: &mut Option<watch::Receiver<InSync>>) {
    let Some(standbys) = standbys else {
        return std::future::pending().await;
    };
    if tokio::time::timeout(LOOK_EVERY, standbys.changed())
        .await
        .is_ok_and(|changed| changed.is_err())
    {
        std::future::pending::<()>().await;
    }
}
