//! Figures of two runs side by side, and their ratios. Pure.

use crate::report::figures::{Idle, Load, float};
use crate::report::wording::{count, ms};
use crate::report::{Peer, Report};

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// A cost or a time.
    Less,
    /// A rate.
    More,
    /// Neither: it is shown, and no threshold holds for it.
    Neither,
}

/// One figure of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// As `--figures` names it.
    pub(crate) name: &'static str,
    /// As the table names it.
    pub(crate) words: &'static str,
    pub(crate) better: Better,
    /// None where the run could not tell it.
    pub(crate) value: Option<f64>,
}

/// One figure of two runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) words: &'static str,
    pub(crate) a: Option<f64>,
    pub(crate) b: Option<f64>,
    pub(crate) better: Better,
}

impl Row {
    /// B divided by A; none where one is missing. Two zeros are alike.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (a, b) = self.a.zip(self.b)?;
        if a == 0.0 && b == 0.0 {
            Some(1.0)
        } else {
            Some(b / a)
        }
    }

    /// By what factor B is worse than A; below 1 when it is better.
    pub(crate) fn worse(&self) -> Option<f64> {
        match self.better {
            Better::Less => self.ratio(),
            Better::More => self.ratio().map(f64::recip),
            Better::Neither => None,
        }
    }
}

/// Puts the figures of two runs side by side; those that neither has are left out.
pub(crate) fn pair(a: &[Figure], b: &[Figure]) -> Vec<Row> {
    let value_in = |of: &[Figure], name: &str| of.iter().find(|figure| figure.name == name)?.value;
    let only_in_b = b
        .iter()
        .filter(|figure| !a.iter().any(|other| other.name == figure.name));
    let row = |figure: &Figure| Row {
        name: figure.name,
        words: figure.words,
        a: value_in(a, figure.name),
        b: value_in(b, figure.name),
        better: figure.better,
    };

    a.iter()
        .chain(only_in_b)
        .map(row)
        .filter(|row| row.a.is_some() || row.b.is_some())
        .collect()
}

/// Returns the figures of a rate. `kind` is that of its target: whether what it could not see of
/// Redis is nothing or unknown.
pub(crate) fn of_load(load: &Load, kind: &str) -> Vec<Figure> {
    let mut figures = [rates(load), costs(load, kind), latencies(load)].concat();
    figures.push(figure(
        "client-cpu",
        "us a message: this client",
        Better::Neither,
        Some(load.client.cpu_us_per_message),
    ));
    figures
}

fn figure(name: &'static str, words: &'static str, better: Better, value: Option<f64>) -> Figure {
    Figure {
        name,
        words,
        better,
        value,
    }
}

/// Returns what was done a second, and what failed.
fn rates(load: &Load) -> Vec<Figure> {
    vec![
        figure(
            "sends",
            "sends/s",
            Better::More,
            Some(load.sends.accepted_per_second),
        ),
        figure(
            "failed",
            "failed or unsent",
            Better::Less,
            Some(float(load.sends.failed + load.sends.unsent)),
        ),
        figure(
            "deliveries",
            "deliveries/s",
            Better::More,
            (load.deliveries_expected > 0).then_some(load.deliveries_per_second),
        ),
    ]
}

/// Returns what a message costs the servers and Redis.
fn costs(load: &Load, kind: &str) -> Vec<Figure> {
    let server = load.server.as_ref();
    let redis = load.redis.as_ref();

    vec![
        figure(
            "cpu",
            "us a message: servers and Redis",
            Better::Less,
            cpu_of(load, kind),
        ),
        figure(
            "server-cpu",
            "us a message: servers",
            Better::Less,
            server.map(|server| server.cpu_us_per_message),
        ),
        figure(
            "redis-cpu",
            "us a message: Redis",
            Better::Less,
            redis.map(|redis| redis.cpu_us_per_message),
        ),
        figure(
            "redis-commands",
            "commands of Redis a message",
            Better::Less,
            redis.map(|it| it.commands_per_message),
        ),
        figure(
            "memory",
            "MiB resident: servers",
            Better::Less,
            server.map(|it| it.resident_highest_bytes / f64::from(1 << 20)),
        ),
    ]
}

/// Returns how long it took; none where nothing was measured.
fn latencies(load: &Load) -> Vec<Figure> {
    let measured = |latency: &crate::report::Latency, of: f64| (latency.count > 0).then_some(of);
    vec![
        figure(
            "post-p50",
            "ms post p50",
            Better::Less,
            measured(&load.post, load.post.p50_ms),
        ),
        figure(
            "post-p99",
            "ms post p99",
            Better::Less,
            measured(&load.post, load.post.p99_ms),
        ),
        figure(
            "deliver-p50",
            "ms send to delivered p50",
            Better::Less,
            measured(&load.deliver, load.deliver.p50_ms),
        ),
        figure(
            "deliver-p99",
            "ms send to delivered p99",
            Better::Less,
            measured(&load.deliver, load.deliver.p99_ms),
        ),
    ]
}

