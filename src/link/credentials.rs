//! Who a process is, towards nodes.

use crate::ids::{ClusterId, NodeId};
use crate::link::proof::ClusterKey;
use crate::link::role::Role;

/// Who we are, towards nodes.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// This node, or this router: they share one space of names.
    pub id: NodeId,
    /// Which of both it is.
    pub role: Role,
    /// The id of this cluster.
    pub cluster: ClusterId,
    /// The secret of the cluster.
    pub key: ClusterKey,
}
