//! What comes out of a run: files, the table, the exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::report::{Audit, Report, TargetReport, VERSION, Verdict, table};
use crate::target::Target;

/// Where it goes, by flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Folder of report.json and report.html [default: target/loadtest/MODE-TIME]
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// Which report to show.
#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// A report.json
    file: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything arrived once and in order.
    Passed,
    /// Something was lost, doubled or out of order.
    Faults,
    /// Not even the first rate of a ramp held.
    NothingHeld,
}

impl Outcome {
    /// 0, 3, 4; 1 is a run that could not be made, 2 a wrong command line.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Faults => 3,
            Self::NothingHeld => 4,
        })
    }
}

impl OutputOptions {
    /// The progress line.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::new(Progress::new(self.quiet))
    }

    /// Writes the files and prints the table.
    pub(crate) fn finish(&self, report: &Report, progress: &Progress) -> Result<Outcome, String> {
        progress.close();
        let name = format!("{}-{}", report.mode, report.started.replace([':', '-'], ""));
        let folder = self
            .report
            .clone()
            .unwrap_or_else(|| PathBuf::from("target/loadtest").join(name));
        let (json, html) = report.write(&folder)?;
        say(&table::render(report));
        say(&format!("{}\n{}", json.display(), html.display()));
        Ok(outcome(report))
    }
}

/// Shows a report that was written before.
pub(crate) fn show(options: &ShowOptions) -> Result<Outcome, String> {
    let report = Report::read(&options.file)?;
    let folder = options.file.parent().map(PathBuf::from).unwrap_or_default();
    let (_, html) = report.write(&folder)?;
    say(&table::render(&report));
    say(&html.display().to_string());
    Ok(outcome(&report))
}

fn outcome(report: &Report) -> Outcome {
    if !report.verdict.passed {
        Outcome::Faults
    } else if report
        .ramp
        .as_ref()
        .is_some_and(|ramp| ramp.highest_rate.is_none())
    {
        Outcome::NothingHeld
    } else {
        Outcome::Passed
    }
}

/// A report that has no figures yet.
pub(crate) fn blank(mode: &str, target: &Target) -> Report {
    // Only for people: nothing is measured with it.
    let started =
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_epoch()).to_string();
    Report {
        version: VERSION,
        program: format!("loadtest {}", env!("CARGO_PKG_VERSION")),
        mode: mode.to_owned(),
        started,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        verdict: Verdict::default(),
        target: TargetReport {
            kind: target.kind.to_owned(),
            clients: target.clients.iter().map(ToString::to_string).collect(),
            processes: target
                .operations
                .iter()
                .map(|process| process.name.clone())
                .collect(),
        },
        settings: crate::report::Settings::default(),
        steady: None,
        ramp: None,
        idle: None,
        audit: Audit::default(),
        series: Vec::new(),
        peer: None,
    }
}

fn since_epoch() -> std::time::Duration {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Cancelled by the first Ctrl-C: the run ends early, with a report of what there is. A second one
/// ends the program.
pub(crate) fn stop_on_interrupt(progress: &Arc<Progress>) -> CancellationToken {
    let stop = CancellationToken::new();
    let (told, progress) = (stop.clone(), Arc::clone(progress));
    drop(tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            progress.say("interrupted: ending early; once more to end at once");
            told.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }));
    stop
}

/// Prints a line of the report.
#[expect(
    clippy::print_stdout,
    reason = "the report is the output of this program"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Tells why there is no report.
#[expect(clippy::print_stderr, reason = "the one line that a failed run leaves")]
pub(crate) fn complain(line: &str) {
    eprintln!("{line}");
}
