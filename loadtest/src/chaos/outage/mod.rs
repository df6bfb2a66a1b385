//! How long a shard is without an acknowledged message when something of it is lost: probes of
//! every shard all the time, and the longest time between two of one shard that were acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum as _};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chaos::outage::loss::{Loss, largest, lose};
use crate::chaos::outage::probe::{Probe, Probed, calm, prepare};
use crate::chaos::random::Random;
use crate::chaos::site::Site;
use crate::chaos::wire::say;
use crate::chaos::{Cluster, any_seed};

mod loss;
mod probe;

/// A shard that is not served for so long is not served again; and when a copy has to be made
/// first.
const LOST_AFTER: Duration = Duration::from_secs(60);
const SEEDED_WITHIN: Duration = Duration::from_secs(180);

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

/// Measures it; false when a shard was not served again.
pub(crate) async fn run(wanted: &Wanted) -> Result<bool, String> {
    let seed = wanted.seed.unwrap_or_else(any_seed);
    let folder = tempfile::Builder::new()
        .prefix("rookery-outage-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let plan = wanted.cluster.plan();
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
