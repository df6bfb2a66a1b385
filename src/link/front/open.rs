//! A session is to begin: what a router says of it, and what a node allows it, or why there is
//! none.

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::link::front::attach::Attach;
use crate::link::front::numbers::SessionNumber;
use crate::problem::Problem;

/// A session is to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Open {
    /// Its number, chosen by the router.
    pub session: SessionNumber,
    /// What is left of the time for it, in milliseconds.
    pub deadline_ms: u64,
    /// Version of the table by which the router chose this node.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the router read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// Names the upgrade in logs and in a refusal.
    pub request_id: String,
    /// What stands after the question mark, as it was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// What the client sent in `Authorization`.
    #[serde(default)]
    pub authorization: Authorization,
    /// The subprotocols that the client offered, in their order.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Why the handshake is none, to be told after what the node refuses before that.
    #[serde(default)]
    pub handshake: Option<Problem>,
    /// The router keeps what another node would need to go on with the session.
    #[serde(default)]
    pub follows: bool,
    /// The session goes on here: its client has its `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
}

/// An `Authorization` header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authorization {
    /// There is none.
    #[default]
    None,
    /// A bearer token.
    Bearer(String),
    /// Anything else.
    Malformed,
}

/// What a node allows a session: its own settings, so that a router has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Bytes that may be on their way to the client and not taken.
    pub window: u32,
    /// A ping at least this often, in milliseconds.
    pub heartbeat_ms: u32,
    /// A ping for delivered marks at most this often, in milliseconds; they are told to the node as
    /// often.
    pub marks_ms: u32,
    /// A socket that takes nothing for so long is closed, in milliseconds.
    pub write_timeout_ms: u32,
    /// Frames of the client for each second, sustained.
    pub frames_per_second: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            window: 1 << 20,
            heartbeat_ms: 25_000,
            marks_ms: 250,
            write_timeout_ms: 10_000,
            frames_per_second: 100,
        }
    }
}

impl Terms {
    /// Bytes of the client's messages that may wait for the node, and of answers that may wait for
    /// the client.
    #[must_use]
    pub fn half(&self) -> usize {
        usize::try_from(self.window / 2)
            .unwrap_or(usize::MAX)
            .max(1)
    }
}

/// Why there is no session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Refusal {
    /// For the client, in the place of its upgrade.
    Problem(Problem),
    /// This node does not own the user's shard, and did nothing.
    Elsewhere {
        /// Who owns it by the table of `version`, if that is not this node.
        owner: Option<NodeId>,
        /// The version of the node's table.
        version: u64,
    },
}
