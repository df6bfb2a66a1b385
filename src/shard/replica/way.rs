//! How a standby comes to own a shard: its owner is silent, or gave it.

use crate::ids::NodeId;
use crate::log::record::Tail;
use crate::log::{PerStream, Token};

/// What a takeover goes by.
#[derive(Debug, Clone)]
pub(crate) struct Taking {
    /// Token and beat that were watched; the claim is refused when they moved.
    pub expected: (Token, u64),
}

/// What the owner of a shard gave to this node (ADR 19).
#[derive(Debug, Clone)]
pub(crate) struct Gift {
    /// Who gave it.
    pub from: NodeId,
    /// The token under which it is to be owned.
    pub token: Token,
    /// Where its streams ended, which nobody could change since.
    pub tails: PerStream<Tail>,
}

/// How a standby comes to own the shard.
pub(in crate::shard) enum Way {
    /// Its owner is silent.
    Silence(Taking),
    /// Its owner gave it.
    Gift(Gift),
}
