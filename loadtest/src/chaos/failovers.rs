//! Many failovers of Redis in a row, under load: after each, every node has to renew the leases of
//! all its shards within a few seconds, and nothing that clients are promised may break.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::chaos::clients::Shape;
use crate::chaos::random::Random;
use crate::chaos::site::Site;
use crate::chaos::site::redis::PROMOTED_WITHIN;
use crate::chaos::trial::{Setup, Trial};
use crate::chaos::wire::say;
use crate::chaos::{Cluster, any_seed, report};

/// For every node to renew all it owns, once Redis serves again.
const RENEWED_WITHIN: Duration = Duration::from_secs(5);
/// A node that does not renew in time is watched for so long before it counts as one that never
/// will.
const EVER_WITHIN: Duration = Duration::from_secs(60);
/// For all servers of Redis to be in step before the next.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);
/// Before the next, in milliseconds.
const QUIET_MS: (u64, u64) = (500, 2_000);

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    cluster: Cluster,
    /// How many failovers.
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Decides whom they hit, and what clients draw.
    #[arg(long)]
    seed: Option<u64>,
    /// Messages per second of all senders together.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Write the result to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the history and all logs, also when nothing is wrong.
    #[arg(long)]
    keep: bool,
}

/// How a master is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It is killed, and started again afterwards.
    Kill,
    /// Its replica takes over as it was told.
    Planned,
    /// All its clients' connections end.
    Connections,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Kill, Self::Planned, Self::Connections];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Planned => "CLUSTER FAILOVER",
            Self::Connections => "CLIENT KILL",
        }
    }
}

/// What came of one.
#[derive(Debug, Clone, Copy)]
struct Row {
    kind: Kind,
    /// Until Redis served again.
    served: Duration,
    /// From then until the last node renewed.
    renewed: Duration,
    /// In time.
    good: bool,
}

/// Runs them; false when a node did not renew in time, or anything else does not hold.
pub(crate) async fn run(wanted: &Wanted) -> Result<bool, String> {
    let seed = wanted.seed.unwrap_or_else(any_seed);
    let trial = Box::pin(Trial::start(setup(wanted, seed))).await?;
    say(&format!(
        "seed {seed}: {} failovers of Redis with {} shards under load",
        wanted.count, wanted.cluster.shards
    ));

    let begun = Instant::now();
    let mut random = Random::new(seed).split("failovers", 0);
    let mut rows = Vec::new();

    for (number, kind) in (1..=wanted.count).zip(Kind::ALL.into_iter().cycle()) {
        trial
            .pause(Duration::from_millis(
                random.between(QUIET_MS.0, QUIET_MS.1),
            ))
            .await;
        if trial.world().log.is_wrong() {
            break;
        }
        let row = one(&trial, number, kind, &mut random).await?;
        rows.push(row);
    }

    let lasted = begun.elapsed();
    let verdict = Box::pin(trial.finish()).await;
    report::print(seed, &[], &verdict, lasted);
    table(&rows);

    if let Some(file) = &wanted.json {
        let text = json!({"seed": seed, "failovers": rows.iter().map(told).collect::<Vec<_>>(),
            "violations": verdict.counts.violations})
        .to_string();
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }

    let done = u64::try_from(rows.len()).unwrap_or(0);
    Ok(verdict.counts.violations == 0 && done == wanted.count && rows.iter().all(|row| row.good))
}

fn setup(wanted: &Wanted, seed: u64) -> Setup {
    let cluster = &wanted.cluster;
    let shape = Shape {
        conversations: 24,
        rate: wanted.rate,
        readers: 6,
        text_bytes: 120,
        churn_ms: 1_500,
        changes: true,
        known: true,
        regulars: false,
    };

    Setup {
        plan: cluster.plan(),
        shape,
        flood: 0,
        memory_max: cluster.memory_max,
        keep: wanted.keep,
        seed,
    }
}

