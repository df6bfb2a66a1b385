//! One rate for so long.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::load::options::LoadOptions;
use crate::load::rig::Rig;
use crate::output::{self, Outcome, OutputOptions};
use crate::progress::Progress;
use crate::report::{Peer, Report, Verdict, verdict};
use crate::target::peer::PeerOptions;
use crate::target::{Target, TargetOptions};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sends per second, of all users together
    #[arg(long, value_name = "NUMBER", default_value_t = 500.0, value_parser = rate)]
    rate: f64,
    /// Length of the measured span
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    peer: PeerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// A rate that a schedule can be made of.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .parse()
        .map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if (0.01..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("0.01 to 1,000,000 a second".to_owned())
    }
}

pub(crate) async fn run(options: &Options) -> Result<Outcome, String> {
    let progress = options.output.progress();
    let stop = output::stop_on_interrupt(&progress);
    let mut report = measure(
        options,
        Target::new(&options.target).await?,
        &progress,
        &stop,
    )
    .await?;

    if let Some(peer) = options.peer.peer
        && !stop.is_cancelled()
    {
        progress.say(&format!(
            "starting {}; the first time its packages are installed, which takes a minute",
            peer.name()
        ));
        let theirs = measure(
            options,
            Target::peer(peer, &options.target).await?,
            &progress,
            &stop,
        )
        .await?;
        report.peer = Some(Peer {
            target: theirs.target,
            verdict: theirs.verdict,
            steady: theirs.steady.unwrap_or_default(),
            audit: theirs.audit,
        });
    }
    options.output.finish(&report, &progress)
}

/// One run against one target.
async fn measure(
    options: &Options,
    target: Target,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Report, String> {
    let mut report = output::blank("steady", &target);
    report.settings = options.load.settings(options.target.timeout)?;
    report.settings.rate = Some(options.rate);
    report.settings.duration_s = options.duration.as_secs_f64();
    let mut rig = Rig::start(target, &options.load, &report.settings, progress, stop).await?;

    progress.say(&format!(
        "sending {} a second, {:?} of warm-up first",
        options.rate, options.load.warm_up
    ));
    rig.warm_up(options.rate).await?;
    let load = rig.measure(options.rate, options.duration).await?;

    progress.say("reading the history back");
    let (audit, series, mut warnings) = rig.finish().await?;
    warnings.extend(verdict::doubts(&load));
    if stop.is_cancelled() {
        warnings.push("interrupted: the run is shorter than it was meant to be".to_owned());
    }
    report.verdict = Verdict::of(&audit, warnings);
    (report.steady, report.audit, report.series) = (Some(load), audit, series);
    Ok(report)
}
