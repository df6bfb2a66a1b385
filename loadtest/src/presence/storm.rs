//! A storm of presence from its beginning to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::load::options::allow_files;
use crate::load::snapshot::Snapshot;
use crate::output::{Outcome, say};
use crate::presence::sockets::open_all;
use crate::presence::talking::talk;
use crate::presence::watching::{
    BEFORE, Heard, IN_STORM, UNCOUNTED, Watched, gather, until_told, watch_all,
};
use crate::report::figures::float;
use crate::target::metrics::Scraper;
use crate::target::{Target, TargetOptions};

/// After its last session a user is offline so much later; what is told is measured from shortly
/// before that.
const QUIET_FOR: Duration = Duration::from_secs(27);
/// Requests and handshakes at the same time.
pub(super) const WIDTH: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sessions that end at once, each of a user of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) sessions: u32,
    /// Sessions that watch, each 20 of the conversations of up to 250 that those are in
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) watchers: u32,
    /// Messages a second, to all watchers, before the storm and in it
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// How long messages are measured before the storm
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    quiet: Duration,
    #[command(flatten)]
    target: TargetOptions,
}

pub(crate) async fn run(options: &Options) -> Result<Outcome, String> {
    allow_files(u64::from(options.sessions) + u64::from(options.watchers) + 2 * WIDTH as u64)?;
    let target = Target::new(&options.target).await?;
    let scraper = Scraper::new(&target);
    let made = options.make(&target).await?;
    let watched = Arc::new(Watched::new());
    let (end, ends) = watch::channel(false);
    let (mut watchers, expected) = watch_all(&target, &made, (&watched, &ends)).await?;
    let sessions = open_all(&target, &made).await?;
    until_told(&watched, true, expected).await?;
    let talking = talk(&target, &made, options.rate, (&watched, ends)).await?;

    watched.phase.store(BEFORE, Ordering::SeqCst);
    let (begin, _) = Snapshot::take(&scraper, &[]).await;
    tokio::time::sleep(options.quiet).await;
    let (calm, _) = Snapshot::take(&scraper, &[]).await;
    let idle_processors = calm.server_processors_since(&begin).unwrap_or_default();
    watched.phase.store(UNCOUNTED, Ordering::SeqCst);
    sessions.iter().for_each(JoinHandle::abort);
    tokio::time::sleep(QUIET_FOR).await;

    watched.phase.store(IN_STORM, Ordering::SeqCst);
    let (before, storm) = (Snapshot::take(&scraper, &[]).await.0, Instant::now());
    let all_told = until_told(&watched, false, expected).await;
    let (after, _) = Snapshot::take(&scraper, &[]).await;
    let lasted = storm.elapsed().as_secs_f64();
    end.send_replace(true);
    talking.await.map_err(|error| error.to_string())??;
    let told = watched.offline.load(Ordering::SeqCst);
    let spent = after
        .server_processors_since(&before)
        .map(|processors| (processors - idle_processors) * lasted);
    let (heard, wrong) = gather(&mut watchers).await?;

    say(&options.line((told, expected), spent, &heard));
    all_told?;
    Ok(if wrong == 0 {
        Outcome::Passed
    } else {
        Outcome::Faults
    })
}

impl Options {
    fn line(&self, (told, expected): (u64, u64), spent: Option<f64>, heard: &Heard) -> String {
        let each = spent.map_or_else(
            || "unknown".to_owned(),
            |seconds| format!("{:.2} us", seconds * 1e6 / float(told.max(1))),
        );
        let [before, storm] = &heard.latency_us;
        let ms = |of: &Histogram<u64>, quantile| float(of.value_at_quantile(quantile)) / 1e3;

        format!(
            "{} sessions ended, {} watchers were told {told} of {expected} states\n\
             server CPU a state and watcher: {each}\n\
             send to delivered before: p50 {:.2} ms, p99 {:.2} ms, {} deliveries\n\
             send to delivered in the storm: p50 {:.2} ms, p99 {:.2} ms, {} deliveries",
            self.sessions,
            self.watchers,
            ms(before, 0.5),
            ms(before, 0.99),
            before.len(),
            ms(storm, 0.5),
            ms(storm, 0.99),
            storm.len(),
        )
    }
}
