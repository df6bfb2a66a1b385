//! What a step of an audit is asked for, and what it tells.

use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuditPart {
    /// Counts with rows, heads with the file, the file with the log.
    Shard,
    /// Participants with the lists of these users.
    Members,
    /// Lists with the conversations that they name.
    Lists,
}

impl AuditPart {
    /// All of them, in the order in which a shard is looked at.
    pub(crate) const ALL: [Self; 3] = [Self::Shard, Self::Members, Self::Lists];

    /// The word for it in a query.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Members => "members",
            Self::Lists => "lists",
        }
    }
}

/// A step of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditOrder {
    /// What is compared.
    pub part: AuditPart,
    /// Where the page before ended, as it told.
    pub after: Option<String>,
    /// What can be derived again is mended.
    pub repair: bool,
}

/// What a step found. Body of `/shards/{shard}/audit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditPage {
    /// Conversations, or pairs of user and conversation, that were looked at.
    pub looked_at: u32,
    /// What differs.
    pub differing: Vec<AuditDifference>,
    /// What could not be compared, a sentence each.
    pub not_compared: Vec<String>,
    /// Where the next page begins; null behind the last one.
    pub next: Option<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditDifference {
    /// One sentence.
    pub what: String,
    /// It was asked to be mended, and is as it should be now.
    pub mended: bool,
}
