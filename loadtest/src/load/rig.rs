//! Everything that a run of load needs, put together: a target, a workload on it, sessions that
//! listen, a sender.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::load::ledger::Ledger;
use crate::load::listener::Listeners;
use crate::load::mix::actions::Actions;
use crate::load::options::{LoadOptions, allow_files};
use crate::load::pacer::{Driven, Pacer};
use crate::load::recorder::Recorder;
use crate::load::run::Run;
use crate::load::sampler::{Sampler, Views};
use crate::load::schedule::Schedule;
use crate::load::sender::Sender;
use crate::load::snapshot::{Snapshot, wait_for_lag};
use crate::load::workload::Workload;
use crate::progress::Progress;
use crate::report::Settings;
use crate::report::figures::{self, Latency, Load, Sends, float};
use crate::target::Target;
use crate::target::metrics::Scraper;

/// A pause in deliveries of this length means that no more will come.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// All of it.
pub(crate) struct Rig {
    pub(super) target: Arc<Target>,
    pub(super) workload: Arc<Workload>,
    recorder: Arc<Recorder>,
    pub(super) ledger: Arc<Ledger>,
    sender: Arc<Sender>,
    pub(super) listeners: Listeners,
    scraper: Arc<Scraper>,
    pub(super) sampler: Sampler,
    pub(super) options: LoadOptions,
    timeout: Duration,
    /// What makes the figures doubtful.
    pub(crate) warnings: Vec<String>,
}

impl Rig {
    /// Creates the conversations and opens the sockets.
    pub(crate) async fn start(
        target: Target,
        options: &LoadOptions,
        settings: &Settings,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let narrow = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
        if options.mix.is_some() && !target.protocol.has_seqs() {
            return Err("--mix is for Rookery alone: leave it or --peer out".to_owned());
        }
        allow_files(settings.online + settings.in_flight_max)?;

        let (users, online) = (narrow(settings.users)?, narrow(settings.online)?);
        let each = narrow(settings.conversations)?;
        let name = run_name()?;
        let mut workload = Workload::plan(
            &name,
            (users, online),
            (&options.members, each),
            options.seed,
        );

        progress.say(&format!(
            "creating {} conversations",
            workload.conversations.len()
        ));

        workload.create(&target).await?;
        let (target, workload) = (Arc::new(target), Arc::new(workload));
        let begun = Instant::now();
        let recorder = Arc::new(Recorder::new(begun, workload.sizes.len())?);
        progress.say(&format!("opening {online} sockets"));

        let listeners = Listeners::open(&target, &workload, &recorder).await?;
        let ledger = Arc::new(Ledger::new(workload.conversations.len()));
        let run = Run {
            target: Arc::clone(&target),
            workload: Arc::clone(&workload),
            recorder: Arc::clone(&recorder),
            ledger: Arc::clone(&ledger),
        };
        let sender = sender(run, options, (begun, stop), &listeners)?;

        let scraper = Arc::new(Scraper::new(&target));
        let sampler = Sampler::start(Views {
            recorder: Arc::clone(&recorder),
            pacer: Some(Arc::clone(&sender.pacer)),
            live: Some(Arc::clone(&listeners.live)),
            scraper: Arc::clone(&scraper),
            progress: Arc::clone(progress),
        });

        Ok(Self {
            target,
            workload,
            recorder,
            ledger,
            sender,
            listeners,
            scraper,
            sampler,
            options: options.clone(),
            timeout: Duration::from_secs_f64(settings.timeout_s),
            warnings: Vec::new(),
        })
    }

    /// Sends at this rate without measuring.
    pub(crate) async fn warm_up(&self, rate: f64) -> Result<(), String> {
        self.sampler.due(rate);
        let schedule = Schedule::new(
            rate,
            self.options.warm_up,
            self.options.spacing,
            self.options.seed ^ 1,
        );
        let from_us = self.recorder.now_us();
        self.drive(from_us, (rate, self.options.warm_up), schedule)
            .await?;
        Ok(())
    }

    /// Sends by the schedule, and does what people do beside it.
    async fn drive(
        &self,
        from_us: u64,
        (rate, length): (f64, Duration),
        schedule: Schedule,
    ) -> Result<Driven, String> {
        let sending = self.sender.drive(from_us, schedule, self.timeout);
        let Some(actions) = &self.sender.actions else {
            return sending.await;
        };

        let seed = self.options.seed ^ actions.number.load(Ordering::Relaxed) ^ 3;
        let rate = rate * actions.mix.for_each_message();
        let beside = Schedule::new(rate, length, self.options.spacing, seed);
        let acting = actions.drive(from_us, beside, self.timeout);
        let (driven, ()) = tokio::try_join!(sending, acting)?;
        Ok(driven)
    }

