//! The report as one page that opens anywhere: no script, no font, no address outside.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Environment, context};
use serde::Serialize;

use crate::report::Report;
use crate::report::figures::{Latency, Load, Quantile, Ramp, Second, float};
use crate::report::plots::{Curve, Plot, Scale, nines};
use crate::report::wording::{count, errors, ms, name_of, whole};

/// The page; minijinja escapes everything in it that is not said to be safe.
const PAGE: &str = include_str!("report.html");
/// Its style sheet.
const STYLE: &str = include_str!("report.css");
/// Kinds of errors that have a curve of their own.
const ERRORS_MAX: usize = 6;
const MEBIBYTE: f64 = 1_048_576.0;

/// A plot with what stands around it.
#[derive(Debug, Serialize)]
struct Figure {
    title: &'static str,
    /// What to look for.
    note: String,
    legend: Vec<(String, u8)>,
    /// None when there is nothing to draw.
    svg: Option<String>,
    /// Said instead of a drawing.
    empty: &'static str,
}

/// A line of a table of latencies.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    cells: Vec<String>,
}

/// A figure in large type.
#[derive(Debug, Serialize)]
struct Tile {
    label: &'static str,
    value: String,
    unit: String,
}

/// The whole page.
pub(crate) fn render(report: &Report) -> Result<String, String> {
    let told = |error: minijinja::Error| format!("the page: {error:#}");
    let mut page = Environment::new();
    page.add_template("report.html", PAGE).map_err(told)?;
    let settings = serde_json::to_value(&report.settings).map_err(|error| error.to_string())?;
    let empty = serde_json::Map::new();
    let settings: Vec<(String, String)> = settings
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.replace('_', " "), value.to_string().replace('"', "")))
        .collect();
    let step_load = report
        .ramp
        .as_ref()
        .and_then(|ramp| ramp.steps.iter().rev().find(|step| step.broke.is_empty()));
    let load = report
        .steady
        .as_ref()
        .or_else(|| step_load.map(|step| &step.load));
    let context = context! {
        report => report,
        style => STYLE,
        settings => settings,
        tiles => tiles(report, load),
        figures => figures(report, load)?,
        latencies => load.map(latencies),
        load_note => step_load.map(|step| format!("of the highest rate that held, {} a second", count(step.rate))),
        errors => load.map(|load| errors(&load.errors)),
        processes => load.map(processes),
        steps => report.ramp.as_ref().map(steps),
        audit => audit(report),
    };
    page.get_template("report.html")
        .and_then(|page| page.render(context))
        .map_err(told)
}

fn tiles(report: &Report, load: Option<&Load>) -> Vec<Tile> {
    let tile = |label, value: String, unit: &str| Tile {
        label,
        value,
        unit: unit.to_owned(),
    };
    let mut tiles = Vec::new();
    if let Some(ramp) = &report.ramp {
        tiles.push(tile(
            "highest rate that held",
            ramp.highest_rate.map_or_else(|| "none".to_owned(), count),
            "sends/s",
        ));
    }
    if let Some(load) = load {
        tiles.push(tile(
            "accepted",
            count(load.sends.accepted_per_second),
            "sends/s",
        ));
        tiles.push(tile(
            "delivered",
            count(load.deliveries_per_second),
            "deliveries/s",
        ));
        tiles.push(tile("POST p99", ms(load.post.p99_ms), "ms"));
        tiles.push(tile("delivered p99", ms(load.deliver.p99_ms), "ms"));
        tiles.push(tile(
            "failed",
            whole(load.sends.failed + load.sends.unsent),
            "sends",
        ));
        if let Some(server) = &load.server {
            tiles.push(tile(
                "server CPU",
                format!("{:.0}", server.cpu_us_per_message),
                "µs a message",
            ));
            tiles.push(tile(
                "server memory",
                format!("{:.0}", server.resident_highest_bytes / MEBIBYTE),
                "MiB",
            ));
        }
    }
    if let Some(idle) = &report.idle {
        tiles.push(tile("sessions", whole(idle.sessions), "opened"));
        tiles.push(tile(
            "still open at the end",
            whole(idle.open_at_end),
            "sessions",
        ));
        tiles.push(tile("opening", ms(idle.open.p99_ms), "ms p99"));
        if let Some(each) = idle.bytes_per_session {
            tiles.push(tile(
                "memory",
                format!("{:.1}", each / 1024.0),
                "KiB a session",
            ));
        }
        if let Some(processors) = idle.server_processors {
            tiles.push(tile(
                "server CPU at rest",
                format!("{processors:.3}"),
                "processors",
            ));
        }
    }
    tiles
}

