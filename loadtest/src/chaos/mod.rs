//! `loadtest chaos`: a real cluster under load, broken on purpose by a schedule that its seed
//! decides, and a checker that says what no correct cluster can do. Over the public API only,
//! beside signals, files and links of the processes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::chaos::random::Random;
use crate::chaos::site::Plan;
use crate::chaos::wire::say;
use crate::target::dev::beside_this_program;

mod checker;

mod clients;

mod failovers;

mod faults;

mod history;

mod outage;

mod planted;

mod random;

mod report;

mod restored;

mod row;

mod run;

mod site;

mod slots;

mod trial;

mod upgrade;

mod wire;

/// Something does not hold.
const VIOLATED: u8 = 1;
/// It could not be run.
const NOT_RUN: u8 = 2;

/// What is run, and how.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    tool: Option<Tool>,
    #[command(flatten)]
    run: run::Wanted,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Check a history that was kept.
    Check {
        /// The folder with its files.
        folder: PathBuf,
    },
    /// Measure how long a shard is not served when something is lost.
    Outage(outage::Wanted),
    /// Fail Redis over many times in a row, in turn by a kill, by `CLUSTER FAILOVER` and by `CLIENT
    /// KILL`, and ask after each how soon every node renews its leases.
    Failovers(failovers::Wanted),
    /// Upgrade a running cluster node by node, half of the way back, and to the end, under load.
    Upgrade(upgrade::Wanted),
    /// Run the scenarios that catch planted bugs, against a program that was built with them.
    Planted(planted::Wanted),
    /// List the faults, and whether this machine can do them.
    Faults,
}

/// The cluster that is started.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    /// The program; unset: the `rookery` beside this one.
    #[arg(long, default_value_os_t = beside_this_program(), hide_default_value = true)]
    pub(crate) binary: PathBuf,
    /// Shards: as many as the program makes by itself, unless this says less.
    #[arg(long, default_value_t = 256)]
    pub(crate) shards: u32,
    /// Further flags of `rookery node`, in one word.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub(crate) node_flags: String,
    /// Further flags of `rookery router`, in one word.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub(crate) router_flags: String,
    /// Most memory of any one process, resident, in MiB.
    #[arg(long, default_value_t = 1_024)]
    pub(crate) memory_max: u64,
}

impl Cluster {
    /// The cluster as it is said here, without anything that faults need.
    fn plan(&self) -> Plan {
        Plan {
            binary: self.binary.clone(),
            shards: self.shards,
            node_flags: self.node_flags.clone(),
            router_flags: self.router_flags.clone(),
            ..Plan::default()
        }
    }
}

/// Runs it; 1 when something does not hold, 2 when it could not be run.
pub(crate) async fn run(options: &Options) -> ExitCode {
    // Very many sockets; a refusal shows later as a failed connect with its reason.
    rlimit::increase_nofile_limit(20_000).ok();

    let outcome = match &options.tool {
        None => Box::pin(run::run(&options.run)).await,
        Some(Tool::Outage(wanted)) => Box::pin(outage::run(wanted)).await,
        Some(Tool::Failovers(wanted)) => Box::pin(failovers::run(wanted)).await,
        Some(Tool::Upgrade(wanted)) => Box::pin(upgrade::run(wanted)).await,
        Some(Tool::Planted(wanted)) => Box::pin(planted::run(wanted)).await,
        Some(Tool::Check { folder }) => report::check(folder),
        Some(Tool::Faults) => {
            report::list_faults();
            Ok(true)
        }
    };

    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(error) => {
            say(&format!("loadtest chaos: {error}"));
            ExitCode::from(NOT_RUN)
        }
    }
}

/// A seed for a run that was given none.
fn any_seed() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Random::new(u64::try_from(now.as_micros()).unwrap_or(0)).next() % 1_000_000
}

/// A duration such as `90s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number
        .parse()
        .map_err(|error| format!("{text} is no duration such as 90s, 5m, 1h: {error}"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err(format!("{text} is no duration such as 90s, 5m, 1h")),
    }
}
