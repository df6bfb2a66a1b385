//! What the parts of a node share: what it was started with, its settings, and what ends its parts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::cluster::claimed::Claimed;
use crate::cluster::table::TableStore;
use crate::ids::NodeId;
use crate::link::proof::ClusterKey;
use crate::log::{Identity, ShardLog};
use crate::node::owners::Beside;
use crate::node::{session, standby};
use crate::shard;
use crate::watchdog::Watchdog;

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Settings of its sessions.
    pub session: session::Config,
    /// Settings of its shards.
    pub shard: shard::Config,
    /// Requests per second of one user, sustained; more get 429.
    pub requests_per_second: u32,
    /// Requests that one user may send at once on top of that.
    pub request_burst: u32,
    /// Nodes that hold a shard, its owner among them: the coordinator sees to it. `None`: whoever
    /// starts the nodes looks after the table.
    pub replicas: Option<usize>,
    /// Whether the coordinator evens out shards among the nodes.
    pub balance: bool,
    /// Of standbys that need a file, and of the check of those that have one.
    pub seeding: standby::Config,
}

/// Makes a log that renewals alone use, on the runtime that it is called on.
pub type Renewing = Arc<dyn Fn() -> Arc<dyn ShardLog> + Send + Sync>;

/// What a node is started with, beside its [`Listeners`](crate::node::listeners::Listeners).
#[derive(Clone)]
pub struct Setup {
    /// Its name.
    pub id: NodeId,
    /// The cluster that it belongs to.
    pub identity: Identity,
    /// Its own folder: `shards/0012.sqlite` and the like. Made if absent; locked.
    pub folder: PathBuf,
    /// The log.
    pub log: Arc<dyn ShardLog>,
    /// Makes a log of its own for the thread that renews; without it renewals go over `log` and the
    /// node's own runtime.
    pub renewing: Option<Renewing>,
    /// The table.
    pub table: Arc<dyn TableStore>,
    /// Shards that were ever claimed, as far as this node remembers.
    pub claimed: Claimed,
    /// Verifies tokens of clients.
    pub verifier: Verifier,
    /// Proves nodes to each other.
    pub cluster_key: ClusterKey,
    /// The time of day.
    pub clock: Clock,
    /// Told of loops that end.
    pub watchdog: Watchdog,
    /// Attempts to open a shard before the start of this node fails, when what stands in the way
    /// may pass. `None`: it waits as long as it takes, and does not wait for shards that another
    /// node owns; with a limit those end the start at once, and so does what will not pass. What
    /// belongs to another cluster does either way.
    pub first_attempts_max: Option<u32>,
    /// The other nodes of this process, if there are any.
    pub beside: Beside,
    /// Settings.
    pub config: Config,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("id", &self.id)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// What ends the parts of a node, in the order in which they end.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    /// No shard is opened any more.
    pub(super) opening: CancellationToken,
    /// Everything else.
    pub(super) all: CancellationToken,
    /// All tasks.
    pub(super) tasks: TaskTracker,
}

impl Life {
    /// Runs a task until the node ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let all = self.all.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = all.cancelled() => {}
                () = task => {}
            }
        });
    }
}
