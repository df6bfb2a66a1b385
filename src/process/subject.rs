//! A node as its operations port tells it, and has it changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::cluster::table::NodeAddresses;
use crate::cluster::waiting::{Waiting, Watched};
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::node::Node;
use crate::node::audit::AuditOrder;
use crate::node::link::handing::BalancePlan;
use crate::node::link::replica::ReplicaAsk;
use crate::operations::change::Change;
use crate::operations::{self, Auditing, Backing, Cluster, ClusterNode, Digesting, Subject};

/// Each node tells how it stands within this time, or is not waited for.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait for what somebody asks to be changed, such as a shard that is to be moved.
const CHANGED_WITHIN: Duration = Duration::from_secs(15);

/// What a node says that cannot change anything yet.
const NOT_BEGUN: &str = "this node has not begun yet";

/// The node as its operations port tells it.
pub(super) struct NodeSubject {
    pub(super) id: NodeId,
    pub(super) addresses: NodeAddresses,
    pub(super) store: Arc<Watched>,
    pub(super) waiting: Waiting,
    pub(super) node: OnceLock<Arc<Node>>,
    pub(super) draining: AtomicBool,
    pub(super) key: ClusterKey,
}

impl fmt::Debug for NodeSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSubject")
            .field("id", &self.id)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Subject for NodeSubject {
    /// Once it is started it stays ready while Redis is gone: reads go on, and an outage must not
    /// take every node out. One that is cut off alone is not ready.
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        let node = self.node.get();
        if node.is_some_and(|node| node.ready()) {
            return Ok(());
        }
        if node.is_some_and(|node| node.cut_off()) {
            return Err(
                "cut off from Redis while others reach it; its sessions are sent away".to_owned(),
            );
        }

        if let Some(failure) = self.store.failure() {
            return Err(format!("Redis: {failure}"));
        }
        let Some(node) = node else {
            return Err(self.waiting.sentence());
        };

        let (open, given) = (
            node.statuses().len(),
            node.table().owned_by(&self.id).count(),
        );

        let (following, named) = (node.standbys(), node.table().stood_by_for(&self.id).count());
        Err(format!(
            "opening shards: {open} of {given} are open, {following} of {named} standbys follow"
        ))
    }

    fn refused(&self) -> Vec<String> {
        self.node
            .get()
            .map(|node| node.refused().into_values().collect())
            .unwrap_or_default()
    }

    fn cluster(&self) -> Cluster {
        let peer = self.addresses.peer.clone();
        let node = self.node.get();
        let (sessions, ready) = (node.map_or(0, |node| node.sessions()), self.ready().is_ok());
        let told = ClusterNode {
            sessions: Some(sessions),
            ready: Some(ready),
            cut_off: node.map(|node| node.cut_off()),
            ..ClusterNode::at(&peer)
        };

        let statuses = node.map(|node| node.statuses()).unwrap_or_default();
        let table = node.map(|node| node.table());
        let refused = node.map(|node| node.refused()).unwrap_or_default();
        Cluster::of(
            table.as_deref(),
            BTreeMap::from([(self.id.clone(), told)]),
            &statuses,
        )
        .with_refused(refused)
    }

    fn whole(&self) -> BoxFuture<'static, Cluster> {
        let (node, here) = (self.node.get().cloned(), self.cluster());
        let whole = async move {
            let Some(node) = node else { return here };
            Cluster::whole(
                &node.table(),
                node.standings(Instant::now() + ASKED_WITHIN).await,
            )
        };
        whole.boxed()
    }

    fn change(&self, change: Change) -> BoxFuture<'static, Result<String, String>> {
        let node = self.node.get().cloned();
        let changed = async move {
            let here = node.ok_or(NOT_BEGUN)?;
            let (steering, deadline) = (here.steering(), Instant::now() + CHANGED_WITHIN);
            match change {
                Change::Move { shard, to } => {
                    steering.move_shard(shard, &to, deadline).await?;
                    Ok(format!("{to} owns shard {shard}"))
                }
                Change::Drain { node: of, by } => steering.drain(&of, &by, deadline).await,
                Change::Undrain { node: of } => steering.undrain(&of, deadline).await,
            }
        };
        changed.boxed()
    }

    fn balance(&self, by: Option<String>) -> BoxFuture<'static, Result<BalancePlan, String>> {
        let node = self.node.get().cloned();
        let told = async move {
            let node = node.ok_or(NOT_BEGUN)?;
            node.steering()
                .balance(by.as_deref(), Instant::now() + CHANGED_WITHIN)
                .await
        };
        told.boxed()
    }

    fn backup(&self, shard: ShardId, ask: ReplicaAsk) -> Backing {
        operations::backup::ask_of(self.node.get().cloned(), shard, ask)
    }

    fn audit(&self, shard: ShardId, order: AuditOrder) -> Auditing {
        operations::audit::ask_of(self.node.get().cloned(), shard, order)
    }

    fn key(&self) -> Option<ClusterKey> {
        Some(self.key.clone())
    }

    fn digest(&self, shard: ShardId, of: Option<NodeId>) -> Digesting {
        let node = self.node.get().cloned();
        match of {
            Some(of) => operations::digest_at(node, shard, of),
            None => operations::digest_of(node, shard),
        }
    }
}
