//! Rules of this repository that no compiler checks: which way imports go, where an outside crate
//! lives, how long a file is, which words are used. Each failure says what to do. Standard library
//! only.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/long.rs"]
mod long;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/wings.rs"]
mod wings;

use crate::long::{LINES_MAX, LONGER, NOT_YET_PARTED};

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
    ("redis", &["src/log/redis/", "src/cluster/table/redis.rs"]),
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
    (
        "schemars",
        &["src/protocol/", "src/ids.rs", "src/problem.rs"],
    ),
    ("fastwebsockets", &["src/link/", "src/router/sessions/"]),
];

/// Words that say nothing, or that mean something else here.
const FORBIDDEN: [&str; 9] = [
    "manager", "helper", "helpers", "util", "utils", "misc", "data", "info", "room",
];

/// The page of failures that comments of tests name by their numbers.
const MUST_NOT_HAPPEN: &str = "docs/must-not-happen.md";

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines before the tests of the file, with their numbers.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].trim_start().starts_with("mod ")
                && pair[1].ends_with('{')
        });
        lines
            .into_iter()
            .take(tests.unwrap_or(usize::MAX))
            .enumerate()
            .map(|(i, line)| (i + 1, line))
    }

    /// Production lines that are no comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.production()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// How many lines are code: neither blank, nor a comment, nor of the tests at the end.
    fn lines_of_code(&self) -> usize {
        self.code()
            .filter(|(_, line)| !line.trim().is_empty())
            .count()
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.ends_with("tests.rs") || name == "conformance.rs" || self.path.contains("/tests/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, ending, into);
        } else if path.to_string_lossy().ends_with(ending) {
            into.push(path);
        }
    }
}

fn rust_under(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join(folder), ".rs", &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        })
        .collect()
}

/// Fails with all breaches at once and the rule that they break.
fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}

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

/// Every Rust file of ours.
fn all_rust() -> Vec<Source> {
    let folders = ["src", "tests", "loadtest/src", "examples"];
    folders.into_iter().flat_map(rust_under).collect()
}

/// How many lines a file may have.
fn lines_max(path: &str) -> usize {
    let longer = LONGER.iter().map(|(file, max, _)| (*file, *max));
    let mut excused = longer.chain(NOT_YET_PARTED);
    excused
        .find(|(file, _)| *file == path)
        .map_or(LINES_MAX, |(_, max)| max)
}

#[test]
fn files_are_short() {
    let mut breaches = Vec::new();
    for source in all_rust() {
        let (lines, max) = (source.lines_of_code(), lines_max(&source.path));
        if lines > max {
            breaches.push(format!(
                "{}: {lines} lines of code of at most {max}",
                source.path
            ));
        }
    }
    assert_none(
        "split a file along its reasons to change, or give it a reason in LONGER",
        &breaches,
    );
}

#[test]
fn exceptions_are_still_needed() {
    let sources = all_rust();
    let mut breaches = Vec::new();
    let longer = LONGER.iter().map(|(path, _, _)| *path);
    for path in longer.chain(NOT_YET_PARTED.map(|(file, _)| file)) {
        let source = sources.iter().find(|source| source.path == path);
        if source.is_none_or(|source| source.lines_of_code() <= LINES_MAX) {
            breaches.push(format!("{path}: is no longer too long, or no longer there"));
        }
    }
    assert_none("take it out of tests/tidy/long.rs", &breaches);
}

#[test]
fn every_file_is_in_the_module_tree() {
    let sources = rust_under("src");
    let declared: BTreeSet<String> = sources.iter().flat_map(declared_by).collect();
    let breaches: Vec<String> = sources
        .iter()
        .map(|source| source.path.clone())
        .filter(|path| {
            !matches!(path.as_str(), "src/main.rs" | "src/lib.rs") && !path.starts_with("src/bin/")
        })
        .filter(|path| !declared.contains(path))
        .collect();
    assert_none(
        "these files are in no module: nobody compiles them",
        &breaches,
    );
}

