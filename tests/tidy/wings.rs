//! Which way imports go inside a folder: its files and folders, its wings, stand one above the
//! other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, assert_none, rust_under};
use order::ORDER;

#[path = "order.rs"]
mod order;

/// Files that use each other, and why they may for now.
const CIRCLES: [(&str, &[&str], &str); 1] = [(
    "node/session",
    &["again", "commands", "routers", "said", "sweep", "window"],
    "a session keeps its router, what it said and what is said again, and each of those knows \
         sessions",
)];

/// Longest `mod.rs`, in lines: it is the map of its folder.
const MAP_LINES_MAX: usize = 80;

/// Folders whose `mod.rs` is no map yet, but holds logic that belongs into a file with a name.
const NOT_YET_MAPS: [&str; 19] = [
    "cluster/table",
    "config",
    "dev",
    "link",
    "link/front",
    "log/lane",
    "log/record",
    "node/custody/opening",
    "node/http",
    "node/outbox",
    "node/owners",
    "node/session",
    "operations",
    "process",
    "protocol",
    "router",
    "shard/file/apply",
    "shard/file/store",
    "shard/write/owner",
];

/// An import between two wings of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrow {
    folder: String,
    from: String,
    to: String,
    line: String,
}

/// The path of a file's module below `src/`, by its names.
fn module_of(path: &str) -> Vec<&str> {
    let below = path
        .strip_prefix("src/")
        .unwrap_or(path)
        .trim_end_matches(".rs");
    let mut names: Vec<&str> = below.split('/').collect();
    if matches!(names.last(), Some(&("mod" | "lib" | "main"))) {
        names.pop();
    }
    names
}

/// The production code of a source without comments, in one text.
fn code_of(source: &Source) -> String {
    let lines: Vec<&str> = source.code().map(|(_, line)| line).collect();
    let mut code = String::new();
    for (at, line) in lines.iter().enumerate() {
        let tests_only = at > 0 && lines[at - 1].trim() == "#[cfg(test)]";
        if !(tests_only && line.contains("use ")) {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Every path of this crate that a text names, with groups in braces written out: `crate::a::{b,
/// c::d}` is `a::b` and `a::c::d`. What `super::` means depends on the module.
fn paths_of(code: &str, module: &[&str]) -> Vec<String> {
    let parent = module
        .split_last()
        .map_or(String::new(), |(_, parent)| parent.join("::"));
    let mut paths = Vec::new();
    for (root, prefix) in [("crate::", ""), ("super::", parent.as_str())] {
        for (at, _) in code.match_indices(root) {
            if code[..at]
                .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '(')
                && root == "super::"
            {
                continue;
            }
            let prefix = if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}::")
            };
            write_out(&code[at + root.len()..], &prefix, &mut paths);
        }
    }
    paths
}

/// Writes out one path with its groups. Returns what follows it.
fn write_out<'a>(text: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let (head, mut rest) = text.split_at(end);
    let path = format!("{prefix}{head}");
    if !(path.ends_with("::") && rest.starts_with('{')) {
        paths.push(
            path.trim_end_matches(':')
                .trim_end_matches("::self")
                .to_owned(),
        );
        return rest;
    }

    rest = &rest[1..];
    loop {
        rest = rest.trim_start_matches([' ', '\n', ',']);
        if rest.is_empty() || rest.starts_with('}') {
            return rest.get(1..).unwrap_or_default();
        }
        let before = rest.len();
        rest = write_out(rest, &path, paths);
        // `as` and what it is called.
        rest = rest.find([',', '}']).map_or("", |at| &rest[at..]);
        if rest.len() == before {
            return "";
        }
    }
}

/// What a `mod.rs` hands on from its wings: the path that others use, and the one that is meant.
fn handed_on(sources: &[Source]) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for source in sources
        .iter()
        .filter(|source| source.path.ends_with("/mod.rs"))
    {
        let module = module_of(&source.path).join("::");
        let code = code_of(source);
        for statement in code.split(';') {
            let Some((before, imported)) = statement.trim().split_once("use ") else {
                continue;
            };
            let visible = before.starts_with("pub") && before.lines().count() == 1;
            if !visible || imported.starts_with("crate::") || imported.starts_with("super::") {
                continue;
            }
            let mut paths = Vec::new();
            write_out(imported.trim_start_matches("self::"), "", &mut paths);
            for path in paths {
                let name = path.rsplit("::").next().unwrap_or_default();
                known.insert(format!("{module}::{name}"), format!("{module}::{path}"));
            }
        }
    }
    known
}

