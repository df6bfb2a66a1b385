//! What the model found, as tables of Markdown.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use rookery::cluster::assignment::{first_table, next_table};
use rookery::cluster::table::Table;
use sha2::{Digest as _, Sha256};

use crate::Size;
use crate::cluster::{
    Change, Cluster, Spread, encoded, identity, least_places, node, since, spent,
};
use crate::steady::{POLLS_A_SECOND, POLLS_OF_NODE, connections, rates};

/// Each time is the shortest of so many.
const ATTEMPTS: usize = 3;

/// Everything.
pub(crate) fn of(size: &Size) -> String {
    let cluster = Cluster::begin(size);
    let Size {
        shards,
        nodes,
        replicas,
        routers,
        masters,
    } = size;

    let mut text = format!(
        "{shards} shards, {nodes} nodes, {replicas} replicas of each shard, {routers} routers, \
         {masters} masters of Redis\n"
    );
    table(&mut text, size, &cluster);
    evenness(&mut text, &cluster);
    events(&mut text, size, &cluster);
    clockwork(&mut text, size);
    text
}

fn line(text: &mut String, cells: &[&str]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes all");
}

fn head(text: &mut String, cells: &[&str]) {
    text.push('\n');
    line(text, cells);
    writeln!(text, "|{}", "---|".repeat(cells.len())).expect("a String takes all");
}

/// The shortest of some attempts.
fn timed<T>(mut what: impl FnMut() -> T) -> String {
    let times = (0..ATTEMPTS).map(|_| {
        let begun = spent();
        black_box(what());
        since(begun)
    });
    shown(times.min().unwrap_or_default())
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 0.001 => format!("{:.1} ms", seconds * 1_000.0),
        seconds => format!("{:.0} µs", seconds * 1_000_000.0),
    }
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1_000_000.0)
}

/// Bytes that are read of the table's master when everybody reads one version.
fn read_by_all(size: &Size, cluster: &Cluster) -> usize {
    (size.nodes * POLLS_OF_NODE + size.routers) * cluster.bytes()
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn table(text: &mut String, size: &Size, cluster: &Cluster) {
    let (table, bytes) = (&cluster.table, cluster.bytes());
    let living = table.nodes.clone();
    let part = |with: &Table| bytes - encoded(with).len();
    let claimed = part(&Table {
        claimed: [].into(),
        ..table.clone()
    });
    let known = part(&Table {
        nodes: [].into(),
        ..table.clone()
    });

    head(text, &["the table", ""]);
    line(text, &["bytes of the table", &bytes.to_string()]);
    line(
        text,
        &[
            "of these: rows",
            &format!(
                "{} ({} a shard)",
                bytes - claimed - known,
                (bytes - claimed - known) / cluster.shards()
            ),
        ],
    );

    line(
        text,
        &["of these: which shards were claimed", &claimed.to_string()],
    );
    line(text, &["of these: addresses", &known.to_string()]);
    line(
        text,
        &[
            "read by all nodes and routers for one version",
            &megabytes(read_by_all(size, cluster)),
        ],
    );

    let each_second = read_by_all(size, cluster) * POLLS_A_SECOND;
    line(
        text,
        &[
            "read a second while it changes all the time",
            &megabytes(each_second),
        ],
    );

    let body = encoded(table);
    line(
        text,
        &[
            "time to encode it and hash it (each poll)",
            &timed(|| Sha256::digest(encoded(table))),
        ],
    );

    line(
        text,
        &[
            "time to read it (each change)",
            &timed(|| {
                serde_json::from_slice::<Table>(&body)
                    .map(|read| read.version)
                    .ok()
            }),
        ],
    );

    line(
        text,
        &[
            "time to copy it (each look at rows)",
            &timed(|| table.clone()),
        ],
    );
    line(
        text,
        &[
            "time of the first assignment",
            &timed(|| first_table(identity(size), &living, size.replicas)),
        ],
    );

    let again = || next_table(table, &living, size.replicas, &[].into());
    line(
        text,
        &[
            "time of an assignment that changes nothing (each second, coordinator)",
            &timed(again),
        ],
    );
}

fn evenness(text: &mut String, cluster: &Cluster) {
    head(
        text,
        &["a node has", "least", "mean", "most", "most / mean"],
    );
    for (what, spread) in [
        ("shards that it owns", cluster.owned()),
        ("places in rows", cluster.placed()),
    ] {
        let Spread {
            all,
            among,
            least,
            most,
        } = spread;
        let mean = all as f64 / among as f64;
        let ratio = format!("{:.2}", most as f64 / mean);
        line(
            text,
            &[
                what,
                &least.to_string(),
                &format!("{mean:.1}"),
                &most.to_string(),
                &ratio,
            ],
        );
    }
}

fn events(text: &mut String, size: &Size, begun: &Cluster) {
    let columns = [
        "event",
        "owners moved",
        "places moved",
        "versions",
        "at once",
        "read by all",
        "longest look",
        "all looks",
    ];
    head(text, &columns);
    let bytes = read_by_all(size, begun);
    let mut tell = |what: &str, change: &Change| {
        let cells = [
            what.to_owned(),
            change.moved.to_string(),
            change.placed.to_string(),
            change.versions.to_string(),
            change.at_once.to_string(),
            megabytes(bytes * change.versions),
            shown(change.longest),
            shown(change.looked),
        ];
        line(text, &cells.each_ref().map(String::as_str));
    };

    let mut grown = begun.clone();
    tell("a node joins", &grown.join(&node(size.nodes)));
    let mut cluster = begun.clone();
    tell(
        "a node dies: its shards are taken over",
        &cluster.lose(&node(1)),
    );
    tell(
        "100 s later: its places are given to others",
        &cluster.refill(),
    );
    tell("it comes back", &cluster.join(&node(1)));
    let (owned, placed) = (cluster.owned(), cluster.placed());
    let least = least_places(size, cluster.living());
    writeln!(
        text,
        "\nA node's share is {least} places, {} of them its own.",
        least / size.replicas
    )
    .expect("a String takes all");
    writeln!(
        text,
        "After all that a node owns {} to {} shards and has {} to {} places.",
        owned.least, owned.most, placed.least, placed.most
    )
    .expect("a String takes all");
}

fn clockwork(text: &mut String, size: &Size) {
    head(
        text,
        &["by the clock", "a second", "a node", "a master of Redis"],
    );

    let nodes = size.nodes as f64;
    for rate in rates(size) {
        let of_master = if rate.spread {
            rate.per_second / size.masters as f64
        } else {
            rate.per_second
        };
        let cells = [rate.per_second, rate.per_second / nodes, of_master]
            .map(|count| format!("{count:.1}"));
        line(text, &[rate.what, &cells[0], &cells[1], &cells[2]]);
    }

    head(text, &["connections", "in all", "at one process"]);
    for kind in connections(size) {
        line(
            text,
            &[kind.what, &kind.all.to_string(), &kind.at_one.to_string()],
        );
    }
}
