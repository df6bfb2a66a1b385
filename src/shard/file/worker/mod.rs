//! The workers of a shard: one per stream, from the log to the shard's file, a few milliseconds
//! behind on purpose; beside them the trim of the log.
//!
//! A worker never reads past the committed tail, never skips an entry, and never gives up on one:
//! what the file or the log refuses is tried again until it works. What cannot mend itself (a log
//! that does not link to the file, or was trimmed beyond it; a damaged file) is told by
//! [`Workers::following`]. A log that does not link stops the worker; where no other replica can
//! take over, the shard's reads then answer `lagging`.
//!
//! The same workers keep a standby's file up to date; there nothing is trimmed, and the tails come
//! from the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::ids::{Offset, ShardId};
use crate::log::record::Tail;
use crate::log::{PerStream, ShardLog, Stream, Token};
use crate::shard::file::store::retained::Retained;
use crate::shard::file::store::{Store, StoreError};
use crate::shard::file::worker::stream::Worker;
use crate::shard::file::worker::trim::Trim;
use crate::shard::insync::InSync;
use crate::shard::replicas::Following;

mod feed;

mod stream;

mod trim;

pub use feed::catch_up;
pub(in crate::shard) use feed::unlinked;

/// What a standby reads of the log may for a moment be that of a server which is cut off: only what
/// it reads for so long is taken to be so.
pub(in crate::shard) const PERSISTS: Duration = Duration::from_secs(3);

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct Config {
    /// How far behind a worker stays on purpose, so that it reads several entries at once.
    pub tick: Duration,
    /// Most records of one apply transaction …
    pub records_max: usize,
    /// … and most time spent gathering them.
    pub gather_max: Duration,
    /// Entries stay in the log at least this long after they were applied here …
    pub trim_floor: Duration,
    /// … but not more than this many bytes of durable ones.
    pub trim_floor_bytes: u64,
}

/// What the workers work with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which shard.
    pub shard: ShardId,
    /// Where to read.
    pub log: Arc<dyn ShardLog>,
    /// Where to apply.
    pub store: Store,
    /// How the owner trims the log; `None` on a standby, which trims nothing.
    pub(in crate::shard) trimming: Option<Trimming>,
    /// Committed tails by stream: never read past them.
    pub committed: PerStream<watch::Receiver<Tail>>,
    /// Settings.
    pub config: Config,
}

/// How an owner trims.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Trimming {
    /// Under which token.
    pub(in crate::shard) token: Token,
    /// Not beyond what is durable at those in sync.
    pub(in crate::shard) standbys: Arc<watch::Sender<InSync>>,
    /// Whether they are is a matter of time.
    pub(in crate::shard) clock: Clock,
    /// Bytes of untrimmed log beyond which writes are refused: what is held back for others is a
    /// share of it.
    pub(in crate::shard) bytes_max: u64,
}

/// What the log had of a shard when it was opened, by stream.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::shard) struct Stood {
    /// At least so much was trimmed already.
    pub(in crate::shard) gone: PerStream<Offset>,
    /// Bytes, less what was trimmed of them since.
    pub(in crate::shard) bytes: PerStream<u64>,
}

/// The running workers. Dropping it stops them without finishing.
#[derive(Debug)]
pub struct Workers {
    applied: PerStream<watch::Receiver<Tail>>,
    durable: watch::Receiver<PerStream<Offset>>,
    trimmed: watch::Receiver<PerStream<Offset>>,
    stood: watch::Receiver<Stood>,
    following: Arc<watch::Sender<Following>>,
    hurry: PerStream<Arc<Notify>>,
    finishing: CancellationToken,
    store: Store,
    stop: DropGuard,
}