/// Returns the CPU of all servers and Redis a message; none where a part of it is not known.
fn cpu_of(load: &Load, kind: &str) -> Option<f64> {
    let server = load.server.as_ref()?.cpu_us_per_message;
    match &load.redis {
        Some(redis) => Some(server + redis.cpu_us_per_message),
        None => (kind == "dev").then_some(server),
    }
}

fn of_idle(idle: &Idle) -> Vec<Figure> {
    let figure = |name, words, value| Figure {
        name,
        words,
        better: Better::Less,
        value,
    };
    vec![
        figure(
            "session-memory",
            "KiB a session",
            idle.bytes_per_session.map(|bytes| bytes / 1024.0),
        ),
        figure(
            "idle-cpu",
            "processors while they do nothing",
            idle.server_processors,
        ),
        figure("open-p50", "ms opening p50", Some(idle.open.p50_ms)),
        figure("open-p99", "ms opening p99", Some(idle.open.p99_ms)),
    ]
}

/// Puts two reports of the same mode side by side. Of ramps: the highest rates that held, and the
/// figures of the fastest step that held in both.
pub(crate) fn of_reports(a: &Report, b: &Report) -> Result<Vec<Row>, String> {
    if a.mode != b.mode {
        return Err(format!(
            "one is a report of `{}`, the other of `{}`: they have no figures in common",
            a.mode, b.mode
        ));
    }

    let mut rows = Vec::new();
    if let (Some(one), Some(other)) = (&a.steady, &b.steady) {
        rows.extend(pair(
            &of_load(one, &a.target.kind),
            &of_load(other, &b.target.kind),
        ));
        rows.extend(beside_peer(a, b));
    }

    if let (Some(one), Some(other)) = (&a.ramp, &b.ramp) {
        let highest = |value| Figure {
            name: "rate",
            words: "highest rate that held",
            better: Better::More,
            value,
        };
        rows.extend(pair(
            &[highest(one.highest_rate)],
            &[highest(other.highest_rate)],
        ));
        let held = |step: &&crate::report::Step| step.broke.is_empty();
        let shared = one.steps.iter().filter(held).rev().find_map(|step| {
            let same = other
                .steps
                .iter()
                .filter(held)
                .find(|it| (it.rate - step.rate).abs() < 0.01)?;
            Some((&step.load, &same.load))
        });
        if let Some((step, same)) = shared {
            rows.extend(pair(
                &of_load(step, &a.target.kind),
                &of_load(same, &b.target.kind),
            ));
        }
    }

    if let (Some(one), Some(other)) = (&a.idle, &b.idle) {
        rows.extend(pair(&of_idle(one), &of_idle(other)));
    }

    if rows.is_empty() {
        Err("they have no figures in common".to_owned())
    } else {
        Ok(rows)
    }
}

/// The cost as a share of the peer's of the same run, in which the machine's mood is not.
fn beside_peer(a: &Report, b: &Report) -> Vec<Row> {
    let share = |report: &Report| {
        let theirs = report
            .peer
            .as_ref()
            .and_then(|peer| cpu_of(&peer.steady, &peer.target.kind));
        let ours = report
            .steady
            .as_ref()
            .and_then(|load| cpu_of(load, &report.target.kind));
        let value = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        Figure {
            name: "cpu-of-peer",
            words: "of the peer's us a message",
            better: Better::Less,
            value,
        }
    };
    pair(&[share(a)], &[share(b)])
}

/// Puts a peer's figures beside those of the same run: A is the peer.
pub(crate) fn beside(load: &Load, kind: &str, peer: &Peer) -> Vec<Row> {
    pair(
        &of_load(&peer.steady, &peer.target.kind),
        &of_load(load, kind),
    )
}

/// Lines of a table; `heads` name A, B and their ratio, and `tell` what is said behind a row.
pub(crate) fn render(rows: &[Row], heads: [&str; 3], tell: impl Fn(&Row) -> String) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:<34}{:>12}{:>12}{:>14}",
        "", heads[0], heads[1], heads[2]
    )];

    for row in rows {
        let side =
            |of: Option<f64>| of.map_or_else(|| "-".to_owned(), |value| shown(row.words, value));
        let ratio = row
            .ratio()
            .map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let line = format!(
            "  {:<34}{:>12}{:>12}{ratio:>14}  {}",
            row.words,
            side(row.a),
            side(row.b),
            tell(row)
        );
        lines.push(line.trim_end().to_owned());
    }

    lines
}

