//! What was asked for, gathered from the command line, the environment and `.env`.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use crate::config::ask::AskSettings;
use crate::config::backup::{BackupSettings, RestoreSettings};
use crate::config::check::CheckSettings;
use crate::config::cluster::{NodeSettings, RouterSettings};
use crate::config::command_line::{Cli, Sub, with_environment, with_variables};
use crate::config::refusal::Refused;
use crate::config::secrets::{Environment, Secrets};
use crate::config::settings::{Settings, TokenSettings};

/// What was asked for, with all its settings.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Run the one-process cluster.
    Dev(Box<Settings>, Secrets),
    /// Run a node of a cluster.
    Node(Box<NodeSettings>, Secrets),
    /// Run a router of a cluster.
    Router(Box<RouterSettings>, Secrets),
    /// Ask a running cluster how it stands, or to change.
    Cluster(AskSettings, Secrets),
    /// Copy a running process or cluster, or look at a copy.
    Backup(Box<BackupSettings>, Secrets),
    /// Make the folder of a process of a copy.
    Restore(Box<RestoreSettings>),
    /// Compare what a running cluster keeps in several places.
    Check(CheckSettings, Secrets),
    /// Make a token.
    Token(TokenSettings, Secrets),
    /// Tell the client contract.
    Openapi,
}

impl Invocation {
    /// Gathers from the command line, the environment of the process and `.env` in the working
    /// folder.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn gather() -> Result<Self, Refused> {
        Self::from_parts(std::env::args_os(), &Environment::of_process()?)
    }

    /// Gathers from given parts.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn from_parts(
        args: impl IntoIterator<Item = OsString>,
        environment: &Environment,
    ) -> Result<Self, Refused> {
        let command = with_variables(Cli::command().args_override_self(true));
        let args = with_environment(args.into_iter().collect(), &command, environment);
        let matches = command.try_get_matches_from(args).map_err(Refused::Flags)?;
        let cli = Cli::from_arg_matches(&matches).map_err(Refused::Flags)?;
        let secrets = Secrets::gather(environment)?;

        match cli.subcommand {
            None => Ok(Self::Dev(Box::new(cli.settings), secrets)),
            Some(Sub::Dev(settings)) => Ok(Self::Dev(settings, secrets)),
            Some(Sub::Node(settings)) => Ok(Self::Node(settings, secrets)),
            Some(Sub::Router(settings)) => Ok(Self::Router(settings, secrets)),
            Some(Sub::Cluster(settings)) => Ok(Self::Cluster(settings, secrets)),
            Some(Sub::Backup(settings)) => Ok(Self::Backup(settings, secrets)),
            Some(Sub::Restore(settings)) => Ok(Self::Restore(settings)),
            Some(Sub::Check(settings)) => Ok(Self::Check(settings, secrets)),
            Some(Sub::Token(settings)) => Ok(Self::Token(settings, secrets)),
            Some(Sub::Openapi) => Ok(Self::Openapi),
        }
    }
}
