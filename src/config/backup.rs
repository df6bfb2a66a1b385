//! Settings of `rookery backup` and `rookery restore`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};

use crate::config::values;
use crate::ids::{ClusterId, NodeId};

/// Settings of `rookery backup`.
#[derive(Debug, Clone, Args)]
#[command(subcommand_negates_reqs = true)]
pub struct BackupSettings {
    /// Folder that gets the backup. One that has a backup of this cluster gets what has changed
    /// since.
    #[arg(long, value_name = "FOLDER", required = true)]
    pub to: Option<PathBuf>,
    /// Operations ports, separated by commas, of `rookery dev` or of any nodes of the cluster: the
    /// first that answers is asked.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://127.0.0.1:9082",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::operations)]
    pub operations: Vec<String>,
    /// A folder of scripts/cluster instead: its nodes are asked, with its cluster key.
    #[arg(long, value_name = "FOLDER")]
    pub cluster: Option<PathBuf>,
    /// The data folder of `dev`, whose cluster key is used unless `ROOKERY_CLUSTER_KEY` is set.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
    /// Most bytes a second that are copied, at least 64KiB; unset: as fast as it goes.
    #[arg(long, value_name = "SIZE", value_parser = values::copy_rate)]
    pub rate_limit: Option<NonZeroU32>,
    /// A shard of which nothing came for so long is missing; longer than a takeover lasts, when an
    /// owner dies meanwhile.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub give_up: Duration,
    /// Print a line of JSON for each shard, for programs.
    #[arg(long, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = ArgAction::Set)]
    pub json: bool,
    #[command(subcommand)]
    pub ask: Option<BackupAsk>,
}

/// What else is asked of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BackupAsk {
    /// Read all of a backup and tell what is not as it should be. Exit code 1 when something is
    /// not.
    Verify {
        /// The folder of the backup.
        folder: PathBuf,
    },
}

/// Settings of `rookery restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreSettings {
    /// Folder of the backup.
    #[arg(long, value_name = "FOLDER")]
    pub from: PathBuf,
    /// Data folder that is written: of `rookery dev` or, with --node-id, of that node. It must be
    /// empty.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
    /// Number of shards of what is restored, a power of two; unset: that of the backup. Its nodes
    /// are to be started with it.
    #[arg(long, value_name = "COUNT", value_parser = values::shards)]
    pub shards: Option<u32>,
    /// Restore this shard alone, by its number in what is restored; all others begin empty.
    #[arg(long, value_name = "NUMBER")]
    pub shard: Option<u16>,
    /// Write the folder of this node of a cluster; the same is to be done for each other node,
    /// wherever its folder is.
    #[arg(long, value_name = "NAME", value_parser = values::node_id)]
    pub node_id: Option<NodeId>,
    /// Names of all nodes, separated by commas, the same for each of them: these get the shards.
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "node-1,node-2,node-3",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::node_id)]
    pub node_ids: Vec<NodeId>,
    /// Nodes that hold each shard of a cluster: its owner, which gets the file, and standbys, which
    /// copy it from there.
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=7))]
    pub replicas: u8,
    /// Id of the cluster that is made, the same for all its nodes; unset: a new one, which is told
    /// for the others.
    #[arg(long, value_name = "ID", value_parser = values::cluster_id)]
    pub cluster_id: Option<ClusterId>,
}
