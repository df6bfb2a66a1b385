//! Looks once a second at what happened, keeps it for the report, and shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::load::listener::Live;
use crate::load::pacer::Pacer;
use crate::load::recorder::Recorder;
use crate::load::snapshot::Snapshot;
use crate::progress::Progress;
use crate::report::figures::{self, Latency, Second, float};
use crate::target::metrics::{Scraper, own_cpu_seconds};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// The processes of the server are looked at every so many times.
const SCRAPE_EVERY: usize = 2;
/// Seconds that are kept; of a longer run the first so many.
const SECONDS_MAX: usize = 100_000;

/// The task that looks.
pub(crate) struct Sampler {
    seconds: Arc<Mutex<Vec<Second>>>,
    task: JoinHandle<()>,
    /// Rate that is due now, in thousandths of a send per second.
    rate: Arc<AtomicU64>,
}

/// Where it looks.
pub(crate) struct Views {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) pacer: Option<Arc<Pacer>>,
    pub(crate) live: Option<Arc<Live>>,
    pub(crate) scraper: Arc<Scraper>,
    pub(crate) progress: Arc<Progress>,
}

impl Sampler {
    /// Begins to look; time is told since now.
    pub(crate) fn start(views: Views) -> Self {
        let (seconds, rate) = (
            Arc::<Mutex<Vec<Second>>>::default(),
            Arc::<AtomicU64>::default(),
        );
        let task = tokio::spawn(look(views, Arc::clone(&seconds), Arc::clone(&rate)));
        Self {
            seconds,
            task,
            rate,
        }
    }

    /// Tells the rate that is due from now on.
    pub(crate) fn due(&self, rate: f64) {
        let thousandths = u64::try_from(Duration::from_secs_f64(rate.clamp(0.0, 1e9)).as_millis());
        self.rate
            .store(thousandths.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Ends it; all seconds.
    pub(crate) fn finish(self) -> Vec<Second> {
        self.task.abort();
        std::mem::take(&mut *self.seconds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn look(views: Views, seconds: Arc<Mutex<Vec<Second>>>, rate: Arc<AtomicU64>) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval_at((begun + EVERY).into(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);

    let (mut last, mut own_cpu) = (begun, own_cpu_seconds());
    let mut scraped: Option<Snapshot> = None;

    for number in 1_usize.. {
        ticks.tick().await;
        let passed = last.elapsed().as_secs_f64().max(1e-3);
        last = Instant::now();
        let Ok(interval) = views.recorder.take_interval() else {
            return;
        };
        let own_cpu_now = own_cpu_seconds();
        let mut second = Second {
            at_s: begun.elapsed().as_secs_f64(),
            rate: float(rate.load(Ordering::Relaxed)) / 1e3,
            accepted: float(interval.accepted) / passed,
            deliveries: float(interval.deliver.len()) / passed,
            errors: figures::errors(&interval.errors),
            late: interval.late,
            in_flight: views.pacer.as_ref().map_or(0, |pacer| pacer.in_flight()),
            sockets: views
                .live
                .as_ref()
                .map_or(0, |live| live.open.load(Ordering::Relaxed)),
            post: Latency::of(&interval.post),
            deliver: Latency::of(&interval.deliver),
            client_processors: (own_cpu_now - own_cpu) / passed,
            ..Second::default()
        };
        own_cpu = own_cpu_now;
        if number.is_multiple_of(SCRAPE_EVERY) && !views.scraper.is_empty() {
            let (now, _) = Snapshot::take(&views.scraper, &[]).await;
            second.resident_bytes = now.resident_bytes();
            second.server_processors = scraped
                .as_ref()
                .and_then(|before| now.server_processors_since(before));
            scraped = Some(now);
        }
        views.progress.second(number, &second);
        let mut kept = seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SECONDS_MAX {
            kept.push(second);
        }
    }
}
