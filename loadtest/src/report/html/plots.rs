//! The plots of the page: what is drawn of a report, and what stands around it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::Report;
use crate::report::figures::{Latency, Load, Quantile, Ramp, Second, float};
use crate::report::html::MEBIBYTE;
use crate::report::plots::{Curve, Plot, Scale, nines};
use crate::report::wording::name_of;

/// Kinds of errors that have a curve of their own.
const ERRORS_MAX: usize = 6;

/// A plot with what stands around it.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    title: &'static str,
    /// What to look for.
    note: String,
    legend: Vec<(String, u8)>,
    /// None when there is nothing to draw.
    svg: Option<String>,
    /// Said instead of a drawing.
    empty: &'static str,
}

/// All plots of the report, in the order of the page.
pub(super) fn figures(report: &Report, load: Option<&Load>) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    if let Some(ramp) = &report.ramp {
        figures.push(figure(
            "Latency by rate",
            "How latency grows with the rate; the objective is the flat line.",
            by_rate(ramp),
        )?);
    }

    if report.idle.is_none() {
        figures.extend(sends_over_time(report)?);
    }

    if let Some(load) = load {
        figures.push(figure(
            "Distribution of latencies",
            "A point at 99 % says: 99 of 100 took at most so long.",
            distribution(load),
        )?);
    }

    figures.push(if report.idle.is_none() {
        failed_sends(&report.series)?
    } else {
        open_sockets(&report.series)?
    });

    figures.extend(used(&report.series)?);
    Ok(figures)
}

/// A curve of what each second had.
fn curve(series: &[Second], name: &str, colour: u8, of: &dyn Fn(&Second) -> Option<f64>) -> Curve {
    Curve::new(
        name,
        colour,
        series
            .iter()
            .filter_map(|second| Some((second.at_s, of(second)?))),
    )
}

fn over_time(up: Scale, curves: Vec<Curve>) -> Plot {
    Plot {
        across: Scale::Seconds,
        up,
        curves,
    }
}

/// Rates and latencies of sends and deliveries.
fn sends_over_time(report: &Report) -> Result<[Figure; 4], String> {
    let series = &report.series;
    let warm_up = format!(
        "The first {} s are warm-up and not in the figures.",
        report.settings.warm_up_s
    );
    let throughput = vec![
        curve(series, "due", 5, &|second| Some(second.rate)),
        curve(series, "accepted", 0, &|second| Some(second.accepted)),
    ];
    let deliveries = vec![curve(series, "deliveries", 1, &|second| {
        Some(second.deliveries)
    })];
    let post = latency(series, |second| &second.post);
    let deliver = latency(series, |second| &second.deliver);
    let note = "From the moment a send was due, by the second of its end.";

    Ok([
        figure(
            "Sends per second",
            &warm_up,
            over_time(Scale::Count, throughput),
        )?,
        figure(
            "Deliveries per second",
            "",
            over_time(Scale::Count, deliveries),
        )?,
        figure(
            "POST latency over time",
            note,
            over_time(Scale::Milliseconds, post),
        )?,
        figure(
            "Send to delivered over time",
            note,
            over_time(Scale::Milliseconds, deliver),
        )?,
    ])
}

fn failed_sends(series: &[Second]) -> Result<Figure, String> {
    let mut failed = figure(
        "Failed sends per second",
        "",
        over_time(Scale::Count, errors_over_time(series)),
    )?;
    failed.empty = "No send failed.";
    Ok(failed)
}

fn open_sockets(series: &[Second]) -> Result<Figure, String> {
    let sockets = vec![curve(series, "sockets", 0, &|second| {
        Some(float(second.sockets))
    })];
    figure("Open sockets", "", over_time(Scale::Count, sockets))
}

