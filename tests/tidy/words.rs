//! Which words are used: in names, in the lines of the log, in the codes of the contract.

use std::fs;

use crate::tree::{assert_none, collect, root, rust_under};

/// Words that say nothing, or that mean something else here.
const FORBIDDEN: [&str; 9] = [
    "manager", "helper", "helpers", "util", "utils", "misc", "data", "info", "room",
];

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
    let problems = fs::read_to_string(root().join("src/problem/code.rs")).unwrap();
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

/// The words that a sentence has for one person of one kind, which a user is not.
const PRONOUNS: [&str; 8] = [
    "he", "his", "him", "himself", "she", "her", "hers", "herself",
];

/// Numbers of the lines that speak of a user so.
fn pronouns_in(text: &str) -> Vec<usize> {
    let speaks = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '\'')
            .any(|word| PRONOUNS.contains(&word.to_lowercase().as_str()))
    };
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| speaks(line))
        .map(|(at, _)| at + 1)
        .collect()
}

#[test]
fn a_user_is_they() {
    let code = [
        "src",
        "loadtest/src",
        "tests/it",
        "tests/it_redis",
        "tests/it_cluster",
        "examples",
    ];
    let mut breaches = Vec::new();

    for source in code.into_iter().flat_map(rust_under) {
        for line in pronouns_in(&source.text) {
            breaches.push(format!("{}:{line}", source.path));
        }
    }

    let mut documents = Vec::new();
    collect(&root().join("docs"), ".md", &mut documents);
    documents
        .extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root().join(page)));
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        for line in pronouns_in(&text) {
            breaches.push(format!("{}:{line}", path.display()));
        }
    }

    assert_none("a user is *they* (docs/style.md)", &breaches);
    assert_eq!(
        pronouns_in("What the user has,\nand His own.\nThe theory.\n"),
        [2]
    );
}
