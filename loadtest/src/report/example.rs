//! A report as it may be, for tests.

use crate::load::recorder::histogram;
use crate::report::Report;
use crate::report::figures::{
    Audit, Distribution, ErrorCount, Latency, Load, MembersLoad, Process, Second, Sends, Server,
    distribution,
};

/// A second as it may be.
pub(crate) fn example_second(at_s: f64) -> Second {
    let latency = |base: f64| Latency {
        count: 1_000,
        mean_ms: base,
        p50_ms: base,
        p90_ms: base * 2.0,
        p99_ms: base * 5.0,
        p99_9_ms: base * 9.0,
        max_ms: base * 12.0,
    };
    Second {
        at_s,
        rate: 1_000.0,
        accepted: 990.0 + at_s,
        deliveries: 9_900.0,
        errors: vec![ErrorCount {
            status: Some(503),
            code: "unavailable".to_owned(),
            count: 3,
        }],
        late: 1,
        in_flight: 7,
        sockets: 100,
        post: latency(2.0 + at_s / 10.0),
        deliver: latency(3.0 + at_s / 10.0),
        resident_bytes: Some(3e8 + at_s * 1e6),
        server_processors: Some(0.8),
        client_processors: 0.2,
    }
}

/// A report as it may be.
#[expect(clippy::too_many_lines, reason = "one literal")]
pub(crate) fn example() -> Report {
    let mut histogram = histogram().unwrap();
    (1..=30_000).for_each(|value| histogram.record(value).unwrap());

    let latency = Latency::of(&histogram);
    let members = |members| MembersLoad {
        members,
        accepted: 15_000,
        post: latency.clone(),
        deliver: latency.clone(),
    };

    let steady = Load {
        measured_s: 30.0,
        sends: Sends {
            scheduled: 30_003,
            accepted: 30_000,
            failed: 3,
            accepted_per_second: 1_000.0,
            ..Sends::default()
        },
        deliveries_expected: 300_000,
        deliveries: 300_000,
        deliveries_per_second: 10_000.0,
        post: latency.clone(),
        deliver: latency.clone(),
        by_members: vec![members(3), members(10)],
        errors: example_second(0.0).errors,
        distribution: Distribution {
            post: distribution(&histogram),
            deliver: distribution(&histogram),
        },
        server: Some(Server {
            cpu_us_per_message: 240.0,
            resident_highest_bytes: 3e8,
            lag_s: Some(0.2),
            processes: vec![Process {
                name: "dev".to_owned(),
                cpu_us_per_message: 240.0,
                ..Process::default()
            }],
        }),
        ..Load::default()
    };

    Report {
        version: super::VERSION,
        program: "loadtest 0.1.0".to_owned(),
        mode: "steady".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        command: "loadtest steady --rate 1000".to_owned(),
        verdict: super::Verdict {
            passed: true,
            faults: Vec::new(),
            warnings: vec!["1 < 2 & so on".to_owned()],
        },
        target: super::TargetReport {
            kind: "dev".to_owned(),
            clients: vec!["http://127.0.0.1:8082".to_owned()],
            processes: vec!["dev".to_owned()],
        },
        settings: super::Settings {
            rate: Some(1_000.0),
            warm_up_s: 2.0,
            duration_s: 30.0,
            ..super::Settings::default()
        },
        steady: Some(steady),
        ramp: None,
        idle: None,
        audit: Audit {
            acknowledged: 32_000,
            history_read: true,
            sessions: 100,
            delivered: 320_000,
            ..Audit::default()
        },
        peer: None,
        series: (1..=32)
            .map(|second| example_second(f64::from(second)))
            .collect(),
    }
}