/// What the server and this client used of the machine.
fn used(series: &[Second]) -> Result<[Figure; 2], String> {
    let memory = vec![curve(series, "server", 2, &|second| {
        second.resident_bytes.map(|bytes| bytes / MEBIBYTE)
    })];
    let processors = vec![
        curve(series, "server", 2, &|second| second.server_processors),
        curve(series, "this client", 3, &|second| {
            Some(second.client_processors)
        }),
    ];

    Ok([
        figure(
            "Resident memory of the server",
            "",
            over_time(Scale::Mebibytes, memory),
        )?,
        figure(
            "Processors kept busy",
            "",
            over_time(Scale::Processors, processors),
        )?,
    ])
}

fn figure(title: &'static str, note: &str, plot: Plot) -> Result<Figure, String> {
    let svg = plot.svg()?;
    let drawn = plot.curves.iter().filter(|curve| !curve.points.is_empty());
    let legend = drawn
        .map(|curve| (curve.name.clone(), curve.colour))
        .collect();
    Ok(Figure {
        title,
        note: note.to_owned(),
        legend,
        svg,
        empty: "Nothing was measured.",
    })
}

/// p50, p99 and the highest of each second that had any.
fn latency(series: &[Second], of: fn(&Second) -> &Latency) -> Vec<Curve> {
    let curve = |name: &str, colour, value: fn(&Latency) -> f64| {
        let measured = series.iter().filter(|second| of(second).count > 0);
        Curve::new(
            name,
            colour,
            measured.map(|second| (second.at_s, value(of(second)))),
        )
    };
    vec![
        curve("max", 5, |latency| latency.max_ms),
        curve("p99", 4, |latency| latency.p99_ms),
        curve("p90", 3, |latency| latency.p90_ms),
        curve("p50", 0, |latency| latency.p50_ms),
    ]
}

fn distribution(load: &Load) -> Plot {
    let curve = |name: &str, colour, points: &[Quantile], values| {
        Curve::new(
            name,
            colour,
            points
                .iter()
                .map(|point| (nines(point.share, values), point.ms)),
        )
    };

    let curves = vec![
        curve("POST", 0, &load.distribution.post, load.post.count),
        curve(
            "send to delivered",
            1,
            &load.distribution.deliver,
            load.deliver.count,
        ),
    ];

    Plot {
        across: Scale::Nines,
        up: Scale::Milliseconds,
        curves,
    }
}

/// A curve for each kind, the most frequent ones.
fn errors_over_time(series: &[Second]) -> Vec<Curve> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for error in series.iter().flat_map(|second| &second.errors) {
        *totals.entry(name_of(error)).or_default() += error.count;
    }

    let mut most: Vec<(String, u64)> = totals.into_iter().collect();
    most.sort_by_key(|(_, total)| std::cmp::Reverse(*total));

    let names: Vec<String> = most
        .into_iter()
        .take(ERRORS_MAX)
        .map(|(name, _)| name)
        .collect();
    let of = |second: &Second, name: &str| {
        let count = second
            .errors
            .iter()
            .filter(|error| name_of(error) == name)
            .map(|error| error.count)
            .sum::<u64>();
        (second.at_s, float(count))
    };

    let curve = |(colour, name): (u8, String)| {
        Curve::new(
            name.clone(),
            colour,
            series.iter().map(|second| of(second, &name)),
        )
    };
    (0..).zip(names).map(curve).collect()
}

fn by_rate(ramp: &Ramp) -> Plot {
    let curve = |name: &str, colour, of: &dyn Fn(&Load) -> f64| {
        Curve::new(
            name,
            colour,
            ramp.steps.iter().map(|step| (step.rate, of(&step.load))),
        )
    };
    let curves = vec![
        curve("objective for POST p99", 5, &|_| ramp.slo.post_p99_ms),
        curve("POST p99", 4, &|load| load.post.p99_ms),
        curve("POST p50", 0, &|load| load.post.p50_ms),
        curve("send to delivered p99", 3, &|load| load.deliver.p99_ms),
        curve("send to delivered p50", 1, &|load| load.deliver.p50_ms),
    ];

    Plot {
        across: Scale::Count,
        up: Scale::Milliseconds,
        curves,
    }
}
