//! Planted bugs: a program built for it drops one protection when `ROOKERY_PLANTED` names it. For
//! each there is a scenario that is most likely to show what that protection is for; a checker that
//! misses one is not done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::chaos::clients::Shape;
use crate::chaos::site::Plan;
use crate::chaos::trial::{Setup, Trial, Verdict};
use crate::chaos::wire::say;
use crate::chaos::{Cluster, any_seed};

mod apart;

mod changes;

mod newcomer;

mod said;

mod scenario;

mod space;

mod spoiled;

mod stages;

mod usurped;

use scenario::{Scenario, all};

/// The variable that plants.
const VARIABLE: &str = "ROOKERY_PLANTED";

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    cluster: Cluster,
    /// Only these, comma-separated.
    #[arg(long, value_delimiter = ',')]
    bugs: Vec<String>,
    /// Attempts at each before it counts as missed.
    #[arg(long, default_value_t = 3)]
    attempts: u64,
    /// The same scenarios without a bug: none may find anything.
    #[arg(long)]
    control: bool,
    /// Decides what clients draw.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the result to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What came of one bug.
struct Catch {
    bug: &'static str,
    rule: Option<String>,
    took: Duration,
}

/// Runs them; false when one is missed, or when the control finds something.
pub(crate) async fn run(wanted: &Wanted) -> Result<bool, String> {
    let seed = wanted.seed.unwrap_or_else(any_seed);
    let chosen: Vec<&Scenario> = all()
        .filter(|one| wanted.bugs.is_empty() || wanted.bugs.iter().any(|bug| bug == one.bug))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all().map(|one| one.bug).collect();
        return Err(format!(
            "there is no such bug; there are {}",
            names.join(", ")
        ));
    }
    let mut catches = Vec::new();

    for one in chosen {
        let begun = Instant::now();
        let mut rule = None;
        for attempt in 0..if wanted.control { 1 } else { wanted.attempts } {
            say(&format!("{}: {}", one.bug, one.about));
            let verdict = Box::pin(attempt_of(wanted, one, seed + attempt)).await?;
            rule = verdict
                .violations
                .first()
                .map(|(violation, _)| violation.rule.clone());
            tell(&verdict, wanted.control);
            if rule.is_some() {
                break;
            }
        }
        catches.push(Catch {
            bug: one.bug,
            rule,
            took: begun.elapsed(),
        });
    }

    report(wanted, seed, &catches)
}

async fn attempt_of(wanted: &Wanted, one: &Scenario, seed: u64) -> Result<Verdict, String> {
    let cluster = &wanted.cluster;
    let planted = (VARIABLE.to_owned(), one.bug.to_owned());
    let plan = Plan {
        shards: cluster.shards.min(one.shards),
        node_flags: format!("{} {}", cluster.node_flags, one.node_flags)
            .trim()
            .to_owned(),
        wired: one.wired,
        environment: if wanted.control {
            Vec::new()
        } else {
            vec![planted]
        },
        ..cluster.plan()
    };

    let shape = Shape {
        conversations: 24,
        rate: one.rate,
        readers: one.readers,
        text_bytes: 60,
        churn_ms: one.churn_ms,
        changes: one.stage.changes(),
        known: one.stage.changes(),
        regulars: one.regulars,
    };

    let setup = Setup {
        plan,
        shape,
        flood: 0,
        memory_max: cluster.memory_max,
        keep: false,
        seed,
    };
    let trial = Box::pin(Trial::start(setup)).await?;
    Box::pin(stages::play(&trial, one.stage)).await?;
    Ok(Box::pin(trial.finish()).await)
}

fn tell(verdict: &Verdict, control: bool) {
    if let Some((violation, span)) = verdict.violations.first() {
        say(&format!("  found: {}: {}", violation.rule, violation.said));
        let mut told = BTreeSet::from([&violation.rule]);
        for (other, _) in &verdict.violations {
            if told.insert(&other.rule) {
                say(&format!("  and: {}: {}", other.rule, other.said));
            }
        }
        if control {
            span.iter().for_each(|line| say(&format!("    {line}")));
        }
    }
    if let Some(kept) = &verdict.kept {
        if control {
            say(&format!("  the history is kept in {}", kept.display()));
        } else {
            // It was to be found: nobody needs it.
            std::fs::remove_dir_all(kept).ok();
        }
    }
}

fn report(wanted: &Wanted, seed: u64, catches: &[Catch]) -> Result<bool, String> {
    let what = |one: &Catch| match (&one.rule, wanted.control) {
        (Some(rule), false) => format!("caught: {rule}"),
        (None, false) => "MISSED".to_owned(),
        (Some(rule), true) => format!("WRONG without any bug: {rule}"),
        (None, true) => "clean without any bug".to_owned(),
    };

    say("");
    for one in catches {
        say(&format!(
            "{:<22} {:>6.0} s  {}",
            one.bug,
            one.took.as_secs_f64(),
            what(one)
        ));
    }

    let good = catches
        .iter()
        .filter(|one| one.rule.is_some() != wanted.control)
        .count();
    say(&format!(
        "seed {seed}: {good} of {} as they should be",
        catches.len()
    ));

    if let Some(file) = &wanted.json {
        let list: Vec<_> = catches
            .iter()
            .map(|one| json!({"bug": one.bug, "rule": one.rule}))
            .collect();
        let text = json!({"seed": seed, "control": wanted.control, "bugs": list}).to_string();
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }

    Ok(good == catches.len())
}
