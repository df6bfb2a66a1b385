//! The head of a conversation: the fold of the log up to the end of the batch being built. Every
//! command is decided against it and advances it at once, before the append answers, so that a
//! removal holds for the next request. Pure: time and randomness come in, events come out.

mod fold;

mod refusal;

mod deciding;

mod members;

mod closing;

mod creating;

mod recent;

mod view;

mod differing;

#[cfg(test)]
mod tests;

pub(in crate::shard) use creating::{decide_create, decide_create_again};
pub(in crate::shard) use fold::Head;
pub(in crate::shard) use members::Banned;
#[cfg(test)]
use recent::RECENT_MAX;
pub(in crate::shard) use refusal::{idempotency_conflict, not_participant};
