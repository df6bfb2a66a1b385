//! The chart, the compose file and the Dockerfile against the program: every flag and variable that
//! they name is one that it knows, and every flag that it knows can be given through the chart.
//! What the program knows is `docs/configuration.md`, which is generated from it and tested to be
//! so. Rendering and everything else: `scripts/check-chart`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the command lines of the chart are put together.
const COMMANDS: &str = "helm/templates/_process.tpl";

/// Flags that the chart gives in another way or has no use for, and why.
const NOT_IN_CHART: [(&str, &str); 2] = [
    ("redis", "by ROOKERY_REDIS_FILE, from a Secret"),
    ("ready-file", "for scripts; Kubernetes asks /readyz"),
];

/// What names settings of the program and is no Rust.
const NAMING: [&str; 4] = [
    "docker-compose.yml",
    "Dockerfile",
    "docs/kubernetes.md",
    "scripts/check-image",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_under(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found
}

/// Fails with all breaches at once and the rule that they break.
fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}

/// Flags and variables of each command, from the generated documentation.
struct Known {
    flags: BTreeMap<String, BTreeSet<String>>,
    variables: BTreeSet<String>,
}

impl Known {
    fn read() -> Self {
        let document = read("docs/configuration.md");
        let (mut flags, mut variables) = (BTreeMap::new(), BTreeSet::new());

        for section in document.split("\n## ").skip(1) {
            let title = section.lines().next().unwrap();
            let command = title
                .trim_matches('`')
                .split_whitespace()
                .nth(1)
                .unwrap_or(title)
                .trim_matches('`')
                .to_owned();
            let of_command: &mut BTreeSet<String> = flags.entry(command).or_default();
            for row in section.lines().filter(|line| line.starts_with("| `")) {
                for quoted in row.split('`').skip(1).step_by(2) {
                    if let Some(flag) = quoted
                        .strip_prefix("--")
                        .filter(|_| row.starts_with(&format!("| `{quoted}`")))
                    {
                        of_command.insert(flag.to_owned());
                    }
                    if quoted.starts_with("ROOKERY_") {
                        variables.insert(quoted.to_owned());
                    }
                }
            }
        }

        Self { flags, variables }
    }

    fn of(&self, command: &str) -> &BTreeSet<String> {
        let flags = self
            .flags
            .get(command)
            .unwrap_or_else(|| panic!("docs/configuration.md has no `rookery {command}`"));
        assert!(
            flags.len() > 10,
            "docs/configuration.md says little of `rookery {command}`: has its form changed?"
        );
        flags
    }
}

/// Names of flags in a text: `--` and letters.
fn flags_in(text: &str) -> BTreeSet<String> {
    let pieces = text.split("--").skip(1);
    let names = pieces.map(|piece| {
        piece
            .chars()
            .take_while(|&c| c.is_ascii_lowercase() || c == '-')
            .collect::<String>()
    });
    names
        .filter(|name| !name.is_empty())
        .map(|name| name.trim_end_matches('-').to_owned())
        .collect()
}

/// Names of variables in a text.
fn variables_in(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("ROOKERY_").map(|(at, _)| &text[at..]);
    let names = starts.map(|rest| {
        rest.chars()
            .take_while(|&c| c.is_ascii_uppercase() || c == '_')
            .collect::<String>()
    });
    names.filter(|name| name != "ROOKERY_").collect()
}

/// The part of the chart's commands that is defined as `rookery.NAME`.
fn definition(name: &str) -> String {
    let text = read(COMMANDS);
    let start = format!("{{{{- define \"rookery.{name}\" -}}}}");
    let (_, rest) = text
        .split_once(&start)
        .unwrap_or_else(|| panic!("{COMMANDS} does not define rookery.{name}"));
    rest.split("{{- define ").next().unwrap().to_owned()
}

/// Flags that the chart itself gives to a command.
fn given_by_chart(command: &str) -> BTreeSet<String> {
    let flags = flags_in(&(definition(&format!("{command}Args")) + &definition("sharedArgs")));
    assert!(
        flags.contains("operations-listen"),
        "no flags found in {COMMANDS}: has its form changed?"
    );
    flags
}

/// Flags that an operator may add to a command (`node.settings`, `router.settings`).
fn settings_of_schema(command: &str) -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(&read("helm/values.schema.json")).unwrap();
    let settings = &schema["properties"][command]["properties"]["settings"];
    assert_eq!(
        settings["additionalProperties"], false,
        "{command}.settings must be strict"
    );
    settings["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn every_flag_of_the_chart_is_one_that_the_program_knows() {
    let known = Known::read();
    for command in ["node", "router"] {
        let named: BTreeSet<_> = given_by_chart(command)
            .union(&settings_of_schema(command))
            .cloned()
            .collect();
        let unknown: Vec<_> = named
            .difference(known.of(command))
            .map(|flag| format!("--{flag}"))
            .collect();
        assert_none(&format!("`rookery {command}` does not know:"), &unknown);
    }
}

