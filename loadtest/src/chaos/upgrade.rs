//! An upgrade of a running cluster under load: nodes to the new program one after the other, half
//! of the way back, then all of it. Whatever is checked while things break is checked here too, and
//! no socket may close but those of a router that is replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use crate::chaos::clients::Shape;
use crate::chaos::row::Row;
use crate::chaos::site::Plan;
use crate::chaos::trial::{Setup, Trial, seconds};
use crate::chaos::wire::say;
use crate::chaos::{Cluster, any_seed, report};

/// A node gets another program: its sessions go on elsewhere, and no socket closes.
pub(crate) const NODE: &str = "replace-node";
/// A router gets another program, which costs its sockets.
const ROUTER: &str = "replace-router";
/// Under load between two steps.
const QUIET: Duration = Duration::from_secs(2);

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    cluster: Cluster,
    /// The program that everything runs at first: that of the version before
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The new version migrates files: before a node goes back, its folder is emptied, as
    /// docs/operations.md says
    #[arg(long)]
    files_migrated: bool,
    /// Decides what clients draw.
    #[arg(long)]
    seed: Option<u64>,
    /// Messages per second of all senders together.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Keep the history and all logs, also when nothing is wrong.
    #[arg(long)]
    keep: bool,
}

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Former,
    New,
}

/// Who is replaced, in this order. The way back ends while a node has not been new yet: what waits
/// for all of them is not in use, so that every one of them may return.
const STEPS: [(&str, Program); 9] = [
    ("node-1", Program::New),
    ("node-2", Program::New),
    ("node-2", Program::Former),
    ("node-1", Program::Former),
    ("node-1", Program::New),
    ("node-2", Program::New),
    ("node-3", Program::New),
    ("router-1", Program::New),
    ("router-2", Program::New),
];

/// Runs it; false when something does not hold.
pub(crate) async fn run(wanted: &Wanted) -> Result<bool, String> {
    let [former, new] = [&wanted.from, &wanted.cluster.binary].map(|path| resolved(path));
    let (former, new) = (former?, new?);
    if same_program(&former, &new)? {
        return Err(format!(
            "{} and {} are the same program: nothing would be upgraded",
            former.display(),
            new.display()
        ));
    }

    let seed = wanted.seed.unwrap_or_else(any_seed);
    let trial = Box::pin(Trial::start(setup(wanted, &former, seed))).await?;
    say(&format!(
        "seed {seed}: from {} to {}",
        former.display(),
        new.display()
    ));

    let begun = Instant::now();
    let mut rows = Vec::new();
    for (name, program) in STEPS {
        trial.pause(QUIET).await;
        if trial.world().log.is_wrong() {
            break;
        }
        let path = match program {
            Program::Former => &former,
            Program::New => &new,
        };
        let emptied = wanted.files_migrated && program == Program::Former;
        rows.push(Box::pin(replace(&trial, name, path, emptied)).await?);
    }

    let lasted = begun.elapsed();
    let verdict = Box::pin(trial.finish()).await;
    report::print(seed, &rows, &verdict, lasted);

    Ok(verdict.counts.violations == 0 && rows.len() == STEPS.len())
}

fn setup(wanted: &Wanted, former: &Path, seed: u64) -> Setup {
    let cluster = &wanted.cluster;
    Setup {
        plan: Plan {
            binary: former.to_owned(),
            ..cluster.plan()
        },
        shape: Shape {
            conversations: 24,
            rate: wanted.rate,
            readers: 6,
            text_bytes: 120,
            churn_ms: 1_500,
            changes: true,
            known: false,
            regulars: false,
        },
        flood: 0,
        memory_max: cluster.memory_max,
        keep: wanted.keep,
        seed,
    }
}

/// Stops a process as its operator would, and starts it with this program; with a folder that is
/// empty, if that is said.
async fn replace(
    trial: &Trial,
    name: &'static str,
    path: &Path,
    emptied: bool,
) -> Result<Row, String> {
    let log = &trial.world().log;
    let site = &trial.field.site;
    let fault = if name.starts_with("node") {
        NODE
    } else {
        ROUTER
    };

    let counting = trial.count(fault);
    let text = path.display().to_string();
    let said = format!(
        "{name} gets {text}{}",
        if emptied { ", and an empty folder" } else { "" }
    );
    log.fault(fault, &format!("begins: {said}"));
    say(&format!("{:>8.1}s  {said}", seconds(log)));

    site.stop(name).await?;
    if emptied {
        site.empty(name)?;
    }
    site.script(&["--binary", &text, "start", name]).await?;
    log.fault(fault, "ends");

    let runs = site.program(name)?;
    if runs != path {
        return Err(format!(
            "{name} runs {}, and not {text}: scripts/cluster did not take --binary",
            runs.display()
        ));
    }

    Ok(trial.well_again(counting).await)
}

fn resolved(path: &Path) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|error| {
        format!(
            "{}: {error}; --from takes the program of the version before, --binary that of this \
             one",
            path.display()
        )
    })
}

fn same_program(one: &Path, other: &Path) -> Result<bool, String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    Ok(one == other || read(one)? == read(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_ends_before_every_node_has_been_new() {
        let last_back = STEPS
            .iter()
            .rposition(|(_, program)| *program == Program::Former)
            .unwrap();
        let were_new: std::collections::BTreeSet<_> = STEPS[..=last_back]
            .iter()
            .filter(|(_, program)| *program == Program::New)
            .map(|(name, _)| name)
            .collect();
        assert!(were_new.len() < 3, "{were_new:?}");
    }

    #[test]
    fn in_the_end_everything_runs_the_new_program() {
        let mut runs = std::collections::BTreeMap::new();
        runs.extend(STEPS);
        assert_eq!(runs.len(), 5);
        assert!(runs.values().all(|program| *program == Program::New));
    }
}
