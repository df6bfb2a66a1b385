//! The process as its operations port tells it.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::node::audit::{AuditOrder, AuditPage};
use crate::node::link::handing::BalancePlan;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::operations::change::Change;
use crate::operations::shard_digest::Digesting;
use crate::operations::told::Cluster;

/// What a process says that takes no part in a cluster of several.
pub(super) const NO_NODE: &str =
    "this process changes no cluster: ask the operations port of a node of a cluster";

/// What one says that has no node in it.
const HAS_NO_NODE: &str =
    "this process has no node: ask the operations port of a node, or of `rookery dev`";

/// An answer to a backup on its way, or one sentence why there is none.
pub(crate) type Backing = BoxFuture<'static, Result<(Identity, ReplicaAnswer), String>>;

/// A page of an audit on its way, or one sentence why there is none.
pub(crate) type Auditing = BoxFuture<'static, Result<AuditPage, String>>;

/// The process as its operations port tells it. Called on the thread of the port: must not wait.
pub(crate) trait Subject: fmt::Debug + Send + Sync + 'static {
    /// Ready for traffic, or one sentence why not.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), String>;

    /// One sentence for each shard that is refused here, though the process is ready.
    fn refused(&self) -> Vec<String> {
        Vec::new()
    }

    /// What `/cluster` shows.
    fn cluster(&self) -> Cluster;

    /// The whole cluster, as far as its nodes answer: each tells of what it owns. Else as
    /// [`Subject::cluster`].
    fn whole(&self) -> BoxFuture<'static, Cluster> {
        std::future::ready(self.cluster()).boxed()
    }

    /// Changes the cluster, and says in one sentence what is so now; else one sentence why not.
    fn change(&self, _change: Change) -> BoxFuture<'static, Result<String, String>> {
        std::future::ready(Err(NO_NODE.to_owned())).boxed()
    }

    /// What would be moved now; with a name, that one wants it looked at now. Else one sentence why
    /// it cannot be told.
    fn balance(&self, _by: Option<String>) -> BoxFuture<'static, Result<BalancePlan, String>> {
        std::future::ready(Err(NO_NODE.to_owned())).boxed()
    }

    /// What the owner of a shard answers to what a backup asks, and of which cluster it is; else
    /// one sentence why there is no answer.
    fn backup(&self, _shard: ShardId, _ask: ReplicaAsk) -> Backing {
        std::future::ready(Err(HAS_NO_NODE.to_owned())).boxed()
    }

    /// What a step of an audit of a shard finds, and mends if that is asked for; else one sentence
    /// why it cannot be told.
    fn audit(&self, _shard: ShardId, _order: AuditOrder) -> Auditing {
        std::future::ready(Err(HAS_NO_NODE.to_owned())).boxed()
    }

    /// What whoever changes something, or reads messages, has to prove; without one nobody may.
    fn key(&self) -> Option<ClusterKey> {
        None
    }

    /// Digest of the replica of a shard in this process, on the node of that name if one is given:
    /// `None` when there is none. The future reads the whole file, on threads of its own.
    fn digest(&self, _shard: ShardId, _node: Option<NodeId>) -> Digesting {
        std::future::ready(Ok(None)).boxed()
    }
}
