//! What is committed, what scripts are like, and how they build.

use std::fs;
use std::process::Command;

use crate::tree::{assert_none, collect, root};

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
