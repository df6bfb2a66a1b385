//! What is to become different in a cluster.

use crate::ids::{NodeId, ShardId};

/// Something that is to become different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A shard is handed over.
    Move {
        /// Which.
        shard: ShardId,
        /// To whom.
        to: NodeId,
    },
    /// A node gives everything to others, and gets nothing from now on.
    Drain {
        /// Which.
        node: NodeId,
        /// Who asked for it.
        by: String,
    },
    /// A node is draining no more.
    Undrain {
        /// Which.
        node: NodeId,
    },
}
