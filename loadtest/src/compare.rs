//! Two reports side by side: the ratios of their figures, and whether one is past a threshold.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::output::{complain, say};
use crate::report::Report;
use crate::report::ratios::{self, Row};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The report.json that is measured against
    a: PathBuf,
    /// The report.json that is measured
    b: PathBuf,
    /// Exit with 1 when a figure of B is worse than that of A by more than this factor (1.15: 15 %
    /// more cost or time, or a rate of 1/1.15)
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    max_ratio: Option<f64>,
    /// Only these figures, as the last column names them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    figures: Vec<String>,
}

/// What a comparison came to.
#[derive(Debug)]
struct Compared {
    rows: Vec<Row>,
    /// What makes the comparison doubtful.
    notes: Vec<String>,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text
        .parse()
        .map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if (1.0..=1e6).contains(&factor) {
        Ok(factor)
    } else {
        Err("a factor is 1 or more".to_owned())
    }
}

/// As `diff` ends: 0, 1 when a figure is past the threshold, 2 when the two cannot be compared.
pub(crate) fn run(options: &Options) -> ExitCode {
    let compared = Report::read(&options.a).and_then(|a| {
        let b = Report::read(&options.b)?;
        let compared = compare(&a, &b, &options.figures)?;
        say(&format!(
            "A  {}\nB  {}",
            of(&a, options.a.display()),
            of(&b, options.b.display())
        ));
        Ok(compared)
    });
    match compared {
        Ok(compared) => {
            let past = tell(&compared, options.max_ratio);
            ExitCode::from(u8::from(past > 0))
        }
        Err(error) => {
            complain(&format!("loadtest: {error}"));
            ExitCode::from(2)
        }
    }
}

fn of(report: &Report, path: std::path::Display<'_>) -> String {
    format!(
        "{} on {}, {}: {path}",
        report.mode, report.target.kind, report.started
    )
}

fn compare(a: &Report, b: &Report, figures: &[String]) -> Result<Compared, String> {
    let mut rows = ratios::of_reports(a, b)?;
    if !figures.is_empty() {
        let known: Vec<&str> = rows.iter().map(|row| row.name).collect();
        for figure in figures {
            let Some(row) = rows.iter().find(|row| row.name == figure) else {
                return Err(format!(
                    "no figure {figure} in either; there are: {}",
                    known.join(", ")
                ));
            };
            for (side, value) in [("A", row.a), ("B", row.b)] {
                value.ok_or_else(|| {
                    format!("{side} has no figure {figure}: its run could not tell it")
                })?;
            }
        }
        rows.retain(|row| figures.iter().any(|figure| figure == row.name));
    }

    Ok(Compared {
        rows,
        notes: notes(a, b),
    })
}

/// What was different, beside what is measured.
fn notes(a: &Report, b: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let mut differs = |what: &str, one: String, other: String| {
        if one != other {
            notes.push(format!("{what} differs: {one} and {other}"));
        }
    };
    differs("the target", a.target.kind.clone(), b.target.kind.clone());

    let (one, other) = (&a.settings, &b.settings);
    differs("the rate", rate(one.rate), rate(other.rate));
    differs(
        "the number of members",
        format!("{:?}", one.members),
        format!("{:?}", other.members),
    );

    differs(
        "the number of users online",
        one.online.to_string(),
        other.online.to_string(),
    );
    differs(
        "the number of conversations",
        one.conversations.to_string(),
        other.conversations.to_string(),
    );

    differs(
        "the payload",
        one.payload_bytes.to_string(),
        other.payload_bytes.to_string(),
    );
    differs(
        "the bound of sends in flight",
        one.in_flight_max.to_string(),
        other.in_flight_max.to_string(),
    );
    differs("the spacing", one.spacing.clone(), other.spacing.clone());

    for (side, report) in [("A", a), ("B", b)] {
        if !report.verdict.passed {
            notes.push(format!(
                "{side} broke a promise: {}",
                report.verdict.faults.join("; ")
            ));
        }
    }

    notes
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate}/s"))
}

