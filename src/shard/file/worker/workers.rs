//! The running workers of one shard: starting them, what they tell, and how they end.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ids::Offset;
use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::file::store::Store;
use crate::shard::file::store::retained::Retained;
use crate::shard::file::worker::ends::tell_damage;
use crate::shard::file::worker::kept::Stood;
use crate::shard::file::worker::setup::Setup;
use crate::shard::file::worker::stream::Worker;
use crate::shard::file::worker::trim::Trim;
use crate::shard::replicas::Following;

/// The running workers. Dropping it stops them without finishing.
#[derive(Debug)]
pub(crate) struct Workers {
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
    pub(crate) fn spawn(setup: Setup) -> Self {
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
    pub(crate) fn applied(&self, stream: Stream) -> watch::Receiver<Tail> {
        self.applied[stream].clone()
    }

    /// Durable offsets by stream, as they grow.
    #[must_use]
    pub(crate) fn durable(&self) -> watch::Receiver<PerStream<Offset>> {
        self.durable.clone()
    }

    /// Trimmed offsets by stream, as they grow.
    #[must_use]
    pub(crate) fn trimmed(&self) -> watch::Receiver<PerStream<Offset>> {
        self.trimmed.clone()
    }

    /// What the log had when the shard was opened; to be looked at, not waited for.
    pub(in crate::shard) fn stood(&self) -> watch::Receiver<Stood> {
        self.stood.clone()
    }

    /// Whether they can go on; from `Live` it changes at most once.
    #[must_use]
    pub(crate) fn following(&self) -> watch::Receiver<Following> {
        self.following.subscribe()
    }

    /// Someone waits for this stream: apply now, without the tick.
    pub(crate) fn hurry(&self, stream: Stream) {
        self.hurry[stream].notify_one();
    }

    /// Stops them where they are. Nothing of theirs is on its way to the file afterwards.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        for (_, mut applied) in self.applied {
            while applied.changed().await.is_ok() {}
        }
        // What was handed to the writer before is done when it answers.
        drop(self.store.kept(Stream::Messages).await);
    }

    /// Applies everything committed, checkpoints, stops. At most until `deadline`.
    pub(crate) async fn finish(self, deadline: Instant) {
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
