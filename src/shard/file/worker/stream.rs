//! The worker of one stream: its rounds, its pauses, and why it stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::ids::{Offset, ShardId};
use crate::log::record::{ENTRY_RECORDS_MAX, Tail};
use crate::log::{ShardLog, Stream};
use crate::shard::file::store::{ApplyEntry, Store, StoreError, mark};
use crate::shard::file::worker::ends::{PERSISTS, tell};
use crate::shard::file::worker::feed::{Feed, RoundError};
use crate::shard::file::worker::kept::{Kept, Stood, gauge, lock};
use crate::shard::file::worker::setup::Config;
use crate::shard::replicas::Following;
use crate::telemetry::{
    APPLY_FAILURES, APPLY_STOPPED, SHARD_APPLIED_OFFSET, SHARD_COMMITTED_OFFSET,
};

/// Pauses before something that failed is tried again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));

/// So many records are worth a transaction of their own; fewer wait for further ones …
const RECORDS_ENOUGH: u64 = 64;
/// … for at most so many ticks more, and no longer than this: an owner that applies nothing for 10
/// s is taken for stuck.
const TICKS_MORE: u32 = 9;
const MORE_MAX: Duration = Duration::from_secs(1);

/// Longest wait for the log to say where it begins.
const COUNT_MAX: Duration = Duration::from_secs(1);

/// It.
pub(super) struct Worker {
    pub(super) shard: ShardId,
    pub(super) stream: Stream,
    pub(super) log: Arc<dyn ShardLog>,
    pub(super) store: Store,
    pub(super) config: Config,
    pub(super) committed: watch::Receiver<Tail>,
    pub(super) applied: watch::Sender<Tail>,
    pub(super) hurry: Arc<Notify>,
    pub(super) retained: Kept,
    pub(super) stood: Arc<watch::Sender<Stood>>,
    pub(super) is_owner: bool,
    pub(super) following: Arc<watch::Sender<Following>>,
    /// Since when the log looks as if this standby could not go on.
    pub(super) ends_since: Option<Instant>,
    pub(super) stop: CancellationToken,
    pub(super) finishing: CancellationToken,
}

