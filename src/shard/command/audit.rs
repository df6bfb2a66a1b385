//! What an audit asks of the owner of a shard, and what it is told (ADR 25).

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::Tail;

/// A question of an audit. Since version 9 of the peer contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuditAsk {
    /// A page of conversations by name: their counts against their rows, and heads in memory
    /// against the file. Answer: [`AuditTold::Conversations`].
    Conversations {
        after: Option<ConversationName>,
        limit: u32,
        /// Heads that differ are dropped, to be filled again.
        refill: bool,
    },
    /// Where the file stands, and what was put aside. Answer: [`AuditTold::Ends`].
    Ends,
    /// A page of current participants, by conversation and name. Answer: [`AuditTold::Members`].
    Members { after: Option<Pair>, limit: u32 },
    /// A page of rows of users' indexes that say *in*, by user and conversation. Answer:
    /// [`AuditTold::Listed`].
    Listed { after: Option<Pair>, limit: u32 },
    /// How users stand in conversations of the shard. Answer: [`AuditTold::Stands`].
    Stands(Vec<Pair>),
    /// What the indexes of users of the shard say. Answer: [`AuditTold::Rows`].
    Rows(Vec<Pair>),
}

/// Answer to an [`AuditAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuditTold {
    /// What differs, and after which conversation the next page begins.
    Conversations {
        looked_at: u32,
        differing: Vec<Differing>,
        next: Option<ConversationName>,
    },
    /// Where the file stands.
    Ends {
        applied: PerStream<Tail>,
        /// Records that could not be applied.
        quarantined: u64,
    },
    /// Participants, and after which the next page begins.
    Members {
        members: Vec<(Pair, Stand)>,
        next: Option<Pair>,
    },
    /// Rows, and after which the next page begins.
    Listed {
        rows: Vec<(Pair, Row)>,
        next: Option<Pair>,
    },
    /// One for each pair, in their order.
    Stands(Vec<Stand>),
    /// One for each pair, in their order; `None` where there is no row.
    Rows(Vec<Option<Row>>),
}

/// A user and a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub user: UserId,
    pub conversation: ConversationName,
}

/// An event of a conversation, by its seq, and its time in unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub seq: Seq,
    pub at: u64,
}

/// How a user stands in a conversation, as the conversation's shard knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stand {
    /// When they joined, if they take part.
    pub joined: Option<Moment>,
    /// The conversation's last event; `None` when there is no such conversation.
    pub last: Option<Moment>,
}

/// What a row of a user's index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// As of which event.
    pub seq: Seq,
    /// Whether the user is in.
    pub joined: bool,
}

/// What is not as it should be with a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Differing {
    /// Which.
    pub conversation: ConversationName,
    /// One clause: a count and its rows, or the head and the file.
    pub what: String,
    /// It was the head, and that was dropped.
    pub mended: bool,
}
