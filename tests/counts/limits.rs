//! What a message may cost: one table, with what was measured when it was written.
//! `docs/performance.md` has it too.
//!
//! Each limit is below twice what was measured, so that whatever doubles a count is refused, and
//! far enough above it for what the order of events on a machine changes (up to a fifth, measured
//! in many runs beside other work).

#![allow(
    dead_code,
    reason = "compiled for two test targets, each of which needs a part"
)]

use std::fmt::Write as _;

/// `rookery dev`: router and three nodes in one process, over the embedded log.
pub(crate) const DEV_SINGLY: &str = "one process, one by one";
pub(crate) const DEV_BURSTS: &str = "one process, bursts of 16";
/// A router, a node and a Redis, each in a process of its own.
pub(crate) const CLUSTER_SINGLY: &str = "cluster, one by one";
pub(crate) const CLUSTER_BURSTS: &str = "cluster, bursts of 16";
/// A router, a node and the embedded log on one thread of a test.
pub(crate) const THREAD_SINGLY: &str = "one thread, one by one";

pub(crate) const CALLS: &str = "system calls";
pub(crate) const CALLS_OF_NODE: &str = "system calls of the node";
pub(crate) const CALLS_OF_ROUTER: &str = "system calls of the router";
pub(crate) const LINK_FRAMES: &str = "frames on links";
pub(crate) const LINK_WRITES: &str = "writes to links";
pub(crate) const SOCKET_FRAMES: &str = "frames to clients";
pub(crate) const SOCKET_WRITES: &str = "writes to clients";
pub(crate) const APPENDS: &str = "append batches";
pub(crate) const TRANSACTIONS: &str = "transactions of the log";
pub(crate) const COMMANDS: &str = "Redis commands";
pub(crate) const STATEMENTS: &str = "SQLite statements";
pub(crate) const ALLOCATIONS: &str = "allocations";
pub(crate) const ALLOCATED: &str = "bytes allocated";

/// What was counted, a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) count: f64,
}

/// A row of the table.
pub(crate) struct Limit {
    pub(crate) scenario: &'static str,
    pub(crate) figure: &'static str,
    /// As it was measured when the row was written.
    pub(crate) measured: f64,
    /// From here on it is too much.
    pub(crate) limit: f64,
}

const fn row(scenario: &'static str, figure: &'static str, measured: f64, limit: f64) -> Limit {
    Limit {
        scenario,
        figure,
        measured,
        limit,
    }
}

/// A message to a conversation with ten sockets; see `docs/performance.md`.
pub(crate) const LIMITS: &[Limit] = &[
    row(DEV_SINGLY, CALLS, 16.8, 29.4),
    row(DEV_SINGLY, LINK_FRAMES, 5.03, 8.8),
    row(DEV_SINGLY, SOCKET_FRAMES, 10.0, 17.5),
    row(DEV_SINGLY, SOCKET_WRITES, 10.0, 17.5),
    row(DEV_SINGLY, APPENDS, 1.0, 1.75),
    row(DEV_SINGLY, TRANSACTIONS, 1.0, 1.75),
    row(DEV_SINGLY, STATEMENTS, 0.094, 0.16),
    row(DEV_BURSTS, CALLS, 2.62, 4.58),
    row(DEV_BURSTS, LINK_FRAMES, 5.09, 8.9),
    row(DEV_BURSTS, SOCKET_FRAMES, 11.0, 19.2),
    row(DEV_BURSTS, SOCKET_WRITES, 1.62, 2.83),
    row(DEV_BURSTS, APPENDS, 0.063, 0.11),
    row(DEV_BURSTS, TRANSACTIONS, 0.063, 0.11),
    row(DEV_BURSTS, STATEMENTS, 0.055, 0.096),
    row(CLUSTER_SINGLY, CALLS_OF_ROUTER, 14.1, 24.7),
    row(CLUSTER_SINGLY, CALLS_OF_NODE, 5.0, 8.75),
    row(CLUSTER_SINGLY, LINK_FRAMES, 3.03, 5.3),
    row(CLUSTER_SINGLY, LINK_WRITES, 2.05, 3.59),
    row(CLUSTER_SINGLY, SOCKET_FRAMES, 10.0, 17.5),
    row(CLUSTER_SINGLY, SOCKET_WRITES, 10.0, 17.5),
    row(CLUSTER_SINGLY, APPENDS, 1.0, 1.75),
    row(CLUSTER_SINGLY, COMMANDS, 4.0, 7.0),
    row(CLUSTER_SINGLY, STATEMENTS, 0.094, 0.16),
    row(CLUSTER_BURSTS, CALLS_OF_ROUTER, 1.05, 1.84),
    row(CLUSTER_BURSTS, CALLS_OF_NODE, 1.07, 1.87),
    row(CLUSTER_BURSTS, LINK_FRAMES, 3.05, 5.34),
    row(CLUSTER_BURSTS, LINK_WRITES, 0.3, 0.525),
    row(CLUSTER_BURSTS, SOCKET_FRAMES, 11.0, 19.2),
    row(CLUSTER_BURSTS, SOCKET_WRITES, 0.63, 1.1),
    row(CLUSTER_BURSTS, APPENDS, 0.063, 0.11),
    row(CLUSTER_BURSTS, COMMANDS, 0.23, 0.403),
    row(CLUSTER_BURSTS, STATEMENTS, 0.055, 0.096),
    row(THREAD_SINGLY, ALLOCATIONS, 170.0, 297.0),
    row(THREAD_SINGLY, ALLOCATED, 29600.0, 51800.0),
];

