//! What the way to owners is made of.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::link::{Config, Credentials};
use crate::node::owners::beside::Beside;
use crate::shard::command::Push;

/// What [`Owners`](crate::node::owners::Owners) are made of.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Who we are.
    pub credentials: Credentials,
    /// The map of slots to shards.
    pub map: ShardMap,
    /// The table as this node follows it.
    pub table: watch::Receiver<Arc<Table>>,
    /// Takes the pushes of everything subscribed.
    pub pushes: mpsc::Sender<Push>,
    /// What is known of this node's way to the log, and of others'.
    pub reach: Arc<Reach>,
    /// Settings of links.
    pub link: Config,
    /// Folder of the snapshots that are given to other nodes; emptied.
    pub snapshots: PathBuf,
    /// The other nodes of this process.
    pub beside: Beside,
}
