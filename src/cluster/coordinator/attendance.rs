//! Pure: which nodes have been there, and which have been missing, for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::NodeId;

/// A node loses its places only when it has been seen missing for so long: a Redis that lost the
/// registrations, or has just failed over, gets them back within seconds.
pub(super) const MISSED: Duration = Duration::from_secs(10);

/// A node is given shards and places only when it has been registered for so long: one that comes
/// and goes gets none.
pub(super) const STEADY: Duration = Duration::from_secs(10);

/// What was seen of nodes.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Nodes that the table names and that are not registered, since when.
    missing: BTreeMap<NodeId, Instant>,
    /// Nodes that are registered, since when that was seen here without a break.
    pub(super) there: BTreeMap<NodeId, Instant>,
}

impl Attendance {
    /// What was seen is known no more.
    pub(super) fn forget(&mut self) {
        self.missing.clear();
        self.there.clear();
    }

    /// The nodes that have been registered for a while.
    pub(super) fn steady(
        &mut self,
        registered: &BTreeMap<NodeId, NodeAddresses>,
        now: Instant,
    ) -> BTreeSet<NodeId> {
        self.there.retain(|node, _| registered.contains_key(node));
        for node in registered.keys() {
            self.there.entry(node.clone()).or_insert(now);
        }
        let steady = self
            .there
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= STEADY);
        steady.map(|(node, _)| node.clone()).collect()
    }

    /// The nodes that keep their places: those registered, and those that were until a moment ago.
    pub(super) fn counted(
        &mut self,
        table: &Table,
        registered: BTreeMap<NodeId, NodeAddresses>,
        now: Instant,
    ) -> BTreeMap<NodeId, NodeAddresses> {
        self.missing
            .retain(|node, _| !registered.contains_key(node) && table.nodes.contains_key(node));
        let mut counted = registered;
        for (node, addresses) in &table.nodes {
            if counted.contains_key(node) {
                continue;
            }
            let since = *self.missing.entry(node.clone()).or_insert(now);
            if now.duration_since(since) < MISSED {
                counted.insert(node.clone(), addresses.clone());
            }
        }
        counted
    }
}