fn figures(report: &Report, load: Option<&Load>) -> Result<Vec<Figure>, String> {
    let series = &report.series;
    let curve = |name: &str, colour, of: &dyn Fn(&Second) -> Option<f64>| {
        Curve::new(
            name,
            colour,
            series
                .iter()
                .filter_map(|second| Some((second.at_s, of(second)?))),
        )
    };
    let over_time = |up, curves| Plot {
        across: Scale::Seconds,
        up,
        curves,
    };
    let mut figures = Vec::new();
    if let Some(ramp) = &report.ramp {
        figures.push(figure(
            "Latency by rate",
            "How latency grows with the rate; the objective is the flat line.",
            by_rate(ramp),
        )?);
    }
    if report.idle.is_none() {
        let warm_up = format!(
            "The first {} s are warm-up and not in the figures.",
            report.settings.warm_up_s
        );
        let throughput = vec![
            curve("due", 5, &|second| Some(second.rate)),
            curve("accepted", 0, &|second| Some(second.accepted)),
        ];
        figures.push(figure(
            "Sends per second",
            &warm_up,
            over_time(Scale::Count, throughput),
        )?);
        let deliveries = vec![curve("deliveries", 1, &|second| Some(second.deliveries))];
        figures.push(figure(
            "Deliveries per second",
            "",
            over_time(Scale::Count, deliveries),
        )?);
        let note = "From the moment a send was due, by the second of its end.";
        figures.push(figure(
            "POST latency over time",
            note,
            over_time(Scale::Milliseconds, latency(series, |second| &second.post)),
        )?);
        figures.push(figure(
            "Send to delivered over time",
            note,
            over_time(
                Scale::Milliseconds,
                latency(series, |second| &second.deliver),
            ),
        )?);
    }
    if let Some(load) = load {
        figures.push(figure(
            "Distribution of latencies",
            "A point at 99 % says: 99 of 100 took at most so long.",
            distribution(load),
        )?);
    }
    if report.idle.is_none() {
        let mut failed = figure(
            "Failed sends per second",
            "",
            over_time(Scale::Count, errors_over_time(series)),
        )?;
        failed.empty = "No send failed.";
        figures.push(failed);
    } else {
        let sockets = vec![curve("sockets", 0, &|second| Some(float(second.sockets)))];
        figures.push(figure(
            "Open sockets",
            "",
            over_time(Scale::Count, sockets),
        )?);
    }
    let memory = vec![curve("server", 2, &|second| {
        second.resident_bytes.map(|bytes| bytes / MEBIBYTE)
    })];
    figures.push(figure(
        "Resident memory of the server",
        "",
        over_time(Scale::Mebibytes, memory),
    )?);
    let processors = vec![
        curve("server", 2, &|second| second.server_processors),
        curve("this client", 3, &|second| Some(second.client_processors)),
    ];
    figures.push(figure(
        "Processors kept busy",
        "",
        over_time(Scale::Processors, processors),
    )?);
    Ok(figures)
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

fn cells(latency: &Latency) -> Vec<String> {
    let Latency {
        p50_ms,
        p90_ms,
        p99_ms,
        p99_9_ms,
        max_ms,
        ..
    } = latency;
    std::iter::once(whole(latency.count))
        .chain([p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms].map(|value| ms(*value)))
        .collect()
}

fn latencies(load: &Load) -> Vec<Row> {
    let row = |name: String, latency: &Latency| Row {
        name,
        cells: cells(latency),
    };
    let mut rows = vec![
        row("POST, from due".to_owned(), &load.post),
        row("POST, from its start".to_owned(), &load.post_from_start),
        row("send to delivered".to_owned(), &load.deliver),
        row("lateness of the client".to_owned(), &load.sends.lateness),
    ];
    let sizes: BTreeSet<u64> = load.by_members.iter().map(|group| group.members).collect();
    for group in load.by_members.iter().filter(|_| sizes.len() > 1) {
        rows.push(row(format!("{} members: POST", group.members), &group.post));
        rows.push(row(
            format!("{} members: delivered", group.members),
            &group.deliver,
        ));
    }
    rows
}

fn processes(load: &Load) -> Vec<Row> {
    let mut rows = Vec::new();
    for process in load.server.iter().flat_map(|server| &server.processes) {
        let cells = vec![
            format!("{:.0}", process.cpu_us_per_message),
            format!("{:.2}", process.cpu_seconds),
            format!("{:.0}", process.resident_begin_bytes / MEBIBYTE),
            format!("{:.0}", process.resident_end_bytes / MEBIBYTE),
        ];
        rows.push(Row {
            name: process.name.clone(),
            cells,
        });
    }
    if let Some(redis) = &load.redis {
        let memory = format!("{:.0}", float(redis.memory_highest_bytes) / MEBIBYTE);
        let cells = vec![
            format!("{:.0}", redis.cpu_us_per_message),
            String::new(),
            String::new(),
            memory,
        ];
        rows.push(Row {
            name: "Redis, all servers (memory: the largest)".to_owned(),
            cells,
        });
    }
    let client = &load.client;
    let cells = vec![
        format!("{:.0}", client.cpu_us_per_message),
        format!("{:.2}", client.cpu_seconds),
        String::new(),
        String::new(),
    ];
    rows.push(Row {
        name: "this load test".to_owned(),
        cells,
    });
    rows
}

fn steps(ramp: &Ramp) -> Vec<Row> {
    let row = |step: &crate::report::Step| {
        let load = &step.load;
        let verdict = if step.broke.is_empty() {
            "held".to_owned()
        } else {
            step.broke.join("; ")
        };
        let cells = vec![
            count(load.sends.accepted_per_second),
            count(load.deliveries_per_second),
            whole(load.sends.failed + load.sends.unsent),
            ms(load.post.p50_ms),
            ms(load.post.p99_ms),
            ms(load.deliver.p50_ms),
            ms(load.deliver.p99_ms),
            verdict,
        ];
        Row {
            name: count(step.rate),
            cells,
        }
    };
    ramp.steps.iter().map(row).collect()
}

/// What was counted, and whether it should be 0.
fn audit(report: &Report) -> Vec<(&'static str, String, bool)> {
    let audit = &report.audit;
    let closes: Vec<String> = audit
        .closes
        .iter()
        .map(|close| format!("{} × {}", close.count, close.code))
        .collect();
    let closes = (
        "sockets that ended early, by close code",
        closes.join(", "),
        false,
    );
    if report.idle.is_some() {
        return vec![("sessions", whole(audit.sessions), false), closes];
    }
    let must_be_0 = |name, value: u64| (name, whole(value), value > 0);
    vec![
        ("acknowledged sends", whole(audit.acknowledged), false),
        must_be_0("acknowledged, not in the history", audit.history_missing),
        must_be_0("more than once in the history", audit.history_doubled),
        must_be_0("under another seq than acknowledged", audit.history_moved),
        must_be_0("holes in the history", audit.history_not_dense),
        must_be_0("in the history though refused", audit.history_unwritten),
        (
            "without a clear answer, in the history",
            whole(audit.history_unknown),
            false,
        ),
        ("sessions", whole(audit.sessions), false),
        ("deliveries", whole(audit.delivered), false),
        must_be_0("deliveries that never came", audit.missing),
        must_be_0("deliveries that came again", audit.doubled),
        must_be_0("deliveries out of order", audit.out_of_order),
        must_be_0("taken back", audit.taken_back),
        ("replaced by gap frames", whole(audit.told_gaps), false),
        closes,
        (
            "sessions that went on after that",
            whole(audit.resumed),
            false,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::example;

    #[test]
    fn the_page_opens_without_anything_from_elsewhere() {
        let page = render(&example()).unwrap();
        for outside in [
            "src=", "href=", "url(", "@import", "<script", "<link", "<iframe",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn what_is_no_markup_is_escaped() {
        let mut report = example();
        report.command = "<script>alert(1)</script>".to_owned();
        let page = render(&report).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(page.contains("1 &lt; 2 &amp; so on"));
    }

    #[test]
    fn every_kind_of_run_has_its_page() {
        let mut report = example();
        for word in [
            "Distribution of latencies",
            "Failed sends per second",
            "503 unavailable",
            "nothing was lost",
        ] {
            assert!(render(&report).unwrap().contains(word), "{word}");
        }
        let load = report.steady.take().unwrap();
        let step = |rate, broke| crate::report::Step {
            rate,
            broke,
            load: load.clone(),
        };
        let steps = vec![
            step(1_000.0, vec![]),
            step(2_000.0, vec!["p99 of sends 300 ms".to_owned()]),
        ];
        report.ramp = Some(Ramp {
            steps,
            highest_rate: Some(1_000.0),
            ..Ramp::default()
        });
        let of_ramp = render(&report).unwrap();
        assert!(of_ramp.contains("Latency by rate") && of_ramp.contains("p99 of sends 300 ms"));
        report.ramp = None;
        report.idle = Some(crate::report::Idle {
            sessions: 5_000,
            bytes_per_session: Some(35_840.0),
            ..Default::default()
        });
        report.verdict = crate::report::Verdict {
            passed: false,
            faults: vec!["3 lost".to_owned()],
            warnings: vec![],
        };
        let of_idle = render(&report).unwrap();
        assert!(
            of_idle.contains("Open sockets")
                && of_idle.contains("35.0")
                && of_idle.contains("3 lost")
        );
    }
}
