//! Presence: whether users are there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::protocol::limits::CLOSE_PARTICIPANTS_MAX;

/// Whether a user is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Presence {
    /// The user.
    pub user: UserId,
    /// A session of theirs lives, or did in the last 30 s.
    pub online: bool,
    /// When their last session ended, in unix milliseconds, to the minute; null while they are
    /// online, and for one who was never seen.
    pub last_seen: Option<u64>,
}

/// The presence of the participants of a conversation, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PresencePage {
    /// Participants who have sent, read or reacted since they joined.
    #[schemars(length(max = CLOSE_PARTICIPANTS_MAX))]
    pub items: Vec<Presence>,
}
