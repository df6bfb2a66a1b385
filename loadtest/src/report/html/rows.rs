//! The tables of the page.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::report::Report;
use crate::report::figures::{Latency, Load, Ramp, float};
use crate::report::html::MEBIBYTE;
use crate::report::wording::{count, ms, whole};

/// A line of a table of latencies.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    cells: Vec<String>,
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

pub(super) fn latencies(load: &Load) -> Vec<Row> {
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

pub(super) fn processes(load: &Load) -> Vec<Row> {
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

pub(super) fn steps(ramp: &Ramp) -> Vec<Row> {
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
pub(super) fn audit(report: &Report) -> Vec<(&'static str, String, bool)> {
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
