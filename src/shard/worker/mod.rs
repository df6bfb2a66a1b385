//! The workers of a shard: one per stream, from the log to the shard's file, a few milliseconds behind on purpose; beside
//! them the trim of the log.
//!
//! A worker never reads past the committed tail, never skips an entry, and never gives up on one: what the file or the
//! log refuses is tried again until it works. What cannot mend itself (a log that does not link to the file, or was trimmed
//! beyond it; a damaged file) is told by [`Workers::following`]. A log that does not link stops the worker; where no other
//! replica can take over, the shard's reads then answer `lagging`.
//!
//! The same workers keep a standby's file up to date; there nothing is trimmed, and the tails come from the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::ids::{Offset, ShardId};
use crate::shard::insync::InSync;
use crate::shard::log::record::Tail;
use crate::shard::log::{ShardLog, Stream, Token};
use crate::shard::replicas::Following;
use crate::shard::store::retained::Retained;
use crate::shard::store::{ApplyEntry, Store, mark};
use crate::shard::worker::feed::{Feed, RoundError};
use crate::shard::worker::trim::Trim;
use crate::telemetry::{APPLY_FAILURES, APPLY_STOPPED, SHARD_APPLIED_OFFSET, SHARD_COMMITTED_OFFSET};

mod feed;

mod trim;

pub use feed::catch_up;
pub(super) use feed::unlinked;

/// What a standby reads of the log may for a moment be that of a server which is cut off: only what it reads for so long is
/// taken to be so.
pub(super) const PERSISTS: Duration = Duration::from_secs(3);
/// First and longest pause before something that failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Settings of the workers.
#[derive(Debug, Clone)]
pub struct Config {
    /// How far behind a worker stays on purpose, so that it reads several entries at once.
    pub tick: Duration,
    /// Most records of one apply transaction …
    pub records_max: usize,
    /// … and most time spent gathering them.
    pub gather_max: Duration,
    /// Entries stay in the log at least this long (by record time) …
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
    pub(super) trimming: Option<Trimming>,
    /// Committed tails by stream: never read past them.
    pub committed: [watch::Receiver<Tail>; 2],
    /// Settings.
    pub config: Config,
}

/// How an owner trims.
#[derive(Debug, Clone)]
pub(super) struct Trimming {
    /// Under which token.
    pub(super) token: Token,
    /// Not beyond what is durable at those in sync.
    pub(super) standbys: Arc<watch::Sender<InSync>>,
    /// Whether they are is a matter of time.
    pub(super) clock: Clock,
}

/// The running workers. Dropping it stops them without finishing.
#[derive(Debug)]
pub struct Workers {
    applied: [watch::Receiver<Tail>; 2],
    durable: watch::Receiver<[Offset; 2]>,
    trimmed: watch::Receiver<[Offset; 2]>,
    following: Arc<watch::Sender<Following>>,
    hurry: [Arc<Notify>; 2],
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
        let (trimmed, trimmed_seen) = watch::channel([Offset(0); 2]);
        let retained = Stream::BOTH.map(|_| Arc::new(Mutex::new(Retained::default())));
        let hurry = Stream::BOTH.map(|_| Arc::new(Notify::new()));
        let following = Arc::new(watch::Sender::new(Following::Live));
        let [messages, receipts] = Stream::BOTH;
        let [of_messages, of_receipts] = &setup.committed;
        let start =
            |stream: Stream, committed: &watch::Receiver<Tail>, at: Tail, hurried: &Arc<Notify>, kept: &Kept| {
                let (applied, seen) = watch::channel(at);
                let worker = Worker {
                    shard: setup.shard,
                    stream,
                    log: Arc::clone(&setup.log),
                    store: setup.store.clone(),
                    config: setup.config.clone(),
                    committed: committed.clone(),
                    applied,
                    hurry: Arc::clone(hurried),
                    retained: Arc::clone(kept),
                    is_owner: setup.trimming.is_some(),
                    following: Arc::clone(&following),
                    ends_since: None,
                    stop: stop.clone(),
                    finishing: finishing.clone(),
                };
                tokio::spawn(worker.run());
                seen
            };
        let applied = [
            start(messages, of_messages, progress.applied[0], &hurry[0], &retained[0]),
            start(receipts, of_receipts, progress.applied[1], &hurry[1], &retained[1]),
        ];
        let trim = Trim { setup: setup.clone(), retained, durable, trimmed, stop: stop.clone() };
        tokio::spawn(trim.run());
        Self {
            applied,
            durable: durable_seen,
            trimmed: trimmed_seen,
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
        let [messages, receipts] = &self.applied;
        if stream == Stream::Messages { messages.clone() } else { receipts.clone() }
    }

