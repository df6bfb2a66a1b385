//! Settings of `rookery cluster`: whom to ask, and what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::values;
use crate::ids::NodeId;

#[derive(Debug, Clone, Args)]
pub struct AskSettings {
    /// Operations port of a node of the cluster, whichever.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7082")]
    #[arg(global = true, value_parser = values::operations)]
    pub operations: String,
    /// A folder of scripts/cluster instead: its first node that answers is asked, with its cluster
    /// key.
    #[arg(long, value_name = "FOLDER", global = true)]
    pub cluster: Option<PathBuf>,
    /// Who asks, for the log of the cluster, where something is changed; unset: the user and the
    /// host.
    #[arg(long, value_name = "NAME", global = true)]
    pub by: Option<String>,
    /// Print JSON, for programs.
    #[arg(long, global = true, value_name = "YES", default_value = "false", default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    pub json: bool,
    #[command(subcommand)]
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Ask {
    /// Tell on one screen whether all is well, and what is not. Exit code 1 when something is not.
    Status,
    /// List the nodes: ready, shards owned and stood by for, sessions, version.
    Nodes,
    /// List the shards: owner, standbys and whether they are in sync, records not applied yet.
    Shards {
        /// Only those of this node, owned or stood by for.
        #[arg(long, value_name = "NAME", value_parser = values::node_id)]
        node: Option<NodeId>,
        /// Only those that are served by nobody, or have a standby that is not in sync.
        #[arg(long)]
        not_in_sync: bool,
    },
    /// Have a shard handed over to one of its standbys, while everybody works. Needs the cluster
    /// key.
    Move {
        /// Number of the shard.
        shard: u16,
        /// Who is to own it.
        #[arg(value_parser = values::node_id)]
        node: NodeId,
    },
    /// Take a node away for good: what it owns and has copies of goes to others, while everybody
    /// works. Tells what is left until nothing is; then the node may be stopped, and its folder
    /// deleted. Needs the cluster key.
    Drain {
        /// Which.
        #[arg(value_parser = values::node_id)]
        node: NodeId,
        /// Do not wait until nothing is left. It goes on without this command, as it does when that
        /// is ended.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a node that is drained, or being drained, get shards again. Needs the cluster key.
    Undrain {
        /// Which.
        #[arg(value_parser = values::node_id)]
        node: NodeId,
    },
    /// Have it looked at now who owns too much and who too little; shards that rest are moved too.
    /// Needs the cluster key.
    Rebalance {
        /// Only tell what would be moved now, and why. Needs no key.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the status again and again, until ctrl-C.
    Watch,
}
