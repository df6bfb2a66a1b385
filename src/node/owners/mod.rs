//! The way from this node to the owner of any shard: the local shard if it is ours, else a link to
//! the node that the table names, with hints followed and one budget for all attempts.
//!
//! **Invariants.** A request that may have been served is repeated only when that does no harm;
//! else, and when the budget ends in doubt, the answer is `outcome_unknown`, never `unavailable`.
//! Whoever subscribed is told when what they subscribed to may have been missed.

pub use beside::Beside;
pub(crate) use handle::Owners;
pub(crate) use requests::Summaries;
pub(crate) use setup::Setup;

mod setup;

mod handle;

mod start;

mod requests;

mod subscribing;

mod presence;

mod outboxes;

mod rounds;

mod in_line;

mod line;

mod attempt;

mod route;

mod hints;

mod beside;

mod places;

mod following;

mod local;

mod summaries;

mod own_replicas;

mod replicas;

pub(in crate::node) mod offers;

mod offer;

mod backups;

pub(in crate::node) mod custody;

mod custodians;

#[cfg(test)]
mod line_tests;

#[cfg(test)]
mod replica_tests;

#[cfg(test)]
pub(in crate::node) mod testing;

#[cfg(test)]
mod tests;
