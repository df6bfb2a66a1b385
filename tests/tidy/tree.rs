//! The files of this repository, as the rules read them.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of Rust.
pub(crate) struct Source {
    /// Where it is, from the folder of the repository on.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines before the tests of the file, with their numbers.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
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
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.production()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// How many lines are code: neither blank, nor a comment, nor of the tests at the end.
    pub(crate) fn lines_of_code(&self) -> usize {
        self.code()
            .filter(|(_, line)| !line.trim().is_empty())
            .count()
    }

    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.ends_with("tests.rs") || name == "conformance.rs" || self.path.contains("/tests/")
    }
}

/// The folder of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds every file below a folder whose name has this ending.
pub(crate) fn collect(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
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

/// Every file of Rust below a folder, by its path.
pub(crate) fn rust_under(folder: &str) -> Vec<Source> {
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
pub(crate) fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}

/// Every Rust file of ours.
pub(crate) fn all_rust() -> Vec<Source> {
    let folders = ["src", "tests", "loadtest/src", "examples"];
    folders.into_iter().flat_map(rust_under).collect()
}
