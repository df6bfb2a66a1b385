//! Nodes that run in one process: they ask each other without a socket between them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::NodeId;
use crate::node::link::Serve;
use crate::shard::write::subscriptions::SubscriberId;

/// What the nodes of one process serve, by their names. A node of a process of its own has nobody
/// beside it.
#[derive(Debug, Clone, Default)]
pub struct Beside(Arc<RwLock<HashMap<NodeId, Arc<dyn Serve>>>>);

impl Beside {
    /// From now on the others ask this node here.
    pub(super) fn enter(&self, node: &NodeId, service: &Arc<dyn Serve>) {
        let mut serving = self.0.write().unwrap_or_else(PoisonError::into_inner);
        serving.insert(node.clone(), Arc::clone(service));
    }

    /// From now on nobody does, and what this node subscribed to with the others is forgotten
    /// there, as when a link ends.
    pub(super) fn leave(&self, node: &NodeId, subscriber: SubscriberId) {
        let others: Vec<Arc<dyn Serve>> = {
            let mut serving = self.0.write().unwrap_or_else(PoisonError::into_inner);
            serving.remove(node);
            serving.values().cloned().collect()
        };
        others.iter().for_each(|other| other.forget(subscriber));
    }

    /// What that node serves, if it runs here.
    pub(super) fn of(&self, node: &NodeId) -> Option<Arc<dyn Serve>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node)
            .cloned()
    }
}
