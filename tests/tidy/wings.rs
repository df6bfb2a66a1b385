//! Which way imports go inside a folder: its files and folders, its wings, stand one above the
//! other.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrows::{Arrow, arrows, module_of, tests_only};
use crate::order::ORDER;
use crate::tree::{Source, assert_none, rust_under};

/// Longest `mod.rs`, in lines: it is the map of its folder.
const MAP_LINES_MAX: usize = 80;

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
    let found = circles(&arrows(&rust_under("src")));
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
        let lines = source.production().count();
        if lines > MAP_LINES_MAX {
            breaches.push(format!(
                "{}: {lines} lines of at most {MAP_LINES_MAX}",
                source.path
            ));
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
