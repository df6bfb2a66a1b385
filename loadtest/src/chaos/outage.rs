//! How long a shard is without an acknowledged message when something of it is lost: probes of
//! every shard all the time, and the longest time between two of one shard that were acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use http::Method;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chaos::clients::http::{Call, Client};
use crate::chaos::random::Random;
use crate::chaos::site::{Plan, Site};
use crate::chaos::slots::shard_of;
use crate::chaos::wire::say;
use crate::chaos::wire::token;
use crate::chaos::{Cluster, any_seed};

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
/// A shard that is not served for so long is not served again; and when a copy has to be made
/// first.
const LOST_AFTER: Duration = Duration::from_secs(60);
const SEEDED_WITHIN: Duration = Duration::from_secs(180);
/// Who probes.
const USER: &str = "prober";

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loss {
    /// A node, started again only after the run.
    KillNode,
    /// A node, started again at once.
    KillNodeRestart,
    /// A Redis master, started again only after the run.
    KillMaster,
    /// A Redis master, started again after 10 s.
    KillMasterRestart,
    /// A node and a Redis master, started again only after the run.
    Both,
    /// A node, started again at once, and a Redis master, started again after 10 s.
    BothRestart,
    /// A replica of Redis hangs; it goes on only after the run. Its master's writes wait for it,
    /// and then for a standby.
    HangReplica,
    /// A replica of Redis hangs, and a node dies, whose shards have to be claimed meanwhile: until
    /// all is read again.
    HangReplicaClaim,
    /// A node with its disk and a Redis master, for good: until all is read again.
    GoneReads,
    /// The same, until all is written again: the third node has to be given its copies first.
    GoneWrites,
}

impl Loss {
    fn probed(self) -> Probed {
        match self {
            Self::GoneReads | Self::HangReplicaClaim => Probed::Reads,
            Self::HangReplica => Probed::Patiently,
            _ => Probed::Writes,
        }
    }

