//! The trim of the log: behind what is durable in the file, and not what is young.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ids::Offset;
use crate::shard::log::Stream;
use crate::shard::worker::{Kept, Setup, gauge, lock};
use crate::telemetry::{SHARD_DURABLE_OFFSET, TRIMS};

/// Entries of one trim.
const TRIM_STEP: usize = 256;

/// Publishes what is durable, and trims the log behind it.
pub(super) struct Trim {
    pub(super) setup: Setup,
    pub(super) retained: [Kept; 2],
    pub(super) durable: watch::Sender<[Offset; 2]>,
    pub(super) trimmed: watch::Sender<[Offset; 2]>,
    pub(super) stop: CancellationToken,
}

impl Trim {
    pub(super) async fn run(self) {
        let stop = self.stop.clone();
        let _cut_off = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(self) {
        let mut progress = self.setup.store.watch_progress();
        let mut seen = None;
        loop {
            let durable = progress.borrow_and_update().durable.map(|tail| tail.offset);
            if seen.replace(durable) != Some(durable) {
                self.durable.send_replace(durable);
                for ((stream, retained), offset) in Stream::BOTH.into_iter().zip(&self.retained).zip(durable) {
                    self.trim(stream, retained, offset).await;
                }
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Trims one stream as far as its durable offset and the floor allow.
    pub(super) async fn trim(&self, stream: Stream, retained: &Kept, durable: Offset) {
        let (setup, config) = (&self.setup, &self.setup.config);
        let shard = setup.shard.to_string();
        SHARD_DURABLE_OFFSET.set(gauge(durable), &[("shard", &shard), ("stream", stream.as_str())]);
        loop {
            let upto = { lock(retained).releasable(durable, config.trim_floor, config.trim_floor_bytes, TRIM_STEP) };
            let Some(upto) = upto else { return };
            let done = setup.log.trim(setup.shard, setup.token, stream, upto).await;
            let result = if done.is_ok() { "done" } else { "failed" };
            TRIMS.add(1, &[("stream", stream.as_str()), ("result", result)]);
            if let Err(error) = done {
                // Nothing is lost: the same entries are due again after the next checkpoint.
                tracing::warn!(shard = %setup.shard, stream = stream.as_str(), %error, "trim failed");
                return;
            }
            lock(retained).release(upto);
            self.trimmed.send_modify(|trimmed| {
                if let Some(slot) = trimmed.get_mut(stream.index()) {
                    *slot = upto;
                }
            });
        }
    }
}
