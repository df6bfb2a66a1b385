//! What of a cluster is to become different while it runs, as far as it must outlive the processes
//! that work at it (ADR 20). A table of an older version says nothing of it, and a program of one
//! leaves it out when it writes the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, ShardId};

/// What is to become different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Nodes that give everything to others and get nothing, until somebody takes the mark away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draining: BTreeMap<NodeId, Drain>,
    /// Of rows with a further node: the one that it takes the place of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<ShardId, NodeId>,
}

/// That a node is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Milliseconds since 1970, by the clock of the node that wrote it. Nothing is decided by it.
    pub since_ms: u64,
    /// Who asked for it, as they call themselves.
    pub by: String,
}

impl Changes {
    /// Whether there is nothing to say: then nothing is written, as by an older version.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.draining.is_empty() && self.replaced.is_empty()
    }
}
