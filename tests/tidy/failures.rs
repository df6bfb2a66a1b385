//! The failures that must not happen: their page, and the tests that name them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::tree::{assert_none, root, rust_under};

/// The page of failures that comments of tests name by their numbers.
const MUST_NOT_HAPPEN: &str = "docs/must-not-happen.md";

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
