//! The log of one process: a folder of segments that are only appended to, for every shard (ADR
//! 10).
//!
//! **Commit level.** An answer follows the sync of the record that holds it. What waits while one
//! record is on its way becomes the next one, whoever asked: one write and one sync for all. One
//! thread writes (`writer`); readers see only what is on disk.
//!
//! The way of a batch: `log` takes it, `writer` gathers what waits, `cycle` decides it, `layout`
//! seals it into a record, `segments` writes and syncs that, `view` shows it. `load` reads all
//! records when a log is opened.
//!
//! **One process.** An exclusive lock on a file beside the folder (`<folder>.lock`) is held as long
//! as the log is open.
//!
//! **Full.** Out of space is "surely not written", and the answer says that space is what is
//! missing. Requests queue up to [`QUEUE_REQUESTS_MAX`]; then their senders wait.

pub use self::log::{EmbeddedLog, QUEUE_REQUESTS_MAX};

pub(crate) use self::cycle::Cell;

mod cycle;

mod layout;

mod index;

mod segments;

mod tip;

mod failure;

mod view;

mod load;

mod moving;

mod writer;

mod request;

mod answers;

mod log;

pub(crate) mod former;

#[cfg(test)]
mod faults;

#[cfg(test)]
mod crash;

#[cfg(test)]
mod former_tests;

#[cfg(test)]
mod tests;
