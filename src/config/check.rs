//! Settings of `rookery check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

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
    /// A folder of scripts/cluster instead: its nodes are asked.
    #[arg(long, value_name = "FOLDER")]
    pub cluster: Option<PathBuf>,
    /// Pause between two shards, each of whose files is read whole, so that others have the disk in
    /// between.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = values::duration)]
    pub pause: Duration,
}