    /// Durable offsets by stream, as they grow.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<[Offset; 2]> {
        self.durable.clone()
    }

    /// Trimmed offsets by stream, as they grow.
    #[must_use]
    pub fn trimmed(&self) -> watch::Receiver<[Offset; 2]> {
        self.trimmed.clone()
    }

    /// Whether they can go on; from `Live` it changes at most once.
    #[must_use]
    pub fn following(&self) -> watch::Receiver<Following> {
        self.following.subscribe()
    }

    /// Someone waits for this stream: apply now, without the tick.
    pub fn hurry(&self, stream: Stream) {
        let [messages, receipts] = &self.hurry;
        if stream == Stream::Messages { messages.notify_one() } else { receipts.notify_one() }
    }

    /// Stops them where they are. Nothing of theirs is on its way to the file afterwards.
    pub async fn stop(self) {
        drop(self.stop);
        for mut applied in self.applied {
            while applied.changed().await.is_ok() {}
        }
        // What was handed to the writer before is done when it answers.
        drop(self.store.kept(Stream::Messages).await);
    }

    /// Applies everything committed, checkpoints, stops. At most until `deadline`.
    pub async fn finish(self, deadline: Instant) {
        self.finishing.cancel();
        let finish = async {
            for mut applied in self.applied.clone() {
                // The sender goes when its worker ends.
                while applied.changed().await.is_ok() {}
            }
            if let Err(error) = self.store.checkpoint().await {
                tracing::warn!(%error, "last checkpoint failed, the log keeps what it would have made durable");
            }
        };
        if tokio::time::timeout_at(deadline.into(), finish).await.is_err() {
            tracing::warn!("workers did not finish in time, the rest is applied at the next start");
        }
    }
}

type Kept = Arc<Mutex<Retained>>;

struct Worker {
    shard: ShardId,
    stream: Stream,
    log: Arc<dyn ShardLog>,
    store: Store,
    config: Config,
    committed: watch::Receiver<Tail>,
    applied: watch::Sender<Tail>,
    hurry: Arc<Notify>,
    retained: Kept,
    is_owner: bool,
    following: Arc<watch::Sender<Following>>,
    /// Since when the log looks as if this standby could not go on.
    ends_since: Option<Instant>,
    stop: CancellationToken,
    finishing: CancellationToken,
}

