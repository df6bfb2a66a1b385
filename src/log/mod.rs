//! The log: per shard two streams of entries and one control record that fences them. [`ShardLog`]
//! is the contract, `conformance` the suite that every implementation of it passes; [`embedded`] is
//! the one for one process, [`redis`] the one for a cluster. A node brings its appends to it by its
//! [`lane`].

pub use batch::{AppendError, AppendOutcome, Batch};
pub use contract::{LogError, RawEntry, ShardLog};
pub use control::{Claim, ClaimOutcome, Control, Identity, Observed, Token};
pub use stream::{PerStream, Stream};

mod contract;

mod control;

mod stream;

mod batch;

pub(crate) mod record;

pub(crate) mod lane;

pub(crate) mod lease;

pub mod embedded;

pub mod redis;

#[cfg(test)]
pub(crate) mod conformance;

#[cfg(test)]
pub(crate) mod double;
