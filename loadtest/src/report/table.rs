//! The report as lines of text.

use crate::report::figures::{Latency, Load, Ramp};
use crate::report::wording::{count, errors, mebibytes, ms, whole};
use crate::report::{Peer, Report, Verdict, actions, idle, ratios};

/// The whole table.
pub(crate) fn render(report: &Report) -> String {
    let mut lines = Vec::new();
    let target = &report.target;
    lines.push(format!(
        "{} on {} ({})",
        report.mode,
        target.kind,
        target.clients.join(", ")
    ));

    if let Some(load) = &report.steady {
        steady(&mut lines, load);
    }

    if let Some(figures) = &report.ramp {
        ramp(&mut lines, figures);
    }

    if let Some(figures) = &report.idle {
        idle::lines(&mut lines, figures);
    }

    audit(&mut lines, report);
    if let Some((load, peer)) = report.steady.as_ref().zip(report.peer.as_ref()) {
        beside(&mut lines, (load, &target.kind), peer);
    }

    verdict(&mut lines, &report.verdict);
    lines.join("\n")
}

fn steady(lines: &mut Vec<String>, load: &Load) {
    let sends = &load.sends;
    lines.push(format!(
        "  sends        {}/s accepted over {:.1} s: {} due, {} accepted, {} failed, {} never \
         started",
        count(sends.accepted_per_second),
        load.measured_s,
        whole(sends.scheduled),
        whole(sends.accepted),
        whole(sends.failed),
        whole(sends.unsent),
    ));

    lines.push(format!(
        "  deliveries   {}/s: {} of {} expected",
        count(load.deliveries_per_second),
        whole(load.deliveries),
        whole(load.deliveries_expected)
    ));

    lines.push(String::new());
    lines.push(format!(
        "  {:<22}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
    ));
    lines.push(latency("post", &load.post));
    lines.push(latency("post from its start", &load.post_from_start));
    lines.push(latency("send to delivered", &load.deliver));
    lines.push(latency("client's lateness", &sends.lateness));

    if load.by_members.len() > 1 {
        for group in &load.by_members {
            lines.push(latency(
                &format!("{} members: post", group.members),
                &group.post,
            ));
            lines.push(latency(
                &format!("{} members: deliver", group.members),
                &group.deliver,
            ));
        }
    }

    lines.extend(actions::latencies(&load.actions));

    lines.push(String::new());
    lines.push(format!("  errors       {}", errors(&load.errors)));
    lines.extend(actions::failures(&load.actions));
    cost(lines, load);
}

fn cost(lines: &mut Vec<String>, load: &Load) {
    match &load.server {
        None => lines.push("  server       its processes tell nothing (--operations)".to_owned()),
        Some(server) => {
            let lag = server.lag_s.map_or_else(String::new, |lag| {
                format!(", SQLite complete after {lag:.1} s")
            });
            lines.push(format!(
                "  server       {:.0} us CPU a message, {} MiB resident{lag}",
                server.cpu_us_per_message,
                mebibytes(server.resident_highest_bytes)
            ));
            for process in server
                .processes
                .iter()
                .filter(|_| server.processes.len() > 1)
            {
                lines.push(format!(
                    "    {:<11}{:.0} us CPU a message, {} MiB resident",
                    process.name,
                    process.cpu_us_per_message,
                    mebibytes(process.resident_end_bytes)
                ));
            }
        }
    }

    if let Some(redis) = &load.redis {
        lines.push(format!(
            "  Redis        {:.0} us CPU and {:.2} commands a message, at most {} MiB in one \
             server",
            redis.cpu_us_per_message,
            redis.commands_per_message,
            mebibytes(super::figures::float(redis.memory_highest_bytes))
        ));
    }

    lines.push(format!(
        "  this client  {:.0} us CPU a message, {:.2} processors",
        load.client.cpu_us_per_message, load.client.processors
    ));
}

fn ramp(lines: &mut Vec<String>, ramp: &Ramp) {
    let deliver = ramp.slo.deliver_p99_ms.map_or_else(String::new, |within| {
        format!(", deliveries {} ms", ms(within))
    });
    lines.push(format!(
        "  objective    p99 of sends {} ms{deliver}, at most {} % failed",
        ms(ramp.slo.post_p99_ms),
        ramp.slo.errors * 100.0
    ));

    lines.push(format!(
        "  {:>9}{:>11}{:>9}{:>13}{:>10}{:>10}{:>13}{:>13}{:>9}{:>9}{:>8}",
        "due/s",
        "accepted/s",
        "failed",
        "deliveries/s",
        "p50 ms",
        "p99 ms",
        "deliver p50",
        "deliver p99",
        "srv us",
        "late",
        "held"
    ));

    for step in &ramp.steps {
        let load = &step.load;
        lines.push(format!(
            "  {:>9}{:>11}{:>9}{:>13}{:>10}{:>10}{:>13}{:>13}{:>9}{:>9}{:>8}",
            count(step.rate),
            count(load.sends.accepted_per_second),
            whole(load.sends.failed + load.sends.unsent),
            count(load.deliveries_per_second),
            ms(load.post.p50_ms),
            ms(load.post.p99_ms),
            ms(load.deliver.p50_ms),
            ms(load.deliver.p99_ms),
            load.server.as_ref().map_or_else(
                || "-".to_owned(),
                |server| format!("{:.0}", server.cpu_us_per_message)
            ),
            whole(load.sends.late),
            if step.broke.is_empty() { "yes" } else { "no" },
        ));
        for broke in &step.broke {
            lines.push(format!("            {broke}"));
        }
        if !load.errors.is_empty() {
            lines.push(format!("            {}", errors(&load.errors)));
        }
    }

    lines.push(match ramp.highest_rate {
        Some(rate) => format!("  highest rate that held: {} sends/s", count(rate)),
        None => "  no rate held".to_owned(),
    });
}

