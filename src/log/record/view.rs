//! A participant's own view of a conversation (ADR 28): what they set of it, and how far they count
//! it as read.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Seq, UserId};

/// A participant's own view is this from now on. All of it, so that the last one says everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewChange {
    /// Of which conversation.
    pub conversation: ConversationName,
    /// Whose.
    pub user: UserId,
    /// Seq of the `created` or `joined` that let them in: with that membership the view ends.
    pub joined: Seq,
    /// Number of the change within the membership: 1, 2, 3 …
    pub revision: u64,
    /// Until when they want no notifications, unix milliseconds.
    pub notify_after: Option<u64>,
    /// Their place among those that they pinned.
    pub pinned: Option<u32>,
    /// Put away.
    pub archived: bool,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
}

/// A participant counts a conversation as read up to here, whatever others are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnMark {
    /// Of which conversation.
    pub conversation: ConversationName,
    /// Whose.
    pub user: UserId,
    /// Everything up to here; it may be less than before.
    pub read_up_to: Seq,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
}

/// What a user's index keeps of a view: what lists are sorted and chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexView {
    /// As in [`ViewChange`]; an older one never overwrites a newer one.
    pub revision: u64,
    /// Their place among those that they pinned.
    pub pinned: Option<u32>,
    /// Put away.
    pub archived: bool,
}