/// Far below what was measured nothing is right either: the count is broken, or the row tells
/// nothing any more.
const LEAST_PART: f64 = 0.25;

/// What is wrong with the figures of a scenario; nothing, if all is well.
pub(crate) fn complaints(scenario: &str, figures: &[Figure]) -> Vec<String> {
    let mut complaints = Vec::new();
    let rows: Vec<&Limit> = LIMITS
        .iter()
        .filter(|row| row.scenario == scenario)
        .collect();
    for Limit {
        figure,
        measured,
        limit,
        ..
    } in &rows
    {
        let Some(count) = figures
            .iter()
            .find(|found| found.name == *figure)
            .map(|found| found.count)
        else {
            complaints.push(format!("{scenario}: {figure} were not counted"));
            continue;
        };
        if count >= *limit {
            complaints.push(format!(
                "{scenario}: {figure} are {count:.2} a message, and must be below {limit:.2}; {measured:.2} were measured \
                 when tests/counts/limits.rs was written: look for what is done twice"
            ));
        }
        if count < measured * LEAST_PART {
            complaints.push(format!(
                "{scenario}: {figure} are {count:.2} a message, far below the {measured:.2} of tests/counts/limits.rs: \
                 mend the count, or bring that row up to date"
            ));
        }
    }

    let unknown = figures
        .iter()
        .filter(|found| !rows.iter().any(|row| row.figure == found.name));
    complaints.extend(unknown.map(|found| format!("{scenario}: {} have no limit", found.name)));
    complaints
}

/// All figures of a scenario beside their rows, for whoever has to find out.
pub(crate) fn shown(scenario: &str, figures: &[Figure]) -> String {
    let mut text =
        format!("{scenario}: counted a message (measured when the table was written; limit)");
    for Figure { name, count } in figures {
        let row = LIMITS
            .iter()
            .find(|row| row.scenario == scenario && row.figure == *name);
        let beside = row.map_or_else(String::new, |row| {
            format!(" ({:.2}; {:.2})", row.measured, row.limit)
        });
        write!(text, "\n  {name}: {count:.2}{beside}").unwrap();
    }
    text
}

/// The table as it stands in `docs/performance.md`.
fn document() -> String {
    let mut text = "| scenario | count | a message | limit |\n|---|---|---|---|\n".to_owned();
    for Limit {
        scenario,
        figure,
        measured,
        limit,
    } in LIMITS
    {
        writeln!(
            text,
            "| {scenario} | {figure} | {} | {} |",
            number(*measured),
            number(*limit)
        )
        .unwrap();
    }

    text
}

fn number(count: f64) -> String {
    match count {
        _ if count < 10.0 => format!("{count:.2}"),
        _ if count < 1000.0 => format!("{count:.0}"),
        _ => format!("{:.1} thousand", count / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BEGIN: &str = "<!-- counts: UPDATE_DOCS=1 cargo test --test counts limits -->\n";
    const END: &str = "<!-- end of counts -->\n";

    #[test]
    fn every_limit_is_below_twice_what_was_measured_and_leaves_space_above_it() {
        for Limit {
            scenario,
            figure,
            measured,
            limit,
        } in LIMITS
        {
            assert!(
                *limit < measured * 2.0,
                "{scenario}, {figure}: a doubling would not be noticed"
            );
            assert!(
                *limit >= measured * 1.25,
                "{scenario}, {figure}: the order of events alone may reach this"
            );
        }
    }

    #[test]
    fn what_is_doubled_vanished_uncounted_or_unknown_is_complained_of() {
        let of = |factor: f64| -> Vec<Figure> {
            let rows = LIMITS.iter().filter(|row| row.scenario == DEV_SINGLY);
            rows.map(|row| Figure {
                name: row.figure,
                count: row.measured * factor,
            })
            .collect()
        };
        let count = of(1.0).len();
        assert_eq!(complaints(DEV_SINGLY, &of(1.0)), [] as [&str; 0]);
        assert_eq!(complaints(DEV_SINGLY, &of(2.0)).len(), count);
        assert_eq!(complaints(DEV_SINGLY, &of(0.1)).len(), count);
        assert_eq!(complaints(DEV_SINGLY, &[]).len(), count);

        let unknown = [
            of(1.0),
            vec![Figure {
                name: "sighs",
                count: 1.0,
            }],
        ]
        .concat();

        assert_eq!(
            complaints(DEV_SINGLY, &unknown),
            ["one process, one by one: sighs have no limit"]
        );
    }

    #[test]
    fn the_document_has_the_table_of_counts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("the begin of the table");
        let (found, after) = rest.split_once(END).expect("the end of the table");
        let expected = format!("\n{}\n", document());
        if std::env::var("UPDATE_DOCS").is_ok() {
            return std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}"))
                .unwrap();
        }
        assert_eq!(
            found, expected,
            "docs/performance.md is stale: UPDATE_DOCS=1 cargo test --test counts limits"
        );
    }
}