fn audit(lines: &mut Vec<String>, report: &Report) {
    let audit = &report.audit;
    if report.idle.is_none() {
        lines.push(format!(
            "  history      {} acknowledged: {} missing, {} doubled, {} moved, {} not dense{}",
            whole(audit.acknowledged),
            audit.history_missing,
            audit.history_doubled,
            audit.history_moved,
            audit.history_not_dense,
            if audit.history_read {
                ""
            } else {
                " (NOT READ)"
            }
        ));
        lines.push(format!(
            "  sessions     {} with {} deliveries: {} missing, {} doubled, {} out of order, {} \
             skipped, {} told gaps",
            whole(audit.sessions),
            whole(audit.delivered),
            audit.missing,
            audit.doubled,
            audit.out_of_order,
            audit.skipped,
            audit.told_gaps
        ));
    }

    if !audit.closes.is_empty() {
        let closes: Vec<String> = audit
            .closes
            .iter()
            .map(|close| format!("{} × {}", close.count, close.code))
            .collect();
        lines.push(format!(
            "  closes       {}; {} resumed",
            closes.join(", "),
            audit.resumed
        ));
    }
}

/// Ours and a peer's in one table.
fn beside(lines: &mut Vec<String>, (load, kind): (&Load, &str), peer: &Peer) {
    let name = peer.target.kind.as_str();
    lines.push(String::new());

    let rows = ratios::beside(load, kind, peer);
    lines.extend(ratios::render(
        &rows,
        [name, "rookery", "ours / theirs"],
        |_| String::new(),
    ));

    lines.push(format!(
        "  {name} had {} of {} deliveries, {} doubled, {} of {} acknowledged not in its history",
        whole(peer.audit.delivered),
        whole(peer.audit.delivered + peer.audit.missing),
        whole(peer.audit.doubled),
        whole(peer.audit.history_missing),
        whole(peer.audit.acknowledged)
    ));

    let notes = peer
        .verdict
        .warnings
        .iter()
        .map(|warning| format!("  note         {name}: {warning}"));
    let faults = peer
        .verdict
        .faults
        .iter()
        .map(|fault| format!("  FAULT        {name}: {fault}"));
    lines.extend(notes.chain(faults));
    lines.push(String::new());
}

fn verdict(lines: &mut Vec<String>, verdict: &Verdict) {
    lines.extend(
        verdict
            .warnings
            .iter()
            .map(|warning| format!("  note         {warning}")),
    );
    lines.extend(
        verdict
            .faults
            .iter()
            .map(|fault| format!("  FAULT        {fault}")),
    );

    let word = if verdict.passed {
        "passed: nothing lost, doubled or out of order"
    } else {
        "FAILED"
    };
    lines.push(format!("  {word}"));
}

pub(super) fn latency(name: &str, latency: &Latency) -> String {
    format!(
        "  {name:<22}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}",
        whole(latency.count),
        ms(latency.p50_ms),
        ms(latency.p90_ms),
        ms(latency.p99_ms),
        ms(latency.p99_9_ms),
        ms(latency.max_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::example;

    #[test]
    fn the_table_tells_rates_percentiles_errors_cost_and_the_verdict() {
        let table = render(&example());
        for word in [
            "1,000/s accepted",
            "p99.9",
            "503 unavailable",
            "us CPU a message",
            "passed",
            "3 members: post",
        ] {
            assert!(table.contains(word), "{word} in\n{table}");
        }
    }

    #[test]
    fn a_peer_stands_in_a_table_of_its_own_with_ratios() {
        let mut report = example();
        assert!(!render(&report).contains("ours / theirs"));

        let mut steady = report.steady.clone().unwrap();
        steady.sends.accepted_per_second = 500.0;

        let target = crate::report::TargetReport {
            kind: "socketio".to_owned(),
            ..Default::default()
        };
        let audit = crate::report::Audit {
            delivered: 7,
            missing: 2,
            ..Default::default()
        };

        report.peer = Some(Peer {
            target,
            steady,
            audit,
            ..Peer::default()
        });

        let table = render(&report);
        let rates: Vec<&str> = table
            .lines()
            .find(|line| line.contains("sends/s  "))
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(rates, ["sends/s", "500", "1,000", "2.00"], "{table}");
        assert!(table.contains("socketio had 7 of 9 deliveries"), "{table}");
    }

    #[test]
    fn a_ramp_tells_each_step_why_one_broke_and_the_highest_rate() {
        let mut report = example();
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

        let table = render(&report);
        assert!(
            table.contains("p99 of sends 300 ms") && table.contains("that held: 1,000 sends/s"),
            "{table}"
        );
    }
}