impl Worker {
    pub(super) async fn run(self) {
        // What happens here is never half done: a round is cut off between its waits only, and an
        // apply that nobody waits for any more still commits whole or not at all.
        let stop = self.stop.clone();
        let _cut_off = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(mut self) {
        self.count().await;
        let mut streak = Streak::default();

        while self.wait().await {
            match self.round().await {
                Ok(()) => self.worked(&mut streak),
                Err(error) => {
                    let ends = self.ends(&error).await;
                    if let Some(following) = &ends {
                        tell(&self.following, following.clone());
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

    /// Counts, as the owner, what stands in the log, of which the file keeps only the newest: it is
    /// trimmed from here on, and counts towards the cap from the beginning. A log that does not
    /// answer is taken to have what the file keeps.
    async fn count(&self) {
        let kept = self.store.kept(self.stream).await;
        let kept = kept.inspect_err(
            |error| tracing::warn!(shard = %self.shard, %error, "kept entries cannot be read"),
        );
        let Ok(mut kept) = kept else { return };
        if !self.is_owner {
            *lock(&self.retained) = kept;
            return;
        }

        let read = self.log.read(self.shard, self.stream, Offset(0), 1);
        let first = tokio::time::timeout(COUNT_MAX, read).await;
        let first = first
            .ok()
            .and_then(Result::ok)
            .and_then(|entries| entries.into_iter().next());
        let mut gone = Offset(0);

        if let Some(first) = first {
            let (applied, since) = (self.applied.borrow().offset, tokio::time::Instant::now());
            kept.begins((first.last, first.bytes.len() as u64), applied, since);
            // Where it begins itself, only its content tells.
            gone = Offset(first.last.0.saturating_sub(ENTRY_RECORDS_MAX as u64));
        }

        let bytes = kept.bytes_above(Offset(0));
        *lock(&self.retained) = kept;
        self.stood.send_modify(|stood| {
            (stood.gone[self.stream], stood.bytes[self.stream]) = (gone, bytes);
        });
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
        let Ok(Some(control)) = self.log.control(self.shard).await else {
            return false;
        };
        let entries = self.log.read(self.shard, self.stream, applied, 1).await;
        control.tails[self.stream].offset > applied
            && entries.is_ok_and(|entries| entries.is_empty())
    }

    /// Up to where entries are applied.
    fn bound(&mut self) -> Tail {
        *self.committed.borrow_and_update()
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let upto = self.bound();
        let from = *self.applied.borrow();
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

    /// Waits until there is something to apply, and then until it is enough for a transaction,
    /// unless someone hurries. False when all is done.
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

        let (hurry, finishing) = (Arc::clone(&self.hurry), self.finishing.clone());
        tokio::select! {
            () = finishing.cancelled() => {}
            () = hurry.notified() => {}
            () = self.gather(applied) => {}
        }
        true
    }

    /// A tick, and further ones as long as little has come: a transaction costs much the same for
    /// one record as for many, and whoever needs a row hurries.
    async fn gather(&mut self, applied: Offset) {
        let tick = self.config.tick;
        tokio::time::sleep(tick).await;
        let enough = RECORDS_ENOUGH.min(self.config.records_max as u64);
        let is_enough = |tail: &Tail| tail.offset.0.saturating_sub(applied.0) >= enough;
        // Enough, or the longest wait is over, or the owner has ended.
        let more = (tick * TICKS_MORE).min(MORE_MAX);
        drop(tokio::time::timeout(more, self.committed.wait_for(is_enough)).await);
    }

    fn note(&self, tail: Tail, upto: Tail, entries: &[ApplyEntry]) {
        {
            let mut retained = lock(&self.retained);
            for entry in entries {
                retained.push(mark(&entry.entry, &entry.bytes));
            }
        }
        if self.is_owner {
            let shard = self.shard.0.to_string();
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
        APPLY_FAILURES.add(
            1,
            &[("stream", self.stream.as_str()), ("cause", error.cause())],
        );
        if streak.is_first() {
            self.tell_first(error);
        }
        // A log that is away comes back, and has alerts of its own; a disk does not mend itself.
        if matches!(error, RoundError::Store(_)) && streak.persists() {
            let stream = self.stream.as_str();
            tracing::error!(shard = %self.shard, stream, %error, "applying fails on and on: look at the disk");
        }
        tokio::time::sleep(streak.pause()).await;
    }

    /// Tells the first failure of a streak.
    fn tell_first(&self, error: &RoundError) {
        let (stream, cause) = (self.stream.as_str(), error.cause());
        if matches!(error, RoundError::Store(StoreError::Full(_))) {
            tracing::warn!(shard = %self.shard, stream, %error, "the disk has no space for the file; applying waits for some");
        } else {
            tracing::warn!(shard = %self.shard, stream, cause, %error, "applying failed, trying again until it works");
        }
    }

    /// A standby can follow no longer.
    fn ended(&self, error: &RoundError) {
        let (stream, applied) = (self.stream.as_str(), self.applied.borrow().offset);
        tracing::info!(shard = %self.shard, stream, %applied, %error, "this standby no longer follows the log");
    }

    /// The log does not link to the file. Keeps the applied tail where it is, for those who wait
    /// for it. Where another replica can go on, that ends this worker at once; else nothing will,
    /// and a person must look.
    async fn stopped(&self, error: &RoundError) {
        let (stream, applied) = (self.stream.as_str(), self.applied.borrow().offset);
        tracing::warn!(shard = %self.shard, stream, %applied, %error, "the log does not link to the file");
        if tokio::time::timeout(PERSISTS, self.finishing.cancelled())
            .await
            .is_ok()
        {
            return;
        }
        APPLY_STOPPED.add(1, &[("stream", stream)]);
        tracing::error!(shard = %self.shard, stream, %applied, %error, "the log does not link to the file, worker stopped");
        self.finishing.cancelled().await;
    }
}

/// Failures in a row: one line in the log, and one more when they go on; longer and longer pauses.
#[derive(Debug, Default)]
struct Streak(u32);

/// So many failures in a row take about a minute.
const PERSISTENT: u32 = 36;

impl Streak {
    fn is_first(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == 1
    }

    /// Once in a streak.
    fn persists(&self) -> bool {
        self.0 == PERSISTENT
    }

    fn pause(&self) -> Duration {
        BACKOFF.after(self.0.max(1))
    }

    fn end(&mut self) -> bool {
        std::mem::take(&mut self.0) > 0
    }
}
