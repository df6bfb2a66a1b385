//! From entries of the log to changes of rows. Pure and deterministic: what comes out depends only
//! on the entries and on what the file held before, never on a clock, on the other stream, or on
//! how the entries were cut into batches: the same log gives the same file. Changes are folded, so
//! that each row is written once per batch.
//!
//! A record that cannot be applied never stops the rest: it comes out as [`Quarantined`].

mod times;

mod clockwork;

mod quarantined;

pub(crate) mod changes;

pub(crate) mod messages;

mod edits;

mod members;

mod closing;

mod views;

pub(crate) mod receipts;

pub(crate) use clockwork::{Clockwork, key_horizon};
pub(crate) use quarantined::Quarantined;
pub(crate) use times::time_of_entry;
