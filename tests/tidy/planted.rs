//! The planted bugs are patches, and still fit what they break.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::tree::{assert_none, root, rust_under};

/// Patches that carry no bug's name, or parts of several.
const OTHERS: [&str; 2] = ["planted_mod", "append_checks"];

/// The files that name the bugs.
const SCENARIOS: [&str; 3] = ["scenario.rs", "changes.rs", "said.rs"];

/// The patches, by their names.
fn patches() -> BTreeMap<String, String> {
    let folder = root().join("loadtest/planted");
    let files = fs::read_dir(&folder).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "patch"))
        .map(|path: PathBuf| {
            let name = path.file_stem().unwrap().to_string_lossy();
            let text = fs::read_to_string(&path).unwrap();
            (name.into_owned(), text)
        })
        .collect()
}

/// The words between quotation marks that follow `before` in a text.
fn quoted_after(text: &str, before: &str) -> BTreeSet<String> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

/// Lines that a hunk expects in its file.
struct Hunk {
    file: String,
    lines: String,
}

/// The hunks of a patch.
fn hunks_of(patch: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut file = String::new();

    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- a/") {
            path.clone_into(&mut file);
        } else if line.starts_with("@@") {
            hunks.push(Hunk {
                file: file.clone(),
                lines: String::new(),
            });
        } else if let Some(expected) = line.strip_prefix([' ', '-'])
            && let Some(hunk) = hunks.last_mut()
        {
            hunk.lines.push_str(expected);
            hunk.lines.push('\n');
        }
    }

    hunks
}

/// What is wrong with a hunk, if its lines are not in the text exactly once.
fn misfit(hunk: &Hunk, text: &str) -> Option<String> {
    let found = text.matches(&hunk.lines).count();
    (found != 1).then(|| {
        let lines = &hunk.lines;
        format!(
            "{} has these lines {found} times, not once:\n{lines}",
            hunk.file
        )
    })
}

#[test]
fn every_planted_bug_finds_the_lines_that_it_changes() {
    let mut wrong = Vec::new();
    for (name, patch) in patches() {
        let hunks = hunks_of(&patch);
        assert!(!hunks.is_empty(), "{name}.patch changes nothing");
        for hunk in hunks {
            let text = fs::read_to_string(root().join(&hunk.file)).unwrap_or_default();
            wrong.extend(misfit(&hunk, &text).map(|what| format!("{name}.patch: {what}")));
        }
    }
    assert_none(
        "patches that do not fit any more: loadtest/planted/README.md says how they are written anew",
        &wrong,
    );
}

#[test]
fn a_patch_whose_lines_were_changed_is_noticed() {
    let hunk = Hunk {
        file: "src/house.rs".to_owned(),
        lines: "let door = open();\n".to_owned(),
    };
    assert!(misfit(&hunk, "let door = open();\nenter(door);\n").is_none());
    assert!(misfit(&hunk, "let door = shut();\n").is_some());
    assert!(misfit(&hunk, "let door = open();\nlet door = open();\n").is_some());
}

#[test]
fn every_planted_bug_has_a_patch_and_every_patch_a_scenario() {
    let folder = root().join("loadtest/src/chaos/planted");
    let bugs: BTreeSet<String> = SCENARIOS
        .iter()
        .map(|file| fs::read_to_string(folder.join(file)).unwrap())
        .flat_map(|scenarios| quoted_after(&scenarios, " bug: "))
        .collect();
    assert!(bugs.len() >= 27, "the scenarios are read wrongly: {bugs:?}");

    let patches = patches();
    let helper = fs::read_to_string(root().join("loadtest/planted/planted.rs")).unwrap();
    let dropped: BTreeSet<String> = patches
        .values()
        .chain([&helper])
        .flat_map(|text| quoted_after(text, "is_dropped("))
        .collect();
    assert_eq!(bugs, dropped, "bugs with a scenario, and bugs with a patch");

    let unknown: Vec<String> = patches
        .into_keys()
        .filter(|name| !bugs.contains(name) && !OTHERS.contains(&name.as_str()))
        .collect();
    assert_none("patches that are named like no bug", &unknown);
}

#[test]
fn the_program_itself_knows_nothing_of_planted_bugs() {
    let wrong: Vec<String> = rust_under("src")
        .into_iter()
        .filter(|source| source.text.contains("planted::"))
        .map(|source| source.path)
        .collect();
    assert_none("production files with a planted bug", &wrong);
}
