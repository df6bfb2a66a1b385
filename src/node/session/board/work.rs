//! What the board wants asked of owners. `drive` does it and brings the answers.

use crate::ids::{ConversationName, Offset, Seq, SessionId, ShardId, UserId};

/// One question to the owner of a conversation.
#[derive(Debug, Clone)]
pub(in crate::node::session) struct Ask {
    /// Which conversation.
    pub(in crate::node::session) conversation: ConversationName,
    /// For whom.
    pub(in crate::node::session) user: UserId,
    /// Which life of that user's entry here asked; older answers are not theirs.
    pub(in crate::node::session) generation: u64,
    /// Which subscription of the conversation asked; a lost link starts another.
    pub(in crate::node::session) round: u32,
    /// Also the events after this.
    pub(in crate::node::session) after: Option<Seq>,
    /// At most so many.
    pub(in crate::node::session) limit: u32,
    /// Also whether a membership of the user ended after this.
    pub(in crate::node::session) since: Option<Seq>,
    /// What was known of the tail when it was asked.
    pub(in crate::node::session) floor: Option<Seq>,
    /// Seq of the user's membership known when it was asked: a refusal says nothing of a later one.
    pub(in crate::node::session) told: Seq,
    /// Fruitless attempts before this one.
    pub(in crate::node::session) attempt: u32,
}

/// A user's index to be read.
#[derive(Debug, Clone)]
pub(in crate::node::session) struct Load {
    /// Whose index is read.
    pub(in crate::node::session) user: UserId,
    /// Which life of their entry.
    pub(in crate::node::session) generation: u64,
    /// Rows changed after this version.
    pub(in crate::node::session) after: Offset,
    /// Fruitless attempts before this one.
    pub(in crate::node::session) attempt: u32,
}

/// Spans for one session, fetched in one go.
#[derive(Debug, Clone)]
pub(in crate::node::session) struct Fetch {
    /// For whom.
    pub(in crate::node::session) session: SessionId,
    /// Which shard is asked.
    pub(in crate::node::session) shard: ShardId,
    /// From where.
    pub(in crate::node::session) asks: Vec<Ask>,
    /// Fruitless attempts before this one.
    pub(in crate::node::session) attempt: u32,
}

/// What has to be asked of owners. The caller does it and brings the answers.
#[derive(Debug, Default)]
pub(in crate::node::session) struct Work {
    /// The subscriptions to ask for.
    pub(in crate::node::session) asks: Vec<Ask>,
    /// The spans to fetch.
    pub(in crate::node::session) fetches: Vec<Fetch>,
    /// The indexes to read.
    pub(in crate::node::session) loads: Vec<Load>,
    /// Interests that ended.
    pub(in crate::node::session) ended: Vec<(ConversationName, UserId)>,
    /// Index interests that ended.
    pub(in crate::node::session) ended_indexes: Vec<UserId>,
    /// Conversations in which nobody is any more.
    pub(in crate::node::session) forgotten: Vec<ConversationName>,
}
