//! How nodes are reached, as the table tells it.

use serde::{Deserialize, Serialize};

use crate::log::record::RECORDS_VERSION;

/// How a node is reached, where it stands, and what it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// Empty. Nodes of the version before had a port for routers, and read no table without it.
    #[serde(default)]
    pub http: String,
    /// `host:port` of its peer port, for the links of routers and of other nodes.
    pub peer: String,
    /// The zone that it stands in; empty where none was told. Nodes of the version before tell
    /// none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Version of the records that it reads; 0 of one that does not say, which reads the first.
    #[serde(default, skip_serializing_if = "is_untold")]
    pub records: u32,
}

impl NodeAddresses {
    /// Of a node of this version, by its peer port.
    #[must_use]
    pub fn of_peer(peer: String) -> Self {
        Self {
            http: String::new(),
            peer,
            zone: String::new(),
            records: RECORDS_VERSION,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
fn is_untold(records: &u32) -> bool {
    *records == 0
}