#[test]
fn every_flag_of_the_program_can_be_given_to_the_chart_in_one_way() {
    let known = Known::read();
    let left_out: BTreeSet<_> = NOT_IN_CHART
        .iter()
        .map(|(flag, _)| (*flag).to_owned())
        .collect();
    for command in ["node", "router"] {
        let (given, settings) = (given_by_chart(command), settings_of_schema(command));
        let ways: BTreeSet<_> = given.union(&settings).chain(&left_out).cloned().collect();
        let missing: Vec<_> = known
            .of(command)
            .difference(&ways)
            .map(|flag| format!("--{flag}"))
            .collect();
        let rule = format!(
            "add each to properties.{command}.settings of helm/values.schema.json (one line), or \
             to {COMMANDS} with a value of its own:"
        );
        assert_none(&rule, &missing);
        let twice: Vec<_> = given
            .intersection(&settings)
            .map(|flag| format!("--{flag}"))
            .collect();
        assert_none(
            &format!("both in {COMMANDS} and in {command}.settings:"),
            &twice,
        );
    }
}

#[test]
fn every_variable_that_chart_image_and_compose_name_is_one_that_the_program_knows() {
    let known = Known::read();
    let mut files: Vec<PathBuf> = files_under("helm");
    files.extend(NAMING.iter().map(|path| root().join(path)));

    let (mut unknown, mut seen) = (Vec::new(), BTreeSet::new());
    for file in files {
        for name in variables_in(&read(&file)) {
            if !known.variables.contains(&name) {
                unknown.push(format!(
                    "{}: {name}",
                    file.strip_prefix(root()).unwrap().display()
                ));
            }
            seen.insert(name);
        }
    }

    assert_none("no such variable in docs/configuration.md:", &unknown);

    for needed in [
        "ROOKERY_JWT_SECRET_FILE",
        "ROOKERY_CLUSTER_KEY_FILE",
        "ROOKERY_REDIS_FILE",
    ] {
        assert!(
            seen.contains(needed),
            "nothing names {needed}: has the form of the files changed?"
        );
    }
}

#[test]
fn every_flag_of_the_compose_file_is_one_that_its_command_knows() {
    let known = Known::read();
    let text = read("docker-compose.yml");
    let (mut command, mut unknown, mut seen) = (None, Vec::new(), 0);

    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        match line {
            "command:" => command = None,
            "- node" => command = Some("node"),
            "- router" => command = Some("router"),
            _ => {}
        }
        if let (Some(command), Some(flag)) = (command, line.strip_prefix("- --")) {
            let flag = flag.split('=').next().unwrap();
            seen += 1;
            if !known.of(command).contains(flag) {
                unknown.push(format!("{command}: --{flag}"));
            }
        }
    }

    assert_none("not known to the command:", &unknown);
    assert!(
        seen >= 5,
        "only {seen} flags found in docker-compose.yml: has its form changed?"
    );
}

#[test]
fn the_charts_redis_has_the_settings_that_the_tests_run_with() {
    assert_eq!(
        read("helm/files/redis.conf"),
        read("scripts/redis/single.conf"),
        "copy it: cp scripts/redis/single.conf helm/files/redis.conf"
    );
}

#[test]
fn chart_image_and_compose_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("helm/Chart.yaml", format!("appVersion: \"{version}\"")),
        ("docker-compose.yml", format!("image: rookery:{version}")),
        ("scripts/check-image", format!("IMAGE=rookery:{version}")),
    ] {
        assert!(read(file).contains(&line), "{file} has no line `{line}`");
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_and_all_members_of_the_workspace() {
    let (image, toolchain, manifest) = (
        read("Dockerfile"),
        read("rust-toolchain.toml"),
        read("Cargo.toml"),
    );
    let channel = toolchain
        .split("channel = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    assert!(
        image.contains(&format!("FROM rust:{channel}-")),
        "the Dockerfile is not built with Rust {channel}"
    );

    let members = manifest
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .unwrap();
    let ignored = read(".dockerignore");

    for member in members.split('"').skip(1).step_by(2) {
        assert!(
            image.contains(&format!("COPY {member}/Cargo.toml {member}/")),
            "the Dockerfile copies no {member}/Cargo.toml"
        );
        assert!(
            ignored.contains(&format!("!{member}/Cargo.toml")),
            ".dockerignore leaves out {member}/Cargo.toml"
        );
    }
}