    fn gone(self) -> bool {
        matches!(self, Self::GoneReads | Self::GoneWrites)
    }
}

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probed {
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

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    cluster: Cluster,
    /// What is lost; several, comma-separated.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kill-node")]
    fault: Vec<Loss>,
    /// Runs of each.
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// Decides whom it hits.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the result to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Probes of one shard.
#[derive(Debug)]
struct Probe {
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
    longest: AtomicU64,
}

/// Measures it; false when a shard was not served again.
pub(crate) async fn run(wanted: &Wanted) -> Result<bool, String> {
    let seed = wanted.seed.unwrap_or_else(any_seed);
    let folder = tempfile::Builder::new()
        .prefix("rookery-outage-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let plan = Plan {
        binary: wanted.cluster.binary.clone(),
        shards: wanted.cluster.shards,
        node_flags: wanted.cluster.node_flags.clone(),
        router_flags: wanted.cluster.router_flags.clone(),
        ..Plan::default()
    };
    let site = Site::start(&folder.path().join("cluster"), plan).await?;
    let over = Arc::new(AtomicBool::new(false));
    let probed = watch::Sender::new(Probed::Writes);
    let probes = prepare(&site, &over, &probed).await?;
    let mut probing = JoinSet::new();
    probes
        .iter()
        .for_each(|probe| drop(probing.spawn(Arc::clone(probe).run())));
    let random = Random::new(seed);
    let (mut told, mut served) = (Vec::new(), true);
    say(&format!(
        "seed {seed}; longest time without an acknowledged message, of {} shards of {}",
        probes.len(),
        site.shards()
    ));
    for loss in &wanted.fault {
        probed.send_replace(loss.probed());
        let mut times = Vec::new();
        for run in 0..wanted.runs {
            match one(&site, &probes, *loss, random.split("loss", run)).await? {
                Some(time) => times.push(time),
                None => served = false,
            }
        }
        told.push(summary(*loss, &mut times));
    }
    over.store(true, Ordering::Relaxed);
    while probing.join_next().await.is_some() {}
    if let Some(file) = &wanted.json {
        let text = json!({"seed": seed, "outages": told}).to_string();
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(served)
}

fn summary(loss: Loss, times: &mut [Duration]) -> serde_json::Value {
    times.sort_unstable();
    let at = |i: usize| times.get(i).copied().unwrap_or_default();
    let (median, worst) = (at(times.len() / 2), at(times.len().saturating_sub(1)));
    let name = loss
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    say(&format!(
        "{name}: {} runs, median {:.2} s, worst {:.2} s",
        times.len(),
        median.as_secs_f64(),
        worst.as_secs_f64()
    ));
    let millis: Vec<u64> = times
        .iter()
        .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        .collect();
    json!({"fault": name, "runs": times.len(), "median_ms": at_ms(median), "worst_ms": at_ms(worst), "all_ms": millis})
}

fn at_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One loss, until all shards are served without a break; `None` when one was not served again
/// before it was mended.
async fn one(
    site: &Site,
    probes: &[Arc<Probe>],
    loss: Loss,
    mut random: Random,
) -> Result<Option<Duration>, String> {
    calm(probes, LOST_AFTER)
        .await
        .ok_or("the shards are not served before the fault")?;
    site.in_sync(&site.nodes(), SEEDED_WITHIN).await?;
    let node = largest(site).await?;
    let master = random
        .pick(&site.servers(true).await)
        .cloned()
        .ok_or("there is no master")?;
    let lost = match loss {
        Loss::KillNode | Loss::KillNodeRestart => vec![node.clone()],
        Loss::KillMaster | Loss::KillMasterRestart => vec![master],
        Loss::Both | Loss::BothRestart | Loss::GoneReads | Loss::GoneWrites => {
            vec![node.clone(), master]
        }
        Loss::HangReplica | Loss::HangReplicaClaim => {
            vec![
                random
                    .pick(&site.servers(false).await)
                    .cloned()
                    .ok_or("there is no replica")?,
            ]
        }
    };
    probes
        .iter()
        .for_each(|probe| probe.longest.store(0, Ordering::Relaxed));
    lose(site, loss, &lost, &node).await?;
    let served = calm(
        probes,
        if loss.gone() {
            SEEDED_WITHIN
        } else {
            LOST_AFTER
        },
    )
    .await;
    let longest = probes
        .iter()
        .map(|probe| probe.longest.load(Ordering::Relaxed))
        .max()
        .map(Duration::from_micros);
    say(&format!(
        "  {}: {:.2} s{}",
        lost.join(" and "),
        longest.unwrap_or_default().as_secs_f64(),
        if served.is_some() {
            ""
        } else {
            ", and not served again before it was mended"
        },
    ));
    site.signal(&lost, Signal::SIGCONT);
    site.start_again(&[&lost[..], &[node]].concat()).await?;
    site.whole(Duration::from_secs(90)).await?;
    Ok(served.and(longest))
}

/// The node that owns the most shards: nothing gives a node its shards back, and one without any is
/// not missed.
async fn largest(site: &Site) -> Result<String, String> {
    let mut largest = (0, None);
    for node in site.nodes() {
        let owned = site.holding(&node).await?.owned.len();
        if owned > largest.0 {
            largest = (owned, Some(node));
        }
    }
    largest.1.ok_or_else(|| "nobody owns a shard".to_owned())
}

/// The loss, up to what of it comes back before all is served.
async fn lose(site: &Site, loss: Loss, lost: &[String], node: &String) -> Result<(), String> {
    let own = std::slice::from_ref(node);
    match loss {
        Loss::HangReplica => site.signal(lost, Signal::SIGSTOP),
        Loss::HangReplicaClaim => {
            site.signal(lost, Signal::SIGSTOP);
            site.kill(own).await;
        }
        _ => site.kill(lost).await,
    }
    if loss.gone() {
        site.empty(node)?;
    }
    if matches!(loss, Loss::KillNodeRestart | Loss::BothRestart) {
        site.start_again(own).await?;
    }
    if matches!(loss, Loss::KillMasterRestart | Loss::BothRestart) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        site.start_again(lost).await?;
    }
    Ok(())
}

/// Waits until every shard was acknowledged without a long break for a while.
async fn calm(probes: &[Arc<Probe>], within: Duration) -> Option<()> {
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
async fn prepare(
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
    async fn run(self: Arc<Self>) {
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
