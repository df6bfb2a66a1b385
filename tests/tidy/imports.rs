//! Which way imports go from folder to folder, how they are written, and where an outside crate
//! lives.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{assert_none, rust_under};

/// The leaves: what everything may use, and what uses nothing but other leaves.
const LEAVES: [&str; 12] = [
    "auth",
    "backoff",
    "clock",
    "connections",
    "files",
    "ids",
    "output",
    "problem",
    "protocol",
    "sqlite",
    "telemetry",
    "watchdog",
];

/// Where each outside crate with a danger of its own lives.
const HOMES: [(&str, &[&str]); 7] = [
    ("redis", &["src/log/redis/", "src/cluster/table/redis/"]),
    (
        "sqlx",
        &[
            "src/shard/file/store/",
            "src/sqlite.rs",
            "src/shard/file/snapshot",
            "src/shard/file/backup/",
            "src/log/embedded/former",
        ],
    ),
    (
        "libsqlite3_sys",
        &["src/shard/file/store/", "src/shard/file/snapshot"],
    ),
    ("hashring", &["src/cluster/ring.rs"]),
    ("jsonwebtoken", &["src/auth/"]),
    ("schemars", &["src/protocol/", "src/ids.rs", "src/problem/"]),
    ("fastwebsockets", &["src/link/", "src/router/sessions/"]),
];

/// The first path segment below `src/`, without its ending.
fn area(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below
        .split('/')
        .next()
        .unwrap_or(below)
        .trim_end_matches(".rs")
}

/// How far up a module stands; a module may use what stands lower, or itself.
fn height(area: &str) -> u32 {
    match area {
        _ if LEAVES.contains(&area) => 0,
        "link" | "log" => 1,
        "cluster" => 2,
        "shard" => 3,
        "node" => 4,
        "router" | "operations" => 5,
        "config" => 6,
        "process" => 7,
        "dev" => 8,
        "lib" | "main" => 9,
        _ => panic!("src/{area} is new: give it a place in this test and in docs/architecture.md"),
    }
}

/// What the router may use beside leaves: it needs links and the cluster, no SQL and no log.
const ROUTER_MAY_USE: [&str; 2] = ["link", "cluster"];

#[test]
fn imports_go_one_way() {
    let mut breaches = Vec::new();
    for source in rust_under("src") {
        let from = area(&source.path);
        for (number, line) in source.code() {
            for target in line.split("crate::").skip(1) {
                let to: String = target
                    .chars()
                    .take_while(|&c| c.is_alphanumeric() || c == '_')
                    .collect();
                let to = to.as_str();
                if !to.starts_with(char::is_lowercase) {
                    continue;
                }
                let downwards = to == from || height(to) < height(from);
                let leaf_to_leaf = height(from) == 0 && height(to) == 0;
                let narrow = from != "router"
                    || source.is_test()
                    || height(to) == 0
                    || to == "router"
                    || ROUTER_MAY_USE.contains(&to);
                if !(downwards || leaf_to_leaf) || !narrow {
                    breaches.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }

    assert_none(
        "leaves <- link, log <- cluster <- shard <- node <- router, operations <- config <- process <- dev <- main; the \
         router uses only links, the cluster and leaves",
        &breaches,
    );
}

#[test]
fn leaves_form_no_circle() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in rust_under("src") {
        let from = area(&source.path).to_owned();
        if height(&from) > 0 {
            continue;
        }
        let targets = source
            .code()
            .filter_map(|(_, line)| line.split_once("use crate::"))
            .map(|(_, rest)| {
                rest.chars()
                    .take_while(|&c| c.is_alphanumeric() || c == '_')
                    .collect::<String>()
            });
        let targets: Vec<String> = targets.filter(|to| *to != from).collect();
        uses.entry(from).or_default().extend(targets);
    }

    // Take away, again and again, what uses nothing any more; what stays is a circle.
    loop {
        let free: Vec<String> = uses
            .iter()
            .filter(|(_, to)| to.is_empty())
            .map(|(from, _)| from.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        uses.retain(|from, _| !free.contains(from));
        for targets in uses.values_mut() {
            targets.retain(|to| !free.contains(to) && LEAVES.contains(&to.as_str()));
        }
    }

    assert!(
        uses.is_empty(),
        "leaves that use each other in a circle: {uses:?}"
    );
}

#[test]
fn own_imports_are_written_out() {
    let mut breaches = Vec::new();
    for source in rust_under("src").into_iter().chain(rust_under("tests")) {
        for (number, line) in source.code() {
            let import = line
                .trim_start()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            let grouped = import.starts_with("use crate::{");
            let glob = import.starts_with("use crate::") && import.contains('*');
            if grouped || glob {
                breaches.push(format!("{}:{number}: {import}", source.path));
            }
        }
    }

    assert_none(
        "one line per module, nothing by glob: `use crate::a::b::{X, Y};`",
        &breaches,
    );
}

#[test]
fn outside_crates_live_in_their_homes() {
    let mut breaches = Vec::new();
    for source in rust_under("src") {
        for (name, homes) in HOMES {
            if homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            for (number, line) in source.code().filter(|(_, line)| uses_crate(line, name)) {
                breaches.push(format!(
                    "{}:{number}: {} (home: {homes:?})",
                    source.path,
                    line.trim()
                ));
            }
        }
    }

    assert_none("a crate with a danger of its own has one home", &breaches);
}

/// True when the line names something of this crate.
fn uses_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}