fn shown(words: &str, value: f64) -> String {
    if words.contains("/s") || words.contains("rate") || value >= 100.0 {
        count(value)
    } else {
        ms(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::example;
    use crate::report::figures::{Redis, Server};

    fn row(a: f64, b: f64, better: Better) -> Row {
        Row {
            name: "x",
            words: "x",
            a: Some(a),
            b: Some(b),
            better,
        }
    }

    fn value(rows: &[Row], name: &str) -> (Option<f64>, Option<f64>) {
        rows.iter()
            .find(|row| row.name == name)
            .map(|row| (row.a, row.b))
            .unwrap()
    }

    #[test]
    fn a_ratio_is_b_over_a_and_worse_is_up_for_a_cost_and_down_for_a_rate() {
        assert_eq!(row(100.0, 150.0, Better::Less).ratio(), Some(1.5));
        assert_eq!(row(100.0, 150.0, Better::Less).worse(), Some(1.5));
        assert_eq!(row(100.0, 50.0, Better::More).worse(), Some(2.0));
        assert_eq!(row(100.0, 50.0, Better::Neither).worse(), None);
        assert_eq!(row(0.0, 0.0, Better::Less).worse(), Some(1.0));
        assert_eq!(row(0.0, 3.0, Better::Less).worse(), Some(f64::INFINITY));
        assert_eq!(
            Row {
                b: None,
                ..row(1.0, 1.0, Better::Less)
            }
            .worse(),
            None
        );
    }

    #[test]
    fn the_cost_is_that_of_servers_and_redis_and_is_not_told_in_part() {
        let server = Some(Server {
            cpu_us_per_message: 100.0,
            ..Server::default()
        });
        let redis = Some(Redis {
            cpu_us_per_message: 20.0,
            ..Redis::default()
        });
        let cost = |servers, log, kind| {
            cpu_of(
                &Load {
                    server: servers,
                    redis: log,
                    ..Load::default()
                },
                kind,
            )
        };

        assert_eq!(cost(server.clone(), redis, "cluster"), Some(120.0));
        assert_eq!(
            cost(server.clone(), None, "dev"),
            Some(100.0),
            "there is no Redis"
        );
        assert_eq!(cost(server, None, "url"), None, "its Redis is not known");
        assert_eq!(cost(None, None, "dev"), None);
    }

    #[test]
    fn what_only_one_run_has_is_told_with_a_gap_and_what_none_has_is_left_out() {
        let (mut a, mut b) = (example(), example());
        a.steady.as_mut().unwrap().server = None;
        b.steady.as_mut().unwrap().deliver.count = 0;

        let rows = of_reports(&a, &b).unwrap();
        assert_eq!(value(&rows, "server-cpu"), (None, Some(240.0)));
        assert_eq!(value(&rows, "deliver-p50").1, None);
        assert!(
            !rows
                .iter()
                .any(|row| row.name == "redis-cpu" || row.name == "cpu-of-peer"),
            "{rows:?}"
        );

        let table = render(&rows, ["A", "B", "B / A"], |_| String::new()).join("\n");
        assert!(
            table
                .lines()
                .any(|line| line.contains("us a message: servers") && line.ends_with('-')),
            "{table}"
        );
    }

    #[test]
    fn runs_beside_a_peer_are_compared_by_their_shares_of_it() {
        let (a, mut b) = (example(), example());
        let peer = |cpu| {
            let mut steady = example().steady.unwrap();
            steady.server.as_mut().unwrap().cpu_us_per_message = cpu;
            steady.redis = Some(Redis::default());
            Some(Peer {
                steady,
                ..Peer::default()
            })
        };

        let a = Report {
            peer: peer(480.0),
            ..a
        };
        b.peer = peer(960.0);

        assert_eq!(
            value(&of_reports(&a, &b).unwrap(), "cpu-of-peer"),
            (Some(0.5), Some(0.25))
        );
    }

    #[test]
    fn reports_of_different_modes_are_refused() {
        let other = Report {
            mode: "idle".to_owned(),
            ..example()
        };

        assert!(
            of_reports(&example(), &other)
                .unwrap_err()
                .contains("`steady`, the other of `idle`")
        );

        let empty = Report {
            steady: None,
            ..example()
        };

        assert!(
            of_reports(&empty, &example())
                .unwrap_err()
                .contains("no figures in common")
        );
    }

    #[test]
    fn of_ramps_the_fastest_step_that_held_in_both_is_compared() {
        let sends = |rate| crate::report::figures::Sends {
            accepted_per_second: rate,
            ..Default::default()
        };
        let ramp = |broke_at: f64, highest| {
            let mut report = Report {
                mode: "ramp".to_owned(),
                ..example()
            };
            let load = report.steady.take().unwrap();
            let step = |rate: f64| crate::report::Step {
                rate,
                broke: if rate >= broke_at {
                    vec!["slow".to_owned()]
                } else {
                    vec![]
                },
                load: Load {
                    measured_s: rate,
                    sends: sends(rate),
                    ..load.clone()
                },
            };
            let steps = [1_000.0, 2_000.0, 3_000.0].map(step).to_vec();
            report.ramp = Some(crate::report::Ramp {
                steps,
                highest_rate: highest,
                ..Default::default()
            });
            report
        };

        let rows =
            of_reports(&ramp(3_000.0, Some(2_000.0)), &ramp(9_000.0, Some(3_000.0))).unwrap();
        assert_eq!(value(&rows, "rate"), (Some(2_000.0), Some(3_000.0)));
        assert_eq!(value(&rows, "sends"), (Some(2_000.0), Some(2_000.0)));
    }
}
