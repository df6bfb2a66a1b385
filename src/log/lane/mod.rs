//! The append lane of a node: per place of the log (a Redis master; the embedded log has one) one
//! cycle in flight, all its shards' batches together. While it is away the next batches gather, so
//! batching grows with load by itself. An in-doubt batch is sent again, unchanged, in the next
//! cycle, until there is a definite answer; the others do not wait for it, and places do not wait
//! for each other.
//!
//! A batch without an answer is sent again only while its shard has a lease: it is carried out
//! whether or not the answer comes back, and tells the standbys each time that the owner lives.
//! What is held so is sent with the next proof (`proof`, ADR 15).
//!
//! A place without space is told to those who write (`full`), who send it nothing but a look now
//! and then.
//!
//! When a place has made no second copy for a second, a batch that lacks nothing else is put to the
//! witnesses of its shard. It is sent again meanwhile: whichever is first ends it.

pub(crate) use job::Definite;
pub(crate) use standing::{Standing, Standings};
pub(crate) use way::Lane;
pub(crate) use witness::{Witnessed, Witnesses};

#[cfg(test)]
pub(crate) use loose::Loose;

mod way;

mod places;

mod here;

mod cycle;

mod job;

mod proof;

mod full;

mod copies;

mod witness;

mod standing;

#[cfg(test)]
mod loose;

#[cfg(test)]
mod tests;