/// The path that is meant by one that may lead over what a `mod.rs` hands on.
fn meant<'a>(path: &'a str, handed_on: &'a BTreeMap<String, String>) -> String {
    let names: Vec<&str> = path.split("::").collect();
    for count in (1..=names.len()).rev() {
        if let Some(target) = handed_on.get(&names[..count].join("::")) {
            return std::iter::once(target.as_str())
                .chain(names[count..].iter().copied())
                .collect::<Vec<_>>()
                .join("::");
        }
    }
    path.to_owned()
}

/// The modules that only tests compile.
fn tests_only(sources: &[Source]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(name) = pair[1]
                .split("mod ")
                .nth(1)
                .and_then(|rest| rest.strip_suffix(';'))
            {
                let mut module = module_of(&source.path);
                module.push(name);
                known.insert(module.join("::"));
            }
        }
    }
    known
}

/// Every import from one wing of a folder to another, for all folders.
fn arrows(sources: &[Source]) -> Vec<Arrow> {
    let (handed_on, tests_only) = (handed_on(sources), tests_only(sources));
    let modules: BTreeSet<String> = sources
        .iter()
        .map(|source| module_of(&source.path).join("::"))
        .collect();
    let mut arrows = Vec::new();
    for source in sources {
        let module = module_of(&source.path);
        let is_test =
            (1..=module.len()).any(|count| tests_only.contains(&module[..count].join("::")));
        if is_test || source.is_test() {
            continue;
        }
        for path in paths_of(&code_of(source), &module) {
            let target = meant(&path, &handed_on);
            let names: Vec<&str> = target.split("::").collect();
            let shared = module
                .iter()
                .zip(&names)
                .take_while(|(own, other)| own == other)
                .count();
            let (Some(from), Some(to)) = (module.get(shared), names.get(shared)) else {
                continue;
            };
            if modules.contains(&names[..=shared].join("::")) {
                arrows.push(Arrow {
                    folder: module[..shared].join("/"),
                    from: (*from).to_owned(),
                    to: (*to).to_owned(),
                    line: format!("{} uses {path}", source.path),
                });
            }
        }
    }
    arrows
}

/// The arrows that do not go down in the order of their folder.
fn upward(arrows: &[Arrow], order: &[(&str, &[&str])]) -> Vec<String> {
    let mut breaches = Vec::new();
    for arrow in arrows {
        let Some((_, wings)) = order.iter().find(|(folder, _)| *folder == arrow.folder) else {
            continue;
        };
        let floor = |wing: &str| wings.iter().position(|known| *known == wing);
        match (floor(&arrow.from), floor(&arrow.to)) {
            (Some(from), Some(to)) if to < from => {}
            (Some(_), Some(_)) => breaches.push(arrow.line.clone()),
            _ => breaches.push(format!(
                "{}: {} or {} has no floor",
                arrow.line, arrow.from, arrow.to
            )),
        }
    }
    breaches
}

/// The folders in which wings use each other in a circle, and those wings.
fn circles(arrows: &[Arrow]) -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for arrow in arrows.iter().filter(|arrow| !arrow.folder.is_empty()) {
        uses.entry(&arrow.folder)
            .or_default()
            .entry(&arrow.from)
            .or_default()
            .insert(&arrow.to);
    }
    let mut found = BTreeMap::new();
    for (folder, wings) in uses {
        let reaches = |from: &str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(wing) = next.pop() {
                for to in wings.get(wing).into_iter().flatten() {
                    if seen.insert(*to) {
                        next.push(to);
                    }
                }
            }
            seen
        };
        let circle: BTreeSet<String> = wings
            .keys()
            .filter(|wing| reaches(wing).contains(*wing))
            .map(|wing| (*wing).to_owned())
            .collect();
        if !circle.is_empty() {
            found.insert(folder.to_owned(), circle);
        }
    }
    found
}

#[test]
fn imports_between_wings_go_one_way() {
    let arrows = arrows(&rust_under("src"));
    assert!(
        arrows.len() > 500,
        "imports are no longer found: {}",
        arrows.len()
    );
    assert_none(
        "a wing uses only those before it in ORDER: move what both need down, or give a new wing \
         its floor",
        &upward(&arrows, &ORDER),
    );
}

#[test]
fn no_wings_use_each_other_in_a_circle() {
    let mut found = circles(&arrows(&rust_under("src")));
    for (folder, files, reason) in CIRCLES {
        assert!(!reason.is_empty());
        let known: BTreeSet<String> = files.iter().map(|&file| file.to_owned()).collect();
        assert_eq!(
            found.remove(folder),
            Some(known),
            "take it out of CIRCLES, or mend what is new"
        );
    }
    assert!(
        found.is_empty(),
        "wings that use each other in a circle: {found:?}"
    );
}

