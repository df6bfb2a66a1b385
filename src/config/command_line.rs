//! The command line: its subcommands with their help, and how the environment stands in for flags.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::config::ask::AskSettings;
use crate::config::backup::{BackupSettings, RestoreSettings};
use crate::config::check::CheckSettings;
use crate::config::cluster::{NodeSettings, RouterSettings};
use crate::config::secrets::{Environment, PREFIX, REDIS};
use crate::config::settings::{Settings, TokenSettings};

const SECRETS_HELP: &str = "\
Secrets have no flag. They come from the environment or from a file:
  ROOKERY_JWT_SECRET        shared secret of HS256 tokens, at least 32 bytes
  ROOKERY_JWT_SECRET_FILE   a file with that secret
  ROOKERY_CLUSTER_KEY       key by which nodes trust each other's links, at least 32 bytes
  ROOKERY_CLUSTER_KEY_FILE  a file with that key
`rookery dev` makes random ones in its data folder at the first start; nodes and routers
must be given the same. Likewise for the URLs of Redis, which may hold a password:
  ROOKERY_REDIS_FILE        a file with what --redis or ROOKERY_REDIS would say

Every flag can also be given as ROOKERY_<FLAG> in the environment or in a file .env in the
working folder. A flag wins over the environment, which wins over .env.";

/// Self-hosted real-time messaging backend. Without a subcommand: `dev`.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, args_conflicts_with_subcommands = true, after_help = SECRETS_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) subcommand: Option<Sub>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(super) enum Sub {
    /// Run router and nodes in one process, with nothing beside it.
    #[command(after_help = SECRETS_HELP)]
    Dev(Box<Settings>),
    /// Run a node of a cluster over Redis: it owns shards, keeps their files, and holds sessions.
    #[command(after_help = SECRETS_HELP)]
    Node(Box<NodeSettings>),
    /// Run a router of a cluster over Redis: it takes the connections of clients and forwards them
    /// to nodes.
    #[command(after_help = SECRETS_HELP)]
    Router(Box<RouterSettings>),
    /// Ask a running cluster how it stands; move a shard, take a node away, even out.
    #[command(after_help = SECRETS_HELP)]
    Cluster(AskSettings),
    /// Copy all shards of a running process or cluster into a folder; those that have not changed
    /// since are not copied again.
    #[command(after_help = SECRETS_HELP)]
    Backup(Box<BackupSettings>),
    /// Make an empty data folder of a backup, for `rookery dev` or for a node, with the same number
    /// of shards or another.
    Restore(Box<RestoreSettings>),
    /// Compare the replicas of each shard of a running cluster, memberships with lists, heads with
    /// files, counts with rows; mend what can be derived again. Exit code 1 when something differs
    /// or cannot be compared.
    #[command(after_help = SECRETS_HELP)]
    Check(CheckSettings),
    /// Print a token for a user, signed with the shared secret.
    #[command(after_help = SECRETS_HELP)]
    Token(TokenSettings),
    /// Print the client contract as an OpenAPI 3.1 document in JSON.
    Openapi,
}

/// The variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// Puts the variables' names and the defaults into the help. What a subcommand of a subcommand is
/// asked for has none: it stands on the command line alone.
pub(super) fn with_variables(command: clap::Command) -> clap::Command {
    flags_with_variables(command)
        .mut_subcommands(|sub| flags_with_variables(sub.args_override_self(true)))
}

fn flags_with_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let Some(flag) = arg
            .get_long()
            .filter(|flag| !matches!(*flag, "help" | "version"))
        else {
            return arg;
        };
        let name = variable(flag);
        let default = match arg.get_default_values() {
            [] => "none".into(),
            [first, ..] => first.to_string_lossy(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{help} [default: {default}] [env: {name}]");
        arg.help(help).hide_default_value(true)
    })
}

/// Puts what the environment says before the flags of the command line, which override it.
pub(super) fn with_environment(
    args: Vec<OsString>,
    command: &clap::Command,
    environment: &Environment,
) -> Vec<OsString> {
    let asks_only = |arg: &OsString| {
        ["--help", "-h", "--version", "-V", "help"]
            .iter()
            .any(|word| arg == word)
    };
    if args.iter().any(asks_only) {
        return args;
    }

    let sub = args.get(1).and_then(|word| command.find_subcommand(word));
    let place = if sub.is_some() { 2 } else { 1 }.min(args.len());
    let flags = sub
        .unwrap_or(command)
        .get_arguments()
        .filter_map(clap::Arg::get_long);
    // The URLs of Redis are taken with the secrets: what is on this line may be shown in an error.
    let given = flags
        .filter(|flag| variable(flag) != REDIS)
        .filter_map(|flag| {
            let mut arg = OsString::from(format!("--{flag}="));
            arg.push(environment.get(&variable(flag))?);
            Some(arg)
        });
    let given: Vec<_> = given.collect();

    let mut args = args;
    args.splice(place..place, given);
    args
}