/// One failover, until all is in step again.
async fn one(trial: &Trial, number: u64, kind: Kind, random: &mut Random) -> Result<Row, String> {
    let (site, log) = (&trial.field.site, &trial.world().log);
    let masters = site.servers(true).await;
    let master = random.pick(&masters).cloned().ok_or("there is no master")?;
    let replica = site
        .replica_of(&master)
        .await
        .ok_or_else(|| format!("{master} has no replica"))?;
    log.fault(kind.name(), &format!("begins: {master}"));
    let begun = Instant::now();
    lose(site, kind, &master, &replica).await?;

    let served = begun.elapsed();
    let nodes = site.nodes();
    let looked = Instant::now();
    let renewed = site.renewing(&nodes, RENEWED_WITHIN).await;
    let good = renewed.is_ok();
    let mut took = looked.elapsed();
    let mut said = format!("every node renews after {:.2} s", took.as_secs_f64());

    if let Err(error) = renewed {
        said = format!("LATE: {error}");
        let ever = site.renewing(&nodes, EVER_WITHIN).await;
        took = looked.elapsed();
        let rule = "every node renews its leases again";
        match ever {
            Ok(_) => said = format!("{said}; after {:.1} s it does", took.as_secs_f64()),
            Err(never) => log.wrong(
                rule,
                None,
                format!("after {} of {master}, the {number}th: {never}", kind.name()),
            ),
        }
    }

    say(&format!(
        "{number:>4}  {:<16} {master}: Redis serves after {:.2} s; {said}",
        kind.name(),
        served.as_secs_f64()
    ));

    site.start_again(std::slice::from_ref(&master)).await?;
    if let Err(error) = site.whole(WHOLE_WITHIN).await {
        log.wrong("every process is well again", None, error);
    }

    log.fault(kind.name(), "ends");
    Ok(Row {
        kind,
        served,
        renewed: took,
        good,
    })
}

/// Loses a master; returns when Redis serves its slots again.
async fn lose(site: &Site, kind: Kind, master: &str, replica: &str) -> Result<(), String> {
    match kind {
        Kind::Kill => {
            site.kill(&[master.to_owned()]).await;
            site.promoted(replica, Instant::now() + PROMOTED_WITHIN)
                .await
        }
        Kind::Planned => site.fail_over(replica).await,
        Kind::Connections => match site.end_clients(master).await? {
            0 => Err(format!("nobody was connected to {master}")),
            _ => Ok(()),
        },
    }
}

fn told(row: &Row) -> serde_json::Value {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({"kind": row.kind.name(), "served_ms": millis(row.served), "renewed_ms": millis(row.renewed), "good": row.good})
}

/// A line for each kind.
fn table(rows: &[Row]) {
    let mut kinds: BTreeMap<Kind, Vec<&Row>> = BTreeMap::new();
    rows.iter()
        .for_each(|row| kinds.entry(row.kind).or_default().push(row));
    say("");

    say(&format!(
        "{:<18} {:>6} {:>14} {:>16} {:>15} {:>6}",
        "failover", "count", "Redis, worst", "renewed, median", "renewed, worst", "late"
    ));

    for (kind, of_kind) in kinds {
        let mut renewed: Vec<Duration> = of_kind.iter().map(|row| row.renewed).collect();
        renewed.sort_unstable();
        let median = renewed.get(renewed.len() / 2).copied().unwrap_or_default();
        let worst = renewed.last().copied().unwrap_or_default();
        let served = of_kind
            .iter()
            .map(|row| row.served)
            .max()
            .unwrap_or_default();
        let [served, median, worst] =
            [served, median, worst].map(|time| format!("{:.2} s", time.as_secs_f64()));
        let late = of_kind.iter().filter(|row| !row.good).count();
        say(&format!(
            "{:<18} {:>6} {served:>14} {median:>16} {worst:>15} {late:>6}",
            kind.name(),
            of_kind.len()
        ));
    }
}
