//! How long a file is, and that each is in the tree of modules, in its place.

use std::collections::BTreeSet;

use crate::long::{LINES_MAX, LONGER};
use crate::tree::{Source, all_rust, assert_none, root, rust_under};

/// How many lines a file may have.
fn lines_max(path: &str) -> usize {
    LONGER
        .iter()
        .find(|(file, _, _)| *file == path)
        .map_or(LINES_MAX, |(_, max, _)| *max)
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
    for (path, _, _) in LONGER {
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
