//! When rounds of renewals are made, and on which thread: only while the runtime of the node moves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cluster::table::reach::Reach;
use crate::node::context::{Life, Renewing, Setup};
use crate::node::custody::renewal::rounds::Rounds;
use crate::node::custody::shards::Shards;
use crate::watchdog::Watchdog;

/// A renewal, or the question before it, that is not answered within this part of the watch time is
/// given up: the next one is due long before the lease ends.
const ANSWER_PART: u32 = 4;

/// A runtime that gave no beat for this part of the watch time makes no progress.
const SILENCE_PART: u32 = 2;

/// The renewals of a node.
#[derive(Debug)]
pub(in crate::node) struct Renewals {
    rounds: Rounds,
    every: Duration,
    watchdog: Watchdog,
    /// The runtime may be without a beat for so long.
    silence_max: Duration,
    standing_still: bool,
}

impl Renewals {
    /// `None` where nobody else can take a shard.
    pub(in crate::node) fn of(setup: &Setup, shards: Shards, reach: Arc<Reach>) -> Option<Self> {
        let config = &setup.config.shard;
        let watch = config.takeover_watch?;

        Some(Self {
            rounds: Rounds {
                node: setup.id.clone(),
                log: Arc::clone(&setup.log),
                by: Arc::clone(&setup.log),
                clock: setup.clock.clone(),
                shards,
                reach,
                answer_max: watch / ANSWER_PART,
                failing: false,
            },
            every: config.renew_every,
            watchdog: setup.watchdog.clone(),
            silence_max: watch / SILENCE_PART,
            standing_still: false,
        })
    }

    /// Renews until the node ends: on a thread of its own if there is a log for that, else beside
    /// everything else.
    ///
    /// # Errors
    /// One clear line: there can be no thread.
    pub(in crate::node) fn spawn(self, setup: &Setup, life: &Life) -> Result<(), String> {
        match &setup.renewing {
            Some(renewing) => self.on_a_thread(Arc::clone(renewing), life.all.clone()),
            None => {
                life.spawn(self.run());
                Ok(())
            }
        }
    }

    fn on_a_thread(mut self, renewing: Renewing, stop: CancellationToken) -> Result<(), String> {
        let node = self.rounds.node.clone();
        let failed =
            move |error: std::io::Error| format!("{node}: no thread for renewals: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(&failed)?;
        let run = move || {
            runtime.block_on(async move {
                // Made here: its connections belong to this runtime.
                self.rounds.by = renewing();
                stop.run_until_cancelled(self.run()).await
            })
        };

        std::thread::Builder::new()
            .name("renewals".to_owned())
            .spawn(run)
            .map(drop)
            .map_err(failed)
    }

    /// Renews for ever.
    async fn run(mut self) {
        let mut every = tokio::time::interval(self.every.max(Duration::from_millis(1)));
        // What was missed is of no use.
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if self.moves() {
                self.rounds.go().await;
            }
        }
    }

    /// Whether the runtime that serves the shards moves; told when that changes.
    fn moves(&mut self) -> bool {
        let silent = self.watchdog.silent();
        let stands = silent > self.silence_max;
        if std::mem::replace(&mut self.standing_still, stands) != stands {
            let node = &self.rounds.node;
            if stands {
                tracing::warn!(%node, ?silent, "the loops of this node stand still; its leases are not renewed");
            } else {
                tracing::info!(%node, "the loops of this node move again");
            }
        }
        !stands
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::log::ShardLog;
    use crate::node::custody::renewal::rounds::{Bench, beat};

    async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so().await {
            assert!(Instant::now() < end, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_thread_renews_while_the_runtime_is_busy_and_not_while_it_stands_still() {
        let bench = Bench::new().await;
        // A runtime of its own, which the test can hold up.
        let served = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (wedge, wedged) = std::sync::mpsc::channel::<()>();

        let (tell, told) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            served.block_on(async {
                drop(tell.send(Watchdog::spawn(CancellationToken::new())));
                // Busy: long stretches without a pause, though none as long as the time-out.
                while wedged.try_recv().is_err() {
                    let end = Instant::now() + Duration::from_millis(20);
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                wedged.recv().ok();
            });
        });

        let watchdog = told.recv().expect("begun");
        let inner = Arc::clone(&bench.log.inner);
        let silence_max = Duration::from_secs(2);
        let renewals = Renewals {
            rounds: bench.rounds,
            every: Duration::from_millis(1),
            watchdog: watchdog.clone(),
            silence_max,
            standing_still: false,
        };

        let (by, stop) = (
            Arc::clone(&bench.log) as Arc<dyn ShardLog>,
            CancellationToken::new(),
        );
        renewals
            .on_a_thread(Arc::new(move || Arc::clone(&by)), stop.clone())
            .expect("a thread");
        let before = beat(&inner).await;

        until("renewed though busy", async || {
            beat(&inner).await > before + 20
        })
        .await;

        wedge.send(()).expect("it runs");
        until("stands still", async || watchdog.silent() > silence_max * 2).await;

        let after = beat(&inner).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            beat(&inner).await,
            after,
            "a node that stands still renews nothing"
        );

        stop.cancel();
        wedge.send(()).expect("it waits");
        serving.join().expect("ends");
    }
}
