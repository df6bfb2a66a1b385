//! The run: all faults in a schedule, under a mixed load, for as long as it was told.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::chaos::checker::known;
use crate::chaos::clients::Shape;
use crate::chaos::faults::schedule::{IN_A_ROW, Schedule};
use crate::chaos::faults::{Fault, Need, all, named};
use crate::chaos::random::Random;
use crate::chaos::row::Row;
use crate::chaos::site::Plan;
use crate::chaos::trial::{Setup, Trial};
use crate::chaos::wire::say;
use crate::chaos::{Cluster, any_seed, duration, report};

/// The seed of the short form, which is the same each time.
const SHORT_SEED: u64 = 1;

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    cluster: Cluster,
    /// Decides the schedule and what clients draw; unset: any, and it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// For how long faults are begun, such as 90s, 10m, 1h.
    #[arg(long, default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// Pass over so many faults of the schedule first, to come to a later part of a longer run.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Only these faults, comma-separated; see `loadtest chaos faults`.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Each of the faults of the short form twice, with a fixed seed and less load: two to three
    /// minutes.
    #[arg(long)]
    short: bool,
    /// Write the result to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the history and all logs, also when nothing is wrong.
    #[arg(long)]
    keep: bool,
    /// A rule, by its name, whose breaches are told and not held against the run: a fault that is
    /// known and not mended yet.
    #[arg(long, value_name = "RULE")]
    known: Vec<String>,
    /// Messages per second of all senders together.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Conversations from the beginning.
    #[arg(long, default_value_t = 48)]
    conversations: u32,
    /// Sockets that only listen, to be dropped at once.
    #[arg(long, default_value_t = 5_000)]
    sockets: u64,
}

/// Runs it; false when something does not hold.
pub(crate) async fn run(options: &Wanted) -> Result<bool, String> {
    known::tell_only(&options.known);
    let seed = options.seed.unwrap_or_else(|| {
        if options.short {
            SHORT_SEED
        } else {
            any_seed()
        }
    });
    let (faults, mut rows) = chosen(options)?;
    if faults.is_empty() {
        return Err("none of the faults can be done here".to_owned());
    }

    say(&format!(
        "seed {seed}; faults: {}",
        faults
            .iter()
            .map(|fault| fault.name)
            .collect::<Vec<_>>()
            .join(", ")
    ));

    let begun = Instant::now();
    let trial = Box::pin(Trial::start(setup(options, &faults, seed))).await?;
    say(&format!(
        "the cluster serves, and the load flows, after {:.0} s",
        begun.elapsed().as_secs_f64()
    ));

    let flowing = Instant::now();
    let most = if options.short {
        faults.len() * IN_A_ROW
    } else {
        usize::MAX
    };

    for step in Schedule::new(&Random::new(seed), faults)
        .skip(options.skip)
        .take(most)
    {
        if (!options.short && flowing.elapsed() > options.duration) || trial.world().log.is_wrong()
        {
            break;
        }
        rows.push(Box::pin(trial.step(&step)).await?);
    }

    let lasted = flowing.elapsed();
    let verdict = Box::pin(trial.finish()).await;
    report::print(seed, &rows, &verdict, lasted);
    if let Some(file) = &options.json {
        let text = report::json(seed, &rows, &verdict, lasted).to_string();
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }

    Ok(verdict.counts.violations == 0)
}

/// The faults that are wanted and possible; rows for those that are not possible.
fn chosen(options: &Wanted) -> Result<(Vec<Fault>, Vec<Row>), String> {
    let wanted: Vec<Fault> = if options.faults.is_empty() {
        all()
            .filter(|fault| fault.short || !options.short)
            .collect()
    } else {
        let find = |name: &String| named(name).ok_or_else(|| format!("there is no fault {name}"));
        options.faults.iter().map(find).collect::<Result<_, _>>()?
    };
    let (mut faults, mut rows) = (Vec::new(), Vec::new());

    for fault in wanted {
        match fault.possible() {
            Ok(()) => faults.push(fault),
            Err(error) => {
                say(&format!("{} is skipped: {error}", fault.name));
                rows.push(Row::skipped(fault.name, error));
            }
        }
    }

    Ok((faults, rows))
}

fn setup(options: &Wanted, faults: &[Fault], seed: u64) -> Setup {
    let cluster = &options.cluster;
    let needs = |need: Need| faults.iter().any(|fault| fault.need == need);
    let plan = Plan {
        wired: needs(Need::Wires),
        own_disk: needs(Need::OwnDisk).then(|| "node-3".to_owned()),
        ..cluster.plan()
    };

    let shape = Shape {
        conversations: if options.short {
            options.conversations.min(24)
        } else {
            options.conversations
        },
        rate: if options.short {
            options.rate.min(120)
        } else {
            options.rate
        },
        readers: if options.short { 6 } else { 12 },
        text_bytes: 120,
        churn_ms: 1_500,
        changes: true,
        known: true,
        regulars: false,
    };

    let flood = if needs(Need::Flood) {
        options.sockets
    } else {
        0
    };

    Setup {
        plan,
        shape,
        flood,
        memory_max: cluster.memory_max,
        keep: options.keep,
        seed,
    }
}
