//! Proves, again and again, that this node still owns its shards: one renewal for all open shards
//! of a place of the log. A proof extends their leases; "not current" ends a shard, for it was
//! taken; no answer does nothing, and the leases run out by themselves.
//!
//! Over Redis this is done by a thread with a runtime and connections of its own, so that a busy
//! node does not lose its shards; but only while the node's own runtime gives its beat, and only
//! for shards that make progress: one that is wedged is to be taken over.
//!
//! A renewal is carried out whether or not its answer comes back, and then tells the standbys that
//! the owner lives. So after one without an answer the control record is read first, which tells
//! nobody anything (ADR 15).

pub(in crate::node) use pace::Renewals;
#[cfg(test)]
pub(in crate::node) use rounds::{Bench, Places, T};

mod pace;

mod rounds;