/// The files that a source's `mod x;` lines bring in.
fn declared_by(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap();
    let stem = name.trim_end_matches(".rs");
    let home = match stem {
        "mod" | "lib" | "main" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    let mut files = Vec::new();
    for line in source.text.lines().map(str::trim) {
        let Some((before, rest)) = line.split_once("mod ") else {
            continue;
        };
        let Some(module) = rest.strip_suffix(';') else {
            continue;
        };
        if before.is_empty() || before.starts_with("pub") || before.starts_with("#[") {
            files.extend([
                format!("{home}/{module}.rs"),
                format!("{home}/{module}/mod.rs"),
            ]);
        }
    }
    files
}

#[test]
fn a_module_with_children_is_a_mod_rs() {
    let breaches: Vec<String> = rust_under("src")
        .into_iter()
        .filter(|source| !source.path.ends_with("/mod.rs"))
        .map(|source| source.path.trim_end_matches(".rs").to_owned())
        .filter(|stem| root().join(stem).is_dir())
        .collect();
    assert_none(
        "move it into the folder of its children, as mod.rs",
        &breaches,
    );
}

#[test]
fn names_say_what_a_thing_is() {
    let mut breaches = Vec::new();
    let domain = ["room", "channel"];
    for source in rust_under("src")
        .into_iter()
        .chain(rust_under("loadtest/src"))
    {
        let file = source
            .path
            .trim_end_matches(".rs")
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut names = vec![(1, file)];
        for (number, line) in source.code() {
            // An indented `type` belongs to a trait of someone else.
            if line.starts_with(' ') && line.trim_start().starts_with("type ") {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2) {
                if matches!(pair[0], "struct" | "enum" | "trait" | "mod" | "type") {
                    names.push((
                        number,
                        pair[1]
                            .chars()
                            .take_while(|&c| c.is_alphanumeric() || c == '_')
                            .collect(),
                    ));
                }
            }
        }
        for (number, name) in names {
            if words_of(&name)
                .iter()
                .any(|word| FORBIDDEN.contains(&word.as_str()) || domain.contains(&word.as_str()))
            {
                breaches.push(format!("{}:{number}: {name}", source.path));
            }
        }
    }
    assert_none(
        "these words say nothing here; find the one that does (docs/architecture.md)",
        &breaches,
    );
}

/// The words of a name in either case, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    words
}

#[test]
fn log_lines_are_lower_case_without_a_full_stop() {
    let mut breaches = Vec::new();
    for source in rust_under("src") {
        let code: Vec<(usize, &str)> = source.code().collect();
        for (i, (number, line)) in code.iter().enumerate() {
            let Some(at) = ["trace!(", "debug!(", "info!(", "warn!(", "error!("]
                .iter()
                .find_map(|m| line.find(m))
            else {
                continue;
            };
            let call: String = std::iter::once(&line[at..])
                .chain(code[i + 1..].iter().map(|(_, next)| *next))
                .take_while(|part| !part.trim().is_empty())
                .take(12)
                .collect::<Vec<_>>()
                .join(" ");
            let call = call.split(");").next().unwrap_or_default();
            // The message is the last literal of the call; those before it are values of fields.
            let Some(message) = call.rsplit('"').nth(1) else {
                continue;
            };
            let first = message.split_whitespace().next().unwrap_or_default();
            let acronym = first.len() > 1 && first.chars().all(|c| !c.is_lowercase());
            if message.ends_with('.')
                || (first.starts_with(char::is_uppercase) && !acronym && first != "SQLite")
            {
                breaches.push(format!("{}:{number}: {message:?}", source.path));
            }
        }
    }
    assert_none(
        "log text: lower case, no full stop, values as fields",
        &breaches,
    );
}

#[test]
fn every_code_is_in_the_contract() {
    let contract =
        fs::read_to_string(root().join("docs/api.md")).expect("docs/api.md, the client contract");
    let problems = fs::read_to_string(root().join("src/problem.rs")).unwrap();
    let mut codes = Vec::new();
    for line in problems
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("Self::") && line.contains("=> ("))
    {
        let fact = line.split("=> (").nth(1).unwrap_or_default();
        let word = fact.split(',').next().unwrap_or_default().trim_matches('"');
        codes.push(word.to_owned());
    }
    assert!(
        codes.len() > 25,
        "the codes are no longer where this test looks for them: {codes:?}"
    );
    let missing: Vec<String> = codes
        .into_iter()
        .filter(|code| {
            let whole = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !contract.match_indices(code.as_str()).any(|(at, _)| {
                whole(contract[..at].chars().next_back())
                    && whole(contract[at + code.len()..].chars().next())
            })
        })
        .collect();
    assert_none("these codes are not in docs/api.md", &missing);
}