/// Prints the table; how many figures are past the threshold.
fn tell(compared: &Compared, max_ratio: Option<f64>) -> usize {
    let is_past = |row: &Row| {
        max_ratio
            .zip(row.worse())
            .is_some_and(|(max, worse)| worse > max)
    };
    let words = |row: &Row| {
        if is_past(row) {
            format!("{}  PAST", row.name)
        } else {
            row.name.to_owned()
        }
    };

    for line in ratios::render(&compared.rows, ["A", "B", "B / A"], words) {
        say(&line);
    }

    for note in &compared.notes {
        say(&format!("  note         {note}"));
    }

    let past = compared.rows.iter().filter(|row| is_past(row)).count();
    if let Some(max) = max_ratio {
        say(&match past {
            0 => format!("  no figure is worse by more than {max}"),
            _ => format!(
                "  {past} of {} figures are worse by more than {max}",
                compared.rows.len()
            ),
        });
    }

    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::example;

    /// The example with a p99 of sends and a rate that are so many times as high.
    fn run_with(p99: f64, sends: f64) -> Report {
        let mut report = example();
        let load = report.steady.as_mut().unwrap();
        load.post.p99_ms *= p99;
        load.sends.accepted_per_second *= sends;
        report
    }

    fn past(b: &Report, figures: &[&str], max_ratio: f64) -> usize {
        let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
        tell(&compare(&example(), b, &figures).unwrap(), Some(max_ratio))
    }

    #[test]
    fn a_figure_that_is_worse_by_more_than_the_threshold_is_past_it() {
        assert_eq!(past(&run_with(1.0, 1.0), &[], 1.0), 0, "the same run");
        assert_eq!(past(&run_with(1.2, 1.0), &[], 1.15), 1);
        assert_eq!(past(&run_with(1.1, 1.0), &[], 1.15), 0);
        assert_eq!(past(&run_with(1.0, 0.8), &[], 1.15), 1, "a rate that fell");
        assert_eq!(past(&run_with(0.5, 2.0), &[], 1.0), 0, "all better");
        assert_eq!(
            past(&run_with(1.2, 0.8), &["sends"], 1.15),
            1,
            "the other is not asked for"
        );
    }

    #[test]
    fn the_cost_of_the_client_is_shown_and_not_judged() {
        let mut dear = example();
        dear.steady.as_mut().unwrap().client.cpu_us_per_message = 1e6;
        assert_eq!(past(&dear, &[], 1.15), 0);
    }

    #[test]
    fn a_figure_that_is_asked_for_must_be_in_both() {
        let asked =
            |b: &Report, name: &str| compare(&example(), b, &[name.to_owned()]).unwrap_err();
        assert!(
            asked(&example(), "speed").contains("no figure speed in either; there are: sends, ")
        );
        let mut silent = example();
        silent.steady.as_mut().unwrap().server = None;
        assert!(asked(&silent, "server-cpu").contains("B has no figure server-cpu"));
        assert_eq!(
            past(&silent, &[], 1.15),
            0,
            "where it is not asked for it is only shown"
        );
    }

    #[test]
    fn what_differs_beside_the_figures_is_told() {
        let mut other = example();
        assert!(notes(&example(), &other).is_empty());

        other.settings.rate = Some(2_000.0);
        other.target.kind = "cluster".to_owned();
        other.verdict.passed = false;
        other.verdict.faults = vec!["3 lost".to_owned()];

        let told = notes(&example(), &other);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.contains(&"the rate differs: 1000/s and 2000/s".to_owned()),
            "{told:?}"
        );
        assert!(
            told.contains(&"B broke a promise: 3 lost".to_owned()),
            "{told:?}"
        );
    }

    #[test]
    fn a_threshold_below_one_is_refused() {
        assert_eq!(factor("1.15"), Ok(1.15));
        for text in ["0.9", "-1", "NaN", "much"] {
            assert!(factor(text).is_err(), "{text}");
        }
    }
}
