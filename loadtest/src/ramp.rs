//! Growing rates, until an objective breaks.

use std::time::Duration;

use clap::Args;

use crate::load::options::LoadOptions;
use crate::load::rig::Rig;
use crate::output::{self, Outcome, OutputOptions};
use crate::report::figures::float;
use crate::report::wording::{count, ms};
use crate::report::{Load, Ramp, Slo, Step, Verdict, verdict};
use crate::steady::rate;
use crate::target::{Target, TargetOptions};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sends per second of the first step
    #[arg(long, value_name = "NUMBER", default_value_t = 250.0, value_parser = rate)]
    from: f64,
    /// Highest rate
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000.0, value_parser = rate)]
    to: f64,
    /// Each step has so many times the rate of the one before …
    #[arg(long, value_name = "NUMBER", default_value_t = 1.25, value_parser = factor)]
    factor: f64,
    /// … or so many sends per second more
    #[arg(long, value_name = "NUMBER", conflicts_with = "factor", value_parser = rate)]
    step: Option<f64>,
    /// Length of each step
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    step_duration: Duration,
    /// Objective: 99 % of sends are answered within this time of being due
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = humantime::parse_duration)]
    slo_p99: Duration,
    /// Objective: 99 % of deliveries within this time of the send being due [default: any]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    slo_deliver_p99: Option<Duration>,
    /// Objective: share of sends that may fail, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    slo_errors: f64,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    output: OutputOptions,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text
        .parse()
        .map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if (1.01..=100.0).contains(&factor) {
        Ok(factor)
    } else {
        Err("1.01 to 100".to_owned())
    }
}

pub(crate) async fn run(options: &Options) -> Result<Outcome, String> {
    let mut settings = options.load.settings(options.target.timeout)?;
    settings.duration_s = options.step_duration.as_secs_f64();

    let progress = options.output.progress();
    let stop = output::stop_on_interrupt(&progress);
    let target = Target::new(&options.target).await?;
    let mut report = output::blank("ramp", &target);
    report.settings = settings;

    let mut ramp = Ramp {
        slo: options.slo(),
        ..Ramp::default()
    };
    let mut rig = Rig::start(target, &options.load, &report.settings, &progress, &stop).await?;
    let mut warnings = Vec::new();
    rig.warm_up(options.from).await?;

    for rate in options.rates() {
        let load = rig.measure(rate, options.step_duration).await?;
        if stop.is_cancelled() {
            warnings.push("interrupted: the last step was not finished and is left out".to_owned());
            break;
        }
        let broke = broken(&ramp.slo, &load);
        progress.say(&line_of(rate, &load, &broke));
        warnings.extend(
            verdict::doubts(&load)
                .into_iter()
                .map(|doubt| format!("at {} a second: {doubt}", count(rate))),
        );
        let held = broke.is_empty();
        ramp.steps.push(Step { rate, broke, load });
        if !held {
            break;
        }
        ramp.highest_rate = Some(rate);
    }

    progress.say("reading the history back");
    let (audit, series, more) = rig.finish().await?;
    warnings.extend(more);
    report.verdict = Verdict::of(&audit, warnings);
    (report.ramp, report.audit, report.series) = (Some(ramp), audit, series);
    options.output.finish(&report, &progress)
}

impl Options {
    fn slo(&self) -> Slo {
        Slo {
            post_p99_ms: self.slo_p99.as_secs_f64() * 1e3,
            deliver_p99_ms: self
                .slo_deliver_p99
                .map(|within| within.as_secs_f64() * 1e3),
            errors: self.slo_errors / 100.0,
        }
    }

    /// From the first to the highest, which is the last.
    fn rates(&self) -> Vec<f64> {
        let next = |rate: &f64| {
            let next = self.step.map_or(rate * self.factor, |step| rate + step);
            (*rate < self.to).then(|| next.min(self.to))
        };
        std::iter::successors(Some(self.from.min(self.to)), next).collect()
    }
}

/// What of the objective a step broke.
fn broken(slo: &Slo, load: &Load) -> Vec<String> {
    let mut broke = Vec::new();
    if load.post.p99_ms > slo.post_p99_ms {
        broke.push(format!(
            "p99 of sends {} ms, of at most {} ms",
            ms(load.post.p99_ms),
            ms(slo.post_p99_ms)
        ));
    }

    if let Some(within) = slo.deliver_p99_ms
        && load.deliver.p99_ms > within
    {
        broke.push(format!(
            "p99 of deliveries {} ms, of at most {} ms",
            ms(load.deliver.p99_ms),
            ms(within)
        ));
    }

    let failed = load.sends.failed + load.sends.unsent;
    let share = float(failed) / float(load.sends.scheduled.max(1));
    if share > slo.errors {
        broke.push(format!(
            "{:.3} % of the sends failed, of at most {} %",
            share * 100.0,
            slo.errors * 100.0
        ));
    }

    broke
}

fn line_of(rate: f64, load: &Load, broke: &[String]) -> String {
    let verdict = if broke.is_empty() {
        "held".to_owned()
    } else {
        format!("broke: {}", broke.join("; "))
    };
    format!(
        "{} a second: {} accepted, p99 {} ms, deliveries p99 {} ms: {verdict}",
        count(rate),
        count(load.sends.accepted_per_second),
        ms(load.post.p99_ms),
        ms(load.deliver.p99_ms)
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::Latency;
    use crate::report::figures::Sends;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn rates(line: &str) -> Vec<f64> {
        Line::try_parse_from(line.split_whitespace())
            .unwrap()
            .options
            .rates()
    }

    #[test]
    fn rates_grow_by_a_factor_or_by_a_step_and_end_with_the_highest() {
        assert_eq!(
            rates("x --from 100 --to 800 --factor 2"),
            [100.0, 200.0, 400.0, 800.0]
        );
        assert_eq!(
            rates("x --from 100 --to 250 --step 100"),
            [100.0, 200.0, 250.0]
        );
        assert_eq!(rates("x --from 100 --to 50"), [50.0]);
    }

    #[test]
    fn a_step_breaks_by_latency_by_delivery_and_by_failures_that_never_started_too() {
        let slo = Slo {
            post_p99_ms: 100.0,
            deliver_p99_ms: Some(200.0),
            errors: 0.01,
        };

        let latency = |p99_ms| Latency {
            p99_ms,
            ..Latency::default()
        };
        let load = |post, deliver, failed, unsent| Load {
            sends: Sends {
                scheduled: 1_000,
                failed,
                unsent,
                ..Sends::default()
            },
            post: latency(post),
            deliver: latency(deliver),
            ..Load::default()
        };

        assert!(broken(&slo, &load(100.0, 200.0, 5, 5)).is_empty());
        assert_eq!(broken(&slo, &load(101.0, 201.0, 0, 0)).len(), 2);
        assert_eq!(broken(&slo, &load(1.0, 1.0, 5, 6)).len(), 1);

        let any = Slo {
            deliver_p99_ms: None,
            ..slo
        };
        assert!(broken(&any, &load(1.0, 9_999.0, 0, 0)).is_empty());
    }
}
