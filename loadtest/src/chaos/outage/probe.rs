//! Probes of every shard, all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chaos::clients::http::{Call, Client};
use crate::chaos::site::Site;
use crate::chaos::slots::shard_of;
use crate::chaos::wire::token;

/// Between two probes of a shard; and how many shards are probed, evenly spread: all of very many
/// would be a load of its own.
const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBED_MAX: u64 = 16;
/// Budget of one probe, and of one that is to wait for a replica in vain.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(2);
/// Probes of one shard under way; beyond that none is begun.
const UNDER_WAY_MAX: usize = 16;
/// All shards have to be acknowledged without a break for so long before the next run.
const CALM: Duration = Duration::from_secs(3);

/// Who probes.
const USER: &str = "prober";

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probed {
    /// A message.
    Writes,
    /// A message, where each takes as long as the wait for a replica.
    Patiently,
    /// A strict read.
    Reads,
}

impl Probed {
    /// Budget of one probe; a shard without an answer for so long is not served.
    fn within(self) -> Duration {
        if self == Self::Patiently {
            PATIENCE
        } else {
            PROBE_WITHIN
        }
    }
}

/// Probes of one shard.
#[derive(Debug)]
pub(super) struct Probe {
    path: String,
    authorization: String,
    routers: Vec<String>,
    begun: Instant,
    over: Arc<AtomicBool>,
    /// What it asks for.
    probed: watch::Receiver<Probed>,
    /// When the last was acknowledged, in microseconds.
    last: AtomicU64,
    /// The longest time between two.
    pub(super) longest: AtomicU64,
}

/// Waits until every shard was acknowledged without a long break for a while.
pub(super) async fn calm(probes: &[Arc<Probe>], within: Duration) -> Option<()> {
    let end = Instant::now() + within;
    let mut since = Instant::now();
    while since.elapsed() < CALM {
        if probes
            .iter()
            .any(|probe| probe.silent() > probe.probed.borrow().within())
        {
            since = Instant::now();
        }
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some(())
}

/// A conversation in every shard, or in some of them.
pub(super) async fn prepare(
    site: &Site,
    over: &Arc<AtomicBool>,
    probed: &watch::Sender<Probed>,
) -> Result<Vec<Arc<Probe>>, String> {
    let (routers, secret) = (site.routers()?, site.secret()?);
    let authorization = token(&secret, USER)?;
    let first = routers.first().cloned().unwrap_or_default();
    let mut client = Client::new(&first, &authorization);
    let mut probes = Vec::new();
    let apart = site.shards().div_ceil(PROBED_MAX).max(1);

    for shard in (0..site.shards()).step_by(usize::try_from(apart).unwrap_or(1)) {
        let mut names = (0_u64..).map(|number| format!("probe-{number}"));
        let name = names
            .find(|name| shard_of(name, site.shards()) == shard)
            .unwrap_or_default();
        let write = Call::write(
            Method::POST,
            "/v1/conversations",
            Some(json!({"participants": [USER], "name": name})),
        );
        let made = client
            .call(write)
            .await
            .map_err(|error| format!("{error:?}"))?;
        if made.status != 201 {
            return Err(format!("a conversation in shard {shard}: {}", made.body));
        }
        probes.push(Arc::new(Probe {
            path: format!("/v1/conversations/{name}/messages"),
            authorization: authorization.clone(),
            routers: routers.clone(),
            begun: Instant::now(),
            over: Arc::clone(over),
            probed: probed.subscribe(),
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }));
    }

    Ok(probes)
}

impl Probe {
    /// Probes until it is over.
    pub(super) async fn run(self: Arc<Self>) {
        let mut every = tokio::time::interval(PROBE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);

        let mut under_way = JoinSet::new();
        let mut idle: Vec<Client> = Vec::new();
        let mut number = 0_usize;

        while !self.over.load(Ordering::Relaxed) {
            every.tick().await;
            while let Some(done) = under_way.try_join_next() {
                idle.extend(done);
            }
            if under_way.len() >= UNDER_WAY_MAX {
                continue;
            }
            number += 1;
            let client = idle.pop().unwrap_or_else(|| {
                let router = self
                    .routers
                    .get(number % self.routers.len().max(1))
                    .cloned()
                    .unwrap_or_default();
                Client::new(&router, &self.authorization)
            });
            under_way.spawn(Arc::clone(&self).send(client));
        }
    }

    async fn send(self: Arc<Self>, mut client: Client) -> Client {
        let probed = *self.probed.borrow();
        let call = if probed == Probed::Reads {
            Call {
                strict: true,
                ..Call::get(&self.path)
            }
        } else {
            Call::write(Method::POST, &self.path, Some(json!({"text": "probe"})))
        };

        let answer = client
            .call(Call {
                within: probed.within(),
                ..call
            })
            .await;
        if answer.is_ok_and(|answer| matches!(answer.status, 200 | 201)) {
            let now = self.now();
            let before = self.last.fetch_max(now, Ordering::Relaxed);
            self.longest
                .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        }
        client
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Since the last that was acknowledged.
    fn silent(&self) -> Duration {
        Duration::from_micros(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}
