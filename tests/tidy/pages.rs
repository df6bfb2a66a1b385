//! Rules of the documents, and of the comments, which are documents too.

use std::fs;
use std::path::PathBuf;

use crate::tree::{all_rust, assert_none, collect, root};

/// Longest line of a document or a comment, in characters: what stands side by side with the code
/// can be read without scrolling.
const WIDTH_MAX: usize = 100;

/// Every page of ours, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .into();
    collect(&root().join("docs"), ".md", &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn links_of_documents_point_to_files_that_exist() {
    let mut breaches = Vec::new();
    for (page, text) in pages() {
        for (number, line) in text.lines().enumerate() {
            let links = line.split("](").skip(1);
            for link in links.filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                let outside =
                    path.contains("://") || path.starts_with("mailto:") || path.is_empty();
                if !outside && !page.parent().unwrap().join(path).exists() {
                    breaches.push(format!("{}:{}: {link}", page.display(), number + 1));
                }
            }
        }
    }
    assert_none("these links point to nothing", &breaches);
}

/// The numbers of lines of a page that could be wrapped and are not. Tables, headings, what stands
/// between fences, and what has no place to break are as long as they are.
fn unwrapped(text: &str) -> Vec<usize> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = line.trim_start();
        fenced ^= words.starts_with("```");
        let kept = fenced || words.starts_with(['|', '#', '[', '<']);
        if !kept && is_too_wide(line) {
            found.push(number + 1);
        }
    }
    found
}

fn is_too_wide(line: &str) -> bool {
    let words = line.trim_start().trim_start_matches("- ");
    line.chars().count() > WIDTH_MAX && words.contains(' ')
}

#[test]
fn documents_are_wrapped() {
    let mut breaches = Vec::new();
    for (page, text) in pages() {
        for number in unwrapped(&text) {
            breaches.push(format!("{}:{number}", page.display()));
        }
    }
    assert_none("wrap these lines at 100 characters", &breaches);
}

#[test]
fn comments_are_wrapped() {
    let mut breaches = Vec::new();
    for source in all_rust() {
        let mut fenced = false;
        for (number, line) in source.text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                continue;
            };
            let words = comment.trim_start_matches(['/', '!']).trim_start();
            fenced ^= words.starts_with("```");
            if !fenced && !words.starts_with('|') && is_too_wide(line) {
                breaches.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    assert_none("wrap these comments at 100 characters", &breaches);
}

#[test]
fn a_line_that_is_not_wrapped_is_noticed_and_a_table_is_not() {
    let long = "word ".repeat(21);
    assert_eq!(unwrapped(&format!("short\n{long}\n")), [2]);
    assert_eq!(unwrapped(&format!("- {long}")), [1]);
    assert_eq!(unwrapped(&format!("| {long} |\n# {long}\n")), [0_usize; 0]);
    assert_eq!(unwrapped(&format!("```sh\n{long}\n```\n{long}")), [4]);
    assert_eq!(unwrapped(&"x".repeat(120)), [0_usize; 0]);
}
