//! What everything has used, at one moment and at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::target::Target;
use crate::target::metrics::{Page, Scraper, own_cpu_seconds};
use crate::target::redis::Redis;

/// How often the memory of Redis is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What everything has used at one moment.
pub(super) struct Used {
    pub(super) routers: f64,
    pub(super) nodes: f64,
    pub(super) applied: f64,
    pub(super) redis: Redis,
    pub(super) client: f64,
}

impl Used {
    pub(super) async fn now(target: &Target, scraper: &Scraper) -> Result<Self, String> {
        let (pages, errors) = scraper.pages().await;
        errors.into_iter().next().map_or(Ok(()), Err)?;

        let cpu = |of_router: bool| {
            let of = |page: &&Page| page.name.starts_with("router") == of_router;
            pages.iter().filter(of).map(Page::cpu_seconds).sum::<f64>()
        };

        Ok(Self {
            routers: cpu(true),
            nodes: cpu(false),
            applied: pages
                .iter()
                .map(|page| page.sum(target.metrics.applied))
                .sum(),
            redis: Redis::look(&target.redis).await?,
            client: own_cpu_seconds(),
        })
    }
}

/// Watches the memory of all servers of Redis.
pub(super) struct Memory {
    highest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    watching: JoinHandle<()>,
}

impl Memory {
    /// Looks until it is asked.
    pub(super) fn watch(servers: Vec<String>) -> Self {
        let (highest, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (found, end) = (Arc::clone(&highest), Arc::clone(&over));
        let watching = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                // A server that is away for a moment is looked at again soon.
                if let Ok(all) = Redis::look(&servers).await {
                    found.fetch_max(all.memory_highest_bytes, Ordering::Relaxed);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });

        Self {
            highest,
            over,
            watching,
        }
    }

    /// The most that one server used meanwhile.
    pub(super) async fn highest(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.watching.await.ok();
        self.highest.load(Ordering::Relaxed)
    }
}
