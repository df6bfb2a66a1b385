//! What a run says at its end: the table, the violations with the spans of the history, the seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chaos::checker::{Checker, Violation};
use crate::chaos::faults::all;
use crate::chaos::history::{Record, store};
use crate::chaos::row::Row;
use crate::chaos::trial::Verdict;
use crate::chaos::wire::say;

/// Violations that are shown with their span.
const SHOWN_MAX: usize = 5;

/// A fault over all its runs.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    operations: u64,
    unknown: u64,
    longest: Duration,
    deaf: Duration,
    in_sync: Duration,
    violations: u64,
    skipped: Option<String>,
}

fn sums(rows: &[Row]) -> BTreeMap<&'static str, Sum> {
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.fault).or_default();
        sum.runs += u64::from(row.skipped.is_none());
        sum.operations += row.operations;
        sum.unknown += row.unknown;
        sum.longest = sum.longest.max(row.longest);
        sum.deaf = sum.deaf.max(row.deaf);
        sum.in_sync = sum.in_sync.max(row.in_sync);
        sum.violations += row.violations;
        if row.skipped.is_some() {
            sum.skipped.clone_from(&row.skipped);
        }
    }
    sums
}

/// Prints the table and what is wrong.
pub(crate) fn print(seed: u64, rows: &[Row], verdict: &Verdict, lasted: Duration) {
    say("");
    say(&format!(
        "{:<24} {:>5} {:>11} {:>9} {:>10} {:>10} {:>10} {:>11}",
        "fault", "runs", "operations", "in doubt", "unwritten", "deaf", "in sync", "violations"
    ));

    for (fault, sum) in sums(rows) {
        if sum.runs == 0 {
            say(&format!(
                "{fault:<24} skipped: {}",
                sum.skipped.unwrap_or_default()
            ));
            continue;
        }
        let [longest, deaf, in_sync] =
            [sum.longest, sum.deaf, sum.in_sync].map(|time| format!("{:.2} s", time.as_secs_f64()));
        say(&format!(
            "{fault:<24} {:>5} {:>11} {:>9} {longest:>10} {deaf:>10} {in_sync:>10} {:>11}",
            sum.runs, sum.operations, sum.unknown, sum.violations
        ));
    }

    let counts = verdict.counts;
    say(&format!(
        "{} operations in {:.0} s: {} messages acknowledged, {} refused, {} unknown for ever, {} \
         sure only after a retry; {} reads, {} marked as stale; {} changes sent to sessions, {} \
         gaps, {} replaced",
        counts.operations,
        lasted.as_secs_f64(),
        counts.acknowledged,
        counts.failed,
        counts.unknown,
        counts.retried,
        counts.reads,
        counts.stale,
        counts.frames,
        counts.gaps,
        counts.replaced,
    ));

    for note in &verdict.notes {
        say(note);
    }

    violations(&verdict.violations);
    if let Some(kept) = &verdict.kept {
        say(&format!(
            "the history and all logs are kept in {}",
            kept.display()
        ));
    }

    say(&format!(
        "seed {seed}: {} violations",
        verdict.counts.violations
    ));
}

/// Prints what is wrong.
fn violations(all: &[(Violation, Vec<String>)]) {
    for (i, (violation, span)) in all.iter().enumerate() {
        let at = Duration::from_micros(violation.at).as_secs_f64();
        say(&format!(
            "VIOLATION at {at:.3} s: {}: {}",
            violation.rule, violation.said
        ));
        if i < SHOWN_MAX {
            span.iter().for_each(|line| say(&format!("    {line}")));
        }
    }
}

/// The same for programs.
pub(crate) fn json(seed: u64, rows: &[Row], verdict: &Verdict, lasted: Duration) -> Value {
    let faults: Vec<Value> = sums(rows)
        .into_iter()
        .map(|(fault, sum)| {
            json!({"fault": fault, "runs": sum.runs, "operations": sum.operations, "in_doubt": sum.unknown,
                "longest_ms": millis(sum.longest), "deaf_ms": millis(sum.deaf), "in_sync_ms": millis(sum.in_sync),
                "violations": sum.violations, "skipped": sum.skipped})
        })
        .collect();
    let wrong: Vec<Value> = verdict
        .violations
        .iter()
        .map(|(one, _)| json!({"rule": one.rule, "said": one.said, "at_us": one.at}))
        .collect();
    let counts = verdict.counts;
    json!({"seed": seed, "seconds": lasted.as_secs(), "faults": faults, "violations": wrong, "notes": verdict.notes,
        "operations": counts.operations, "acknowledged": counts.acknowledged, "failed": counts.failed,
        "unknown": counts.unknown, "retried": counts.retried, "reads": counts.reads, "stale": counts.stale,
        "frames": counts.frames, "gaps": counts.gaps, "replaced": counts.replaced})
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Checks a history that was kept.
pub(crate) fn check(folder: &Path) -> Result<bool, String> {
    let mut checker = Checker::default();
    let mut torn = 0;
    store::each_line(folder, |line| match serde_json::from_str::<Record>(line) {
        Ok(record) => checker.take(&record),
        // The last line of a run that was killed.
        Err(_) => torn += 1,
    })?;

    let found: Vec<(Violation, Vec<String>)> = checker
        .violations
        .iter()
        .map(|one| (one.clone(), Vec::new()))
        .collect();
    violations(&found);

    say(&format!(
        "{:?}, {torn} lines not understood",
        checker.counts
    ));
    Ok(checker.counts.violations == 0)
}

/// Prints all faults.
pub(crate) fn list_faults() {
    for fault in all() {
        let short = if fault.short { "short" } else { "" };
        let possible = fault
            .possible()
            .err()
            .map_or_else(String::new, |error| format!("; not here: {error}"));
        say(&format!(
            "{:<24} {short:<6} {}{possible}",
            fault.name, fault.about
        ));
    }
}
