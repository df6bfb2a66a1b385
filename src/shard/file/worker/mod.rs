//! The workers of a shard: one per stream, from the log to the shard's file, a few milliseconds
//! behind on purpose; beside them the trim of the log.
//!
//! A worker never reads past the committed tail, never skips an entry, and never gives up on one:
//! what the file or the log refuses is tried again until it works. What cannot mend itself (a log
//! that does not link to the file, or was trimmed beyond it; a damaged file) is told by
//! [`Workers::following`]. A log that does not link stops the worker; where no other replica can
//! take over, the shard's reads then answer `lagging`.
//!
//! The same workers keep a standby's file up to date; there nothing is trimmed, and the tails come
//! from the log.

pub(crate) use feed::catch_up;
pub(crate) use setup::{Config, Setup};
pub(crate) use workers::Workers;

pub(in crate::shard) use ends::{PERSISTS, tell};
pub(in crate::shard) use feed::unlinked;
pub(in crate::shard) use kept::Stood;
pub(in crate::shard) use setup::Trimming;

mod setup;

mod workers;

mod stream;

mod feed;

mod trim;

mod kept;

mod ends;

#[cfg(test)]
mod tests;
