//! REST requests and their answers, as they go over a link. Fields and variants are only ever
//! added.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::link::ROUTERS_SINCE;
use crate::link::codec::raw;
use crate::link::front::CallNumber;
use crate::protocol::routes::Operation;

/// A REST request, taken apart as far as it can be without knowing what it means.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Names it on this connection.
    pub id: CallNumber,
    /// What is left of its budget, in milliseconds.
    pub deadline_ms: u64,
    /// Version of the table by which the router chose this node.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the router read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// Names it in logs and in the answer.
    pub request_id: String,
    /// What is asked for.
    pub operation: Operation,
    /// `{name}` or `{id}`, percent-encoded as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// `{user}`, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// What stands after the question mark, as it was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// The client wants no body.
    #[serde(default)]
    pub head: bool,
    /// The bearer token of the one `Authorization` header, if there is one and it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The key under which it may be repeated.
    #[serde(default)]
    pub key: Key,
    /// The body is said to be JSON.
    #[serde(default)]
    pub json: bool,
    /// The body is compressed or otherwise not as it is.
    #[serde(default)]
    pub encoded: bool,
    /// No stale answer is wanted.
    #[serde(default)]
    pub strict: bool,
    /// The body; empty when it was too large.
    #[serde(default, skip_serializing_if = "Bytes::is_empty", with = "raw")]
    pub body: Bytes,
    /// The body was over the limit, and the router threw it away.
    #[serde(default)]
    pub too_large: bool,
}

impl Call {
    /// The lowest version of the contract that knows what it asks for.
    #[must_use]
    pub fn since(&self) -> u16 {
        match self.operation {
            Operation::SetOwnView => 11,
            Operation::DeleteConversation => 10,
            Operation::ListReactions => 9,
            Operation::ShowPresence => 7,
            _ => ROUTERS_SINCE,
        }
    }
}

/// The idempotency key of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// None, and none was stamped.
    #[default]
    None,
    /// The client's, unchecked.
    Client(String),
    /// The router's own, of a POST without one.
    Stamped(String),
    /// Two headers, or one that is no text.
    Malformed,
}

/// The answer to a [`Call`], or a part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The request that it answers.
    pub id: CallNumber,
    /// Version of the table that the node follows.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the node read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// What is told.
    pub part: Part,
}

/// What a [`Reply`] tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Part {
    /// The head, and the first bytes of the body.
    Head {
        /// HTTP status.
        status: u16,
        /// The headers that mean something, by their names in lower case.
        headers: Vec<(String, String)>,
        /// Bytes of the body.
        #[serde(with = "raw")]
        body: Bytes,
        /// A [`Part::Body`] follows.
        #[serde(default)]
        more: bool,
    },
    /// Further bytes of the body.
    Body {
        /// The bytes.
        #[serde(with = "raw")]
        body: Bytes,
        /// Another one follows.
        #[serde(default)]
        more: bool,
    },
    /// This node does not own the shard, and did nothing.
    Elsewhere {
        /// Who owns it by the table of [`Reply::table_version`], if that is not this node.
        owner: Option<NodeId>,
    },
}
