//! What everything has used up to a moment; the difference of two moments is what a span used.

use std::time::{Duration, Instant};

use crate::report::figures::{Client, Process, Redis as RedisFigures, Server, float};
use crate::target::metrics::{Page, Scraper, own_cpu_seconds};
use crate::target::redis::Redis;

/// How long SQLite may take to have everything.
const LAG_MAX: Duration = Duration::from_secs(60);

/// One moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    at: Instant,
    pages: Vec<Page>,
    redis: Option<Redis>,
    own_cpu_seconds: f64,
}

impl Snapshot {
    /// Looks at all processes. Whoever does not answer is left out, with a sentence why.
    pub(crate) async fn take(scraper: &Scraper, redis: &[String]) -> (Self, Vec<String>) {
        let (pages, errors) = scraper.pages().await;
        let mut warnings: Vec<String> = errors
            .into_iter()
            .map(|error| format!("a process is missing in the figures of the server: {error}"))
            .collect();
        let redis = match Redis::look(redis).await {
            Ok(_) if redis.is_empty() => None,
            Ok(redis) => Some(redis),
            Err(error) => {
                warnings.push(format!("no figures of Redis: {error}"));
                None
            }
        };

        (
            Self {
                at: Instant::now(),
                pages,
                redis,
                own_cpu_seconds: own_cpu_seconds(),
            },
            warnings,
        )
    }

    /// What the load test used since then.
    pub(crate) fn client_since(&self, before: &Self, messages: u64) -> Client {
        let cpu_seconds = self.own_cpu_seconds - before.own_cpu_seconds;
        Client {
            cpu_seconds,
            cpu_us_per_message: each(cpu_seconds, messages),
            processors: cpu_seconds / self.seconds_since(before),
        }
    }

    /// What the server used since then; none when its processes tell nothing.
    pub(crate) fn server_since(&self, before: &Self, messages: u64) -> Option<Server> {
        let processes: Vec<Process> = self
            .pages
            .iter()
            .filter_map(|page| {
                let earlier = before
                    .pages
                    .iter()
                    .find(|earlier| earlier.name == page.name)?;
                let cpu_seconds = grown(page.cpu_seconds(), earlier.cpu_seconds());
                Some(Process {
                    name: page.name.clone(),
                    cpu_seconds,
                    cpu_us_per_message: each(cpu_seconds, messages),
                    resident_begin_bytes: earlier.resident_bytes(),
                    resident_end_bytes: page.resident_bytes(),
                })
            })
            .collect();
        let sum = |of: fn(&Process) -> f64| processes.iter().map(of).sum::<f64>();
        (!processes.is_empty()).then(|| Server {
            cpu_us_per_message: sum(|process| process.cpu_us_per_message),
            resident_highest_bytes: sum(|process| process.resident_begin_bytes)
                .max(sum(|process| process.resident_end_bytes)),
            lag_s: None,
            processes: processes.clone(),
        })
    }

    /// What Redis used since then.
    pub(crate) fn redis_since(&self, before: &Self, messages: u64) -> Option<RedisFigures> {
        let (now, earlier) = (self.redis?, before.redis?);
        Some(RedisFigures {
            cpu_us_per_message: each(now.cpu_seconds - earlier.cpu_seconds, messages),
            commands_per_message: float(now.commands.saturating_sub(earlier.commands))
                / float(messages.max(1)),
            memory_highest_bytes: now.memory_highest_bytes,
        })
    }

    /// Processors that the server kept busy since then.
    pub(crate) fn server_processors_since(&self, before: &Self) -> Option<f64> {
        let server = self.server_since(before, 1)?;
        Some(
            server
                .processes
                .iter()
                .map(|process| process.cpu_seconds)
                .sum::<f64>()
                / self.seconds_since(before),
        )
    }

    /// Resident memory of all processes of the server.
    pub(crate) fn resident_bytes(&self) -> Option<f64> {
        (!self.pages.is_empty()).then(|| self.pages.iter().map(Page::resident_bytes).sum())
    }

    fn seconds_since(&self, before: &Self) -> f64 {
        self.at.duration_since(before.at).as_secs_f64().max(1e-6)
    }
}

/// Waits until every record is applied to SQLite, as this metric says; how long that took, or none
/// when it is not known.
pub(crate) async fn wait_for_lag(scraper: &Scraper, metric: &str) -> Option<f64> {
    let begun = Instant::now();
    while begun.elapsed() < LAG_MAX {
        if scraper.is_empty() {
            return None;
        }
        if scraper.sum(metric).await.ok()? <= 0.0 {
            return Some(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}

/// How much a counter has grown; one that fell began anew, with its process.
fn grown(now: f64, earlier: f64) -> f64 {
    if now < earlier { now } else { now - earlier }
}

fn each(seconds: f64, messages: u64) -> f64 {
    seconds * 1e6 / float(messages.max(1))
}
