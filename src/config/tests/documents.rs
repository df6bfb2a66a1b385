//! What is told of each setting: its help, and the page of all of them.

use clap::CommandFactory;

use super::*;
use crate::config::command_line::{Cli, variable, with_variables};

#[test]
fn help_explains_every_flag_with_its_default_and_its_variable() {
    let command = with_variables(Cli::command());
    let subs = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help");
    for arg in std::iter::once(&command)
        .chain(subs)
        .flat_map(clap::Command::get_arguments)
    {
        let Some(flag) = arg.get_long() else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.len() > 50 && help.contains("[default: "),
            "--{flag}: {help}"
        );
        assert!(
            help.contains(&format!("[env: {}]", variable(flag))),
            "--{flag}: {help}"
        );
    }
}

fn document() -> String {
    let mut text = String::from(
        "# Configuration\n\nGenerated from `src/config`: `UPDATE_DOCS=1 cargo test --lib config`.\n\n\
         Every flag is also a variable of the environment, and may stand in a file `.env` in the working\n\
         folder. A flag wins over the environment, which wins over `.env`, which wins over the default. An\n\
         empty variable counts as unset. Durations are whole numbers with `ms`, `s`, `m`, `h` or `d`; sizes\n\
         with `KiB`, `MiB`, `GiB` or nothing for bytes.\n\n\
         ## Secrets\n\nSecrets have no flag, so that no list of processes shows them, and are in no log.\n\n\
         | variable | what it is |\n|---|---|\n\
         | `ROOKERY_JWT_SECRET` | shared secret of HS256 tokens, at least 32 bytes |\n\
         | `ROOKERY_JWT_SECRET_FILE` | a file with that secret |\n\
         | `ROOKERY_CLUSTER_KEY` | key by which nodes and routers trust each other's links, at least 32 bytes |\n\
         | `ROOKERY_CLUSTER_KEY_FILE` | a file with that key |\n\
         | `ROOKERY_REDIS_FILE` | a file with the URLs of Redis, which may hold a password; instead of `--redis` |\n\n\
         Without them `rookery dev` makes random ones at its first start: `jwt-secret` and `cluster-key` in\n\
         the data folder, readable by their owner only. All nodes and routers of a cluster must be given the\n\
         same secret (or `--jwks`) and the same cluster key.\n",
    );

    let subs = [
        ("dev", "`rookery` or `rookery dev`"),
        ("node", "`rookery node`"),
        ("router", "`rookery router`"),
        ("backup", "`rookery backup`"),
        ("restore", "`rookery restore`"),
        ("check", "`rookery check`"),
        ("token", "`rookery token <user>`"),
    ];

    for (sub, title) in subs {
        write!(text, "\n## {title}\n").expect("to a string");
        let command = Cli::command();
        let command = command.find_subcommand(sub).expect("a subcommand");
        let mut current = None;
        for arg in command
            .get_arguments()
            .filter(|arg| arg.get_long().is_some())
        {
            let flag = arg.get_long().expect("filtered");
            let heading = arg.get_help_heading();
            if current != Some(heading) {
                current = Some(heading);
                if let Some(name) = heading {
                    write!(text, "\n### {name}\n").expect("to a string");
                }
                text.push_str(
                    "\n| flag | variable | default | what it does |\n|---|---|---|---|\n",
                );
            }
            let default = arg
                .get_default_values()
                .first()
                .map_or_else(|| "–".to_owned(), |of| format!("`{}`", of.display()));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(
                text,
                "| `--{flag}` | `{}` | {default} | {help} |",
                variable(flag)
            )
            .expect("to a string");
        }
    }

    text
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only this test: whether to rewrite the document"
)]
fn the_document_of_settings_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&path, document()).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        document(),
        "docs/configuration.md is stale: run UPDATE_DOCS=1 cargo test --lib config"
    );
}