#[test]
fn every_wing_has_its_floor_once_and_is_there() {
    let sources = rust_under("src");
    let mut breaches = Vec::new();
    for (folder, wings) in ORDER {
        for wing in wings {
            let (file, inside) = (
                format!("src/{folder}/{wing}.rs"),
                format!("src/{folder}/{wing}/mod.rs"),
            );
            if !sources
                .iter()
                .any(|source| source.path == file || source.path == inside)
            {
                breaches.push(format!("{folder}: there is no {wing}"));
            }
            if wings.iter().filter(|other| *other == wing).count() > 1 {
                breaches.push(format!("{folder}: {wing} stands twice"));
            }
        }
    }
    assert_none("take it out of ORDER", &breaches);
}

#[test]
fn a_mod_rs_is_a_map() {
    let sources = rust_under("src");
    let tests_only = tests_only(&sources);
    let mut breaches = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.path.ends_with("/mod.rs") && !source.is_test())
    {
        let module = module_of(&source.path);
        if (1..=module.len()).any(|count| tests_only.contains(&module[..count].join("::"))) {
            continue;
        }
        let (lines, excused) = (
            source.production().count(),
            NOT_YET_MAPS.contains(&module.join("/").as_str()),
        );
        match (lines > MAP_LINES_MAX, excused) {
            (true, false) => breaches.push(format!(
                "{}: {lines} lines of at most {MAP_LINES_MAX}",
                source.path
            )),
            (false, true) => breaches.push(format!(
                "{}: is a map now; take it out of NOT_YET_MAPS",
                source.path
            )),
            _ => {}
        }
    }
    assert_none(
        "a mod.rs has a header, its modules, what it hands on: logic goes into a file with a name",
        &breaches,
    );
}

/// A source that is not there.
fn planted(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[test]
fn an_import_that_goes_up_is_noticed_however_it_is_written() {
    let order: [(&str, &[&str]); 1] = [("house", &["cellar", "hall", "attic"])];
    let map = "pub use attic::Window;\nmod attic;\nmod hall;\nmod cellar;\n";
    let noticed = |text: &str| {
        let sources = [
            planted("src/house/mod.rs", map),
            planted("src/house/attic.rs", "use crate::house::hall::Door;\n"),
            planted("src/house/cellar.rs", ""),
            planted("src/house/hall.rs", text),
        ];
        upward(&arrows(&sources), &order)
    };
    assert_eq!(
        noticed("use crate::house::attic::Roof;\n"),
        ["src/house/hall.rs uses house::attic::Roof"]
    );
    assert_eq!(
        noticed("use crate::house::{cellar, attic::{Roof, Beam as Wood}};\n").len(),
        2,
        "in groups"
    );
    assert_eq!(
        noticed("use crate::house::Window;\n").len(),
        1,
        "over what the map hands on"
    );
    assert_eq!(
        noticed("use super::attic::Roof;\n").len(),
        1,
        "by its neighbour's name"
    );
    assert_eq!(
        noticed("fn f() -> crate::house::attic::Roof {\n").len(),
        1,
        "without an import"
    );

    assert_eq!(
        noticed("use crate::house::cellar::Wine;\n"),
        [] as [&str; 0],
        "that one goes down"
    );
    assert_eq!(
        noticed("// crate::house::attic\n"),
        [] as [&str; 0],
        "a comment"
    );
    assert_eq!(
        noticed("#[cfg(test)]\nmod tests {\n    use crate::house::attic::Roof;\n"),
        [] as [&str; 0],
        "a test"
    );
}

#[test]
fn a_wing_without_a_floor_is_noticed() {
    let order: [(&str, &[&str]); 1] = [("house", &["cellar"])];
    let sources = [
        planted("src/house/mod.rs", "mod cellar;\nmod porch;\n"),
        planted("src/house/cellar.rs", ""),
        planted("src/house/porch.rs", "use crate::house::cellar::Wine;\n"),
    ];
    assert_eq!(upward(&arrows(&sources), &order).len(), 1);
}

#[test]
fn a_circle_is_noticed_in_a_folder_without_an_order_too() {
    let of = |attic: &str| {
        let sources = [
            planted("src/house/mod.rs", "mod attic;\nmod cellar;\nmod hall;\n"),
            planted("src/house/attic/mod.rs", "mod window;\n"),
            planted("src/house/attic/window.rs", attic),
            planted("src/house/hall.rs", "use crate::house::attic::Roof;\n"),
            planted("src/house/cellar.rs", "use crate::house::hall::Door;\n"),
        ];
        circles(&arrows(&sources))
    };
    let circle = of("use crate::house::cellar::Wine;\n");
    let expected: BTreeSet<String> = ["attic", "cellar", "hall"].map(str::to_owned).into();
    assert_eq!(
        circle,
        BTreeMap::from([("house".to_owned(), expected)]),
        "over three wings, from deep inside one"
    );
    assert_eq!(of(""), BTreeMap::new());
}
