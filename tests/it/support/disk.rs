//! What the files under a folder have in them.
#![allow(
    dead_code,
    reason = "compiled for every test target; not each of them looks into files"
)]

use std::fs;
use std::path::Path;

/// The files under a folder that have one of these words, each with the word.
pub(crate) fn files_with(folder: &Path, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();

    // A folder that is gone meanwhile has nothing, and neither has such a file.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, words));
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let has = |word: &&&str| {
            bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        };
        found.extend(
            words
                .iter()
                .filter(has)
                .map(|word| format!("{word} in {}", path.display())),
        );
    }

    found
}