impl Worker {
    async fn run(self) {
        // What happens here is never half done: a round is cut off between its waits only, and an apply that nobody
        // waits for any more still commits whole or not at all.
        let stop = self.stop.clone();
        let _cut_off = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(mut self) {
        match self.store.kept(self.stream).await {
            Ok(kept) => *lock(&self.retained) = kept,
            Err(error) => tracing::warn!(shard = %self.shard, %error, "kept entries cannot be read"),
        }
        let mut streak = Streak::default();
        while self.wait().await {
            match self.round().await {
                Ok(()) => self.worked(&mut streak),
                Err(error) => {
                    let ends = self.ends(&error).await;
                    if let Some(following) = &ends {
                        self.following.send_if_modified(|now| {
                            let first = *now == Following::Live;
                            if first {
                                now.clone_from(following);
                            }
                            first
                        });
                    }
                    match error {
                        // Its supervisor knows what to do.
                        _ if ends.is_some() && !self.is_owner => return self.ended(&error),
                        RoundError::Entry(_) | RoundError::Otherwise(_) if self.is_owner => {
                            return self.stopped(&error).await;
                        }
                        error => self.failed(&error, &mut streak).await,
                    }
                }
            }
        }
    }

    /// What an error says of the file, when trying again will not help.
    async fn ends(&mut self, error: &RoundError) -> Option<Following> {
        if self.is_owner || matches!(error, RoundError::Store(_)) {
            return error.ends();
        }
        let is_by_log = matches!(error, RoundError::Missing { .. } | RoundError::Entry(_));
        if !is_by_log {
            self.ends_since = None;
            return None;
        }
        if self.ends_since.get_or_insert_with(Instant::now).elapsed() < PERSISTS {
            return None;
        }
        match error {
            RoundError::Missing { .. } => self.is_missing().await.then_some(Following::Behind),
            error => error.ends(),
        }
    }

    /// Looks again: the log ends behind the file, and has nothing in between.
    async fn is_missing(&self) -> bool {
        let applied = self.applied.borrow().offset;
        let Ok(Some(control)) = self.log.control(self.shard).await else { return false };
        let entries = self.log.read(self.shard, self.stream, applied, 1).await;
        control.tail(self.stream).offset > applied && entries.is_ok_and(|entries| entries.is_empty())
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let from = *self.applied.borrow();
        let upto = *self.committed.borrow_and_update();
        if upto.offset <= from.offset {
            // The log fell back meanwhile, behind a standby.
            return Ok(());
        }
        let feed = Feed {
            shard: self.shard,
            stream: self.stream,
            log: self.log.as_ref(),
            store: &self.store,
            config: &self.config,
        };
        let (tail, entries) = feed.round(from, upto).await?;
        self.note(tail, upto, &entries);
        Ok(())
    }

    /// Waits until there is something to apply, and the tick unless someone hurries. False when all is done.
    async fn wait(&mut self) -> bool {
        let applied = self.applied.borrow().offset;
        let is_ahead = |tail: &Tail| tail.offset > applied;
        if !is_ahead(&self.committed.borrow()) {
            let ahead = tokio::select! {
                biased;
                ahead = self.committed.wait_for(is_ahead) => ahead.is_ok(),
                () = self.finishing.cancelled() => false,
            };
            if !ahead {
                return is_ahead(&self.committed.borrow());
            }
        }
        let behind = self.committed.borrow().offset.0.saturating_sub(applied.0);
        if behind >= self.config.records_max as u64 {
            return true;
        }
        tokio::select! {
            () = self.finishing.cancelled() => {}
            () = self.hurry.notified() => {}
            () = tokio::time::sleep(self.config.tick) => {}
        }
        true
    }

    fn note(&self, tail: Tail, upto: Tail, entries: &[ApplyEntry]) {
        {
            let mut retained = lock(&self.retained);
            for entry in entries {
                retained.push(mark(&entry.entry, &entry.bytes));
            }
        }
        if self.is_owner {
            let shard = self.shard.to_string();
            let labels = [("shard", shard.as_str()), ("stream", self.stream.as_str())];
            SHARD_COMMITTED_OFFSET.set(gauge(upto.offset), &labels);
            SHARD_APPLIED_OFFSET.set(gauge(tail.offset), &labels);
        }
        self.applied.send_replace(tail);
    }

    fn worked(&mut self, streak: &mut Streak) {
        self.ends_since = None;
        if streak.end() {
            tracing::info!(shard = %self.shard, stream = self.stream.as_str(), "applying again");
        }
    }

    async fn failed(&self, error: &RoundError, streak: &mut Streak) {
        APPLY_FAILURES.add(1, &[("stream", self.stream.as_str()), ("cause", error.cause())]);
        if streak.is_first() {
            let (stream, cause) = (self.stream.as_str(), error.cause());
            tracing::error!(shard = %self.shard, stream, cause, %error, "applying failed, trying again until it works");
        }
        tokio::time::sleep(streak.pause()).await;
    }

    /// A standby can follow no longer.
    fn ended(&self, error: &RoundError) {
        let (stream, applied) = (self.stream.as_str(), self.applied.borrow().offset);
        APPLY_STOPPED.add(1, &[("stream", stream)]);
        tracing::error!(shard = %self.shard, stream, %applied, %error, "this standby no longer follows the log");
    }

    /// The log does not link to the file. Keeps the applied tail where it is, for those who wait for it.
    async fn stopped(&self, error: &RoundError) {
        let stream = self.stream.as_str();
        APPLY_STOPPED.add(1, &[("stream", stream)]);
        let applied = self.applied.borrow().offset;
        tracing::error!(shard = %self.shard, stream, %applied, %error, "the log does not link to the file, worker stopped");
        self.finishing.cancelled().await;
    }
}

/// Failures in a row: one line in the log, longer and longer pauses.
#[derive(Debug, Default)]
struct Streak(u32);

impl Streak {
    fn is_first(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == 1
    }

    fn pause(&self) -> Duration {
        let (first, longest) = RETRY;
        longest.min(first * 2_u32.saturating_pow(self.0.saturating_sub(1).min(10)))
    }

    fn end(&mut self) -> bool {
        std::mem::take(&mut self.0) > 0
    }
}

fn lock(retained: &Kept) -> std::sync::MutexGuard<'_, Retained> {
    // Whoever panicked held only counters.
    retained.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; offsets beyond 2^53 are not reached")]
fn gauge(offset: Offset) -> f64 {
    offset.0 as f64
}

#[cfg(test)]
mod tests;
