//! Settings of `rookery check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::config::values;

/// Settings of `rookery check`.
#[derive(Debug, Clone, Args)]
pub struct CheckSettings {
    /// Operations ports of nodes of the cluster, separated by commas: the first that answers is
    /// asked.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://127.0.0.1:7082",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::operations)]
    pub operations: Vec<String>,
    /// A folder of scripts/cluster instead: its nodes are asked, for a repair with its cluster key.
    #[arg(long, value_name = "FOLDER")]
    pub cluster: Option<PathBuf>,
    /// Pause between two shards, each of whose files is read whole, and between two pages of the
    /// audit, so that others have the disk in between.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = values::duration)]
    pub pause: Duration,
    /// Compare replicas only, and not memberships with lists, heads with files, counts with rows.
    #[arg(long, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = ArgAction::Set)]
    pub replicas_only: bool,
    /// Mend what can be derived again: rows of lists are sent again by the log, heads that differ
    /// are filled again. Needs the cluster key.
    #[arg(long, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = ArgAction::Set)]
    pub repair: bool,
    /// Who asks for a repair, for the log of the cluster; unset: the user and the host.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// The data folder of `dev`, whose cluster key is used for a repair unless
    /// `ROOKERY_CLUSTER_KEY` is set.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}
