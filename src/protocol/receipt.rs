//! Receipts: what became of a message at each participant, how they reacted to it, and how far each
//! one got.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{MessageId, Seq, UserId};

/// What became of a message at one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    /// The message.
    pub message_id: MessageId,
    /// The participant.
    pub user_id: UserId,
    /// A device of theirs has been given this or a later message.
    pub delivered: bool,
    /// They have read up to this message.
    pub read: bool,
    /// Their reaction.
    pub reaction: Option<u32>,
    /// Since when delivered, in unix milliseconds.
    pub delivered_at: Option<u64>,
    /// Since when read, in unix milliseconds.
    pub read_at: Option<u64>,
    /// The newest of these changes, in unix milliseconds.
    pub ts: Option<u64>,
}

/// The reaction of one user to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reaction {
    /// Whose it is; they may have left.
    pub user: UserId,
    /// By convention a Unicode code point.
    pub reaction: u32,
    /// When it was set, in unix milliseconds.
    pub ts: u64,
}

/// One participant's watermarks in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Watermark {
    /// The participant.
    pub user: UserId,
    /// What was delivered to them.
    pub delivered_up_to: Seq,
    /// What they have read.
    pub read_up_to: Seq,
}