/// The numbers that a comment names, by `what must not happen: 3 and 6 (why)` or `what must not
/// happen: 3 — why`.
fn failures_named(line: &str) -> Vec<u32> {
    let comment = line.trim().strip_prefix("// ").unwrap_or_default();
    let Some((_, rest)) = comment.split_once("what must not happen: ") else {
        return Vec::new();
    };
    let mut numbers = rest
        .split(['—', ';', ':'])
        .next()
        .unwrap_or_default()
        .to_owned();
    while let Some((open, close)) = numbers
        .find('(')
        .zip(numbers.find(')'))
        .filter(|(open, close)| open < close)
    {
        numbers.replace_range(open..=close, "");
    }
    numbers
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The entries of the page: their numbers, and the tests that each one lists.
fn failures_listed(page: &str) -> BTreeMap<u32, Vec<String>> {
    let mut listed = BTreeMap::new();
    for entry in page.split("\n\n") {
        let Some((number, rest)) = entry
            .strip_prefix("**")
            .and_then(|entry| entry.split_once(". "))
        else {
            continue;
        };
        let shown = rest.split_once("Shown by ").map_or("", |(_, shown)| shown);
        let tests = shown
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        assert!(
            listed.insert(number.parse().unwrap(), tests).is_none(),
            "{number} stands there twice"
        );
    }
    listed
}

#[test]
fn every_known_failure_is_named_by_a_test_and_lists_tests_that_exist() {
    let listed =
        failures_listed(&fs::read_to_string(root().join(MUST_NOT_HAPPEN)).expect(MUST_NOT_HAPPEN));
    assert!(
        listed.len() >= 30 && listed.keys().copied().eq((1..).take(listed.len())),
        "{:?}",
        listed.keys()
    );

    let (mut named, mut tests, mut breaches) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for source in rust_under("src")
        .into_iter()
        .chain(rust_under("tests"))
        .chain(rust_under("loadtest/src"))
    {
        for (at, line) in source.text.lines().enumerate() {
            for number in failures_named(line) {
                if !listed.contains_key(&number) {
                    breaches.push(format!(
                        "{}:{}: {number} does not stand there",
                        source.path,
                        at + 1
                    ));
                }
                named.insert(number);
            }
            if let Some((_, function)) = line.split_once("fn ") {
                tests.insert(function.split('(').next().unwrap_or_default().to_owned());
            }
        }
    }

    for (number, shown) in &listed {
        if !named.contains(number) {
            breaches.push(format!(
                "{number}: no test says `// what must not happen: {number}`"
            ));
        }
        if shown.is_empty() {
            breaches.push(format!("{number}: lists no test"));
        }
        let gone = shown.iter().filter(|test| !tests.contains(*test));
        breaches.extend(gone.map(|test| format!("{number}: there is no test {test}")));
    }
    assert_none(
        "comments and docs/must-not-happen.md tell of the same failures and tests",
        &breaches,
    );
}

#[test]
fn numbers_of_failures_are_read_from_comments_of_either_form() {
    assert_eq!(
        failures_named("// what must not happen: 3 and 6 (it never resumes; 2 are lost)"),
        [3, 6]
    );
    assert_eq!(
        failures_named("    // what must not happen: 5 — an answer comes, 503, and it is true"),
        [5]
    );
    assert_eq!(
        failures_named("// what must not happen: 11 (reading) and 12 (strangers)"),
        [11, 12]
    );
    assert_eq!(
        failures_named("// what must not happen: 27 (never trimmed); I8: never beyond"),
        [27]
    );
    assert_eq!(
        failures_named("let text = \"what must not happen: 9\";"),
        [] as [u32; 0]
    );
}

// what must not happen: 18 — secrets, database files or merge markers in the repository.
#[test]
fn nothing_is_committed_that_should_not_be() {
    let Ok(output) = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
    else {
        return;
    };
    // Without a repository (a source archive) there is nothing to ask.
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut breaches = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let kept = |ending: &str| name.ends_with(ending);
        if name == ".env"
            || [".db", ".sqlite", ".sqlite3", "-wal", "-shm", ".pem", ".key"]
                .iter()
                .any(|e| kept(e))
                && !path.starts_with("tests/fixtures/")
        {
            breaches.push(format!("{path}: does not belong into a repository"));
        }
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        let conflict = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
        if text.lines().any(conflict) {
            breaches.push(format!("{path}: has markers of a merge"));
        }
        if text.contains(concat!("-----BEGIN ", "PRIVATE KEY"))
            && !path.starts_with("tests/")
            && !path.starts_with("src/")
        {
            breaches.push(format!("{path}: has a private key"));
        }
    }
    assert_none("what is committed is public for ever", &breaches);
}

#[test]
fn scripts_are_executable_and_strict() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut breaches = Vec::new();
    let scripts = fs::read_dir(root().join("scripts"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for path in scripts
        .chain([root().join(".ci/run")])
        .filter(|path| path.is_file())
    {
        let text = fs::read_to_string(&path).unwrap();
        if fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0 {
            breaches.push(format!("{}: not executable", path.display()));
        }
        if text.starts_with("#!/usr/bin/env bash") && !text.contains("set -euo pipefail") {
            breaches.push(format!("{}: without `set -euo pipefail`", path.display()));
        }
    }
    assert_none("scripts stop at the first failure", &breaches);
}

/// Built with other features, the same crates are compiled again, which takes minutes.
#[test]
fn what_is_built_shares_the_features_of_its_dependencies() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let of = |key: &str| {
        let line = manifest
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("{key} is missing"))
            .trim_matches(['[', ']'])
            .to_owned()
    };
    assert_eq!(
        of("default-members"),
        format!("\".\", {}", of("members")),
        "a plain cargo builds all members"
    );

    let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    collect(&root().join("docs"), ".md", &mut paths);
    collect(&root().join("scripts"), "", &mut paths);
    let mut breaches = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for line in text
            .lines()
            .filter(|line| line.contains("cargo build") || line.contains("cargo run"))
        {
            if line.contains(" -p ") || line.contains("--package") {
                breaches.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert_none("choose a program by --bin, not by its package", &breaches);
}