    /// Waits until what is in flight is done: a request ends with its timeout, and a little more.
    async fn settle(&self) {
        let patience = self.timeout + Duration::from_secs(1);
        self.sender.pacer.settle(patience).await;
        if let Some(actions) = &self.sender.actions {
            actions.pacer.settle(patience).await;
        }
    }

    /// Sends at this rate for so long and waits until all is answered and delivered; what was
    /// measured.
    pub(crate) async fn measure(&mut self, rate: f64, length: Duration) -> Result<Load, String> {
        self.sampler.due(rate);
        let from_us = self.recorder.now_us();
        self.recorder.measure_from(from_us)?;
        if let Some(actions) = &self.sender.actions {
            actions.counts.begin();
        }

        let (scraper, redis) = (Arc::clone(&self.scraper), self.target.redis.clone());
        let before = tokio::spawn(async move { Snapshot::take(&scraper, &redis).await });

        // Another stretch has other chance, for the same seed always the same.
        let seed = self
            .options
            .seed
            .wrapping_add(self.sender.number.load(Ordering::Relaxed).wrapping_mul(2));
        let schedule = Schedule::new(rate, length, self.options.spacing, seed);
        let driven = self.drive(from_us, (rate, length), schedule).await?;
        self.sampler.due(0.0);
        self.settle().await;
        self.listeners
            .wait_for(self.deliveries_expected(), QUIET, self.options.patience)
            .await;
        let (after, warnings) = Snapshot::take(&self.scraper, &self.target.redis).await;

        self.warnings.extend(warnings);
        let (before, earlier) = before.await.map_err(|error| error.to_string())?;
        self.warnings.extend(earlier);
        self.load(driven, (from_us, length), &before, &after).await
    }

    async fn load(
        &self,
        driven: Driven,
        (from_us, length): (u64, Duration),
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<Load, String> {
        let totals = self.recorder.totals()?;
        let deliver = totals.deliver()?;
        let accepted = totals.accepted();
        let until = |last_us: u64| {
            Duration::from_micros(last_us.saturating_sub(from_us))
                .max(length)
                .as_secs_f64()
        };

        let measured_s = if self.sender.pacer.stop.is_cancelled() {
            Duration::from_micros(totals.last_answer_us.saturating_sub(from_us))
                .as_secs_f64()
                .max(1e-3)
        } else {
            until(totals.last_answer_us)
        };
        let mut server = after.server_since(before, accepted);
        if let Some(server) = &mut server {
            server.lag_s = wait_for_lag(&self.scraper, self.target.metrics.lag).await;
        }

        Ok(Load {
            measured_s,
            sends: Sends {
                scheduled: driven.scheduled,
                accepted,
                failed: totals.failed(),
                unsent: driven.unsent,
                held: driven.held,
                late: totals.late,
                lateness: Latency::of(&totals.lateness),
                accepted_per_second: float(accepted) / measured_s,
            },
            deliveries_expected: totals.expected,
            deliveries: deliver.len(),
            deliveries_per_second: float(deliver.len()) / until(totals.last_delivery_us),
            post: Latency::of(&totals.post),
            post_from_start: Latency::of(&totals.service),
            deliver: Latency::of(&deliver),
            by_members: figures::by_members(&totals, &self.workload.sizes),
            errors: figures::errors(&totals.errors),
            actions: self
                .sender
                .actions
                .as_ref()
                .map_or_else(Vec::new, |actions| actions.counts.figures()),
            distribution: figures::Distribution {
                post: figures::distribution(&totals.post),
                deliver: figures::distribution(&deliver),
            },
            server,
            redis: after.redis_since(before, accepted),
            client: after.client_since(before, accepted),
        })
    }

    /// Messages that all sessions together should have got by now.
    fn deliveries_expected(&self) -> u64 {
        let of = |(index, conversation): (usize, &crate::load::workload::Conversation)| {
            self.ledger.accepted_in(index) * conversation.online
        };
        self.workload.conversations.iter().enumerate().map(of).sum()
    }
}

/// Those who send, and those who do other things beside it.
fn sender(
    run: Run,
    options: &LoadOptions,
    (begun, stop): (Instant, &CancellationToken),
    listeners: &Listeners,
) -> Result<Arc<Sender>, String> {
    let pacer = || Pacer::new(begun, options.in_flight, stop.clone());
    let actions = match options.mix.clone() {
        None => None,
        Some(mix) => {
            let says = listeners.says.clone();
            let each = (options.payload, options.seed);
            let actions = Actions::new((mix, run.clone()), pacer()?, says, each);
            Some(Arc::new(actions))
        }
    };
    Ok(Arc::new(Sender::new(run, pacer()?, options, actions)))
}

/// A name that no other run has; what runs longer than this program keeps the conversations of
/// earlier runs.
pub(crate) fn run_name() -> Result<String, String> {
    let millis = std::time::UNIX_EPOCH
        .elapsed()
        .map_err(|error| error.to_string())?
        .as_millis();
    Ok(format!("load-{millis:x}-{:x}", std::process::id()))
}