impl Workers {
    /// Starts them.
    #[must_use]
    pub fn spawn(setup: Setup) -> Self {
        let (stop, finishing) = (CancellationToken::new(), CancellationToken::new());
        let progress = setup.store.progress();
        let (durable, durable_seen) = watch::channel(progress.durable.map(|tail| tail.offset));
        let (trimmed, trimmed_seen) = watch::channel(PerStream::both(Offset(0)));
        let stood = Arc::new(watch::Sender::new(Stood::default()));
        let opened_at = setup
            .committed
            .each_ref()
            .map(|committed| committed.borrow().offset);
        let retained = PerStream::from_fn(|_stream| Arc::new(Mutex::new(Retained::default())));
        let hurry = PerStream::from_fn(|_stream| Arc::new(Notify::new()));
        let following = Arc::new(watch::Sender::new(Following::Live));
        let applied = PerStream::from_fn(|stream| {
            let (applied, seen) = watch::channel(progress.applied[stream]);
            let worker = Worker {
                shard: setup.shard,
                stream,
                log: Arc::clone(&setup.log),
                store: setup.store.clone(),
                config: setup.config.clone(),
                committed: setup.committed[stream].clone(),
                applied,
                hurry: Arc::clone(&hurry[stream]),
                retained: Arc::clone(&retained[stream]),
                stood: Arc::clone(&stood),
                is_owner: setup.trimming.is_some(),
                following: Arc::clone(&following),
                ends_since: None,
                stop: stop.clone(),
                finishing: finishing.clone(),
            };
            tokio::spawn(worker.run());
            seen
        });
        let stood_seen = stood.subscribe();
        let trim = Trim {
            setup: setup.clone(),
            retained,
            durable,
            trimmed,
            stood,
            opened_at,
            stop: stop.clone(),
        };
        tokio::spawn(trim.run());
        let (damaged, told, over) = (setup.store.damaged(), Arc::clone(&following), stop.clone());
        tokio::spawn(async move { over.run_until_cancelled(tell_damage(damaged, &told)).await });
        Self {
            applied,
            durable: durable_seen,
            trimmed: trimmed_seen,
            stood: stood_seen,
            following,
            hurry,
            finishing,
            store: setup.store,
            stop: stop.drop_guard(),
        }
    }

    /// Applied tails of a stream, as they grow.
    #[must_use]
    pub fn applied(&self, stream: Stream) -> watch::Receiver<Tail> {
        self.applied[stream].clone()
    }

    /// Durable offsets by stream, as they grow.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<PerStream<Offset>> {
        self.durable.clone()
    }

    /// Trimmed offsets by stream, as they grow.
    #[must_use]
    pub fn trimmed(&self) -> watch::Receiver<PerStream<Offset>> {
        self.trimmed.clone()
    }

    /// What the log had when the shard was opened; to be looked at, not waited for.
    pub(in crate::shard) fn stood(&self) -> watch::Receiver<Stood> {
        self.stood.clone()
    }

    /// Whether they can go on; from `Live` it changes at most once.
    #[must_use]
    pub fn following(&self) -> watch::Receiver<Following> {
        self.following.subscribe()
    }

    /// Someone waits for this stream: apply now, without the tick.
    pub fn hurry(&self, stream: Stream) {
        self.hurry[stream].notify_one();
    }

    /// Stops them where they are. Nothing of theirs is on its way to the file afterwards.
    pub async fn stop(self) {
        drop(self.stop);
        for (_, mut applied) in self.applied {
            while applied.changed().await.is_ok() {}
        }
        // What was handed to the writer before is done when it answers.
        drop(self.store.kept(Stream::Messages).await);
    }

    /// Applies everything committed, checkpoints, stops. At most until `deadline`.
    pub async fn finish(self, deadline: Instant) {
        self.finishing.cancel();
        let finish = async {
            for (_, mut applied) in self.applied.clone() {
                // The sender goes when its worker ends.
                while applied.changed().await.is_ok() {}
            }
            if let Err(error) = self.store.checkpoint().await {
                tracing::warn!(%error, "last checkpoint failed, the log keeps what it would have made durable");
            }
        };
        if tokio::time::timeout_at(deadline.into(), finish)
            .await
            .is_err()
        {
            tracing::warn!("workers did not finish in time, the rest is applied at the next start");
        }
    }
}

type Kept = Arc<Mutex<Retained>>;

/// The first reason stays.
pub(in crate::shard) fn tell(following: &watch::Sender<Following>, why: Following) {
    following.send_if_modified(|now| {
        let first = *now == Following::Live;
        if first {
            *now = why;
        }
        first
    });
}

/// Damage that any read of the file meets ends its workers, too.
async fn tell_damage(
    mut damaged: watch::Receiver<Option<StoreError>>,
    following: &watch::Sender<Following>,
) {
    let found = damaged
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|found| found.clone());
    if let Some(error) = found {
        tell(following, Following::Damaged(error.to_string()));
    }
}

fn lock(retained: &Kept) -> std::sync::MutexGuard<'_, Retained> {
    // Whoever panicked held only counters.
    retained.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; offsets beyond 2^53 are not reached"
)]
fn gauge(offset: Offset) -> f64 {
    offset.0 as f64
}

#[cfg(test)]
mod tests;
