//! Changes of users' indexes, and how far a shard has delivered them.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Offset, Seq, UserId};
use crate::log::record::key::KeyUse;
use crate::log::record::view::IndexView;

/// A change of a user's index of conversations, in the stream of the *user's* shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexChange {
    /// Whose index.
    pub user: UserId,
    /// Which conversation.
    pub conversation: ConversationName,
    /// Seq of the `created`, `joined` or `left` that caused it; an older one never overwrites a
    /// newer one.
    pub seq: Seq,
    /// In or out.
    pub joined: bool,
    /// `created` of that event, unix milliseconds.
    pub at: u64,
    /// The key under which this user created the conversation, so that the key is taken for other
    /// names too.
    pub create_key: Option<KeyUse>,
    /// The user's own view changed, and not who takes part: `seq` is that of their join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<IndexView>,
}

/// Place of a row in a shard's outbox: offset of the record that caused it and its index among the
/// users named there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct OutboxPosition {
    /// Offset in the messages stream.
    pub offset: Offset,
    /// Index from 0 among the users of that record.
    pub index: u32,
}
