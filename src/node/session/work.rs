//! What the board wants asked of owners. `drive` does it and brings the answers.

use crate::ids::{ConversationName, Offset, Seq, SessionId, ShardId, UserId};

/// One question to the owner of a conversation.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Which conversation.
    pub(super) conversation: ConversationName,
    /// For whom.
    pub(super) user: UserId,
    /// Which life of that user's entry here asked; older answers are not his.
    pub(super) generation: u64,
    /// Which subscription of the conversation asked; a lost link starts another.
    pub(super) round: u32,
    /// Also the events after this.
    pub(super) after: Option<Seq>,
    /// At most so many.
    pub(super) limit: u32,
    /// Also whether a membership of the user ended after this.
    pub(super) since: Option<Seq>,
    /// What was known of the tail when it was asked.
    pub(super) floor: Option<Seq>,
    /// Seq of the user's membership known when it was asked: a refusal says nothing of a later one.
    pub(super) told: Seq,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// A user's index to be read.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Whose.
    pub(super) user: UserId,
    /// Which life of his entry.
    pub(super) generation: u64,
    /// Rows changed after this version.
    pub(super) after: Offset,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// Spans for one session, fetched in one go.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    /// For whom.
    pub(super) session: SessionId,
    /// Which shard is asked.
    pub(super) shard: ShardId,
    /// From where.
    pub(super) asks: Vec<Ask>,
    /// Fruitless attempts before this one.
    pub(super) attempt: u32,
}

/// What has to be asked of owners. The caller does it and brings the answers.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Subscriptions.
    pub(super) asks: Vec<Ask>,
    /// Spans.
    pub(super) fetches: Vec<Fetch>,
    /// Indexes.
    pub(super) loads: Vec<Load>,
    /// Interests that ended.
    pub(super) ended: Vec<(ConversationName, UserId)>,
    /// Index interests that ended.
    pub(super) ended_indexes: Vec<UserId>,
    /// Conversations in which nobody is any more.
    pub(super) forgotten: Vec<ConversationName>,
}
