//! Which imports there are between the wings of a folder, read from the sources.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::Source;

/// An import between two wings of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) folder: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: String,
}

/// The path of a file's module below `src/`, by its names.
pub(crate) fn module_of(path: &str) -> Vec<&str> {
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
pub(crate) fn tests_only(sources: &[Source]) -> BTreeSet<String> {
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
pub(crate) fn arrows(sources: &[Source]) -> Vec<Arrow> {
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
