//! The view of a shard in its SQLite file: one writer, lazy readers. Rows, applied offsets and the
//! raw entries they came from are committed in one transaction, so the file always equals apply(log
//! up to its applied offsets).
//!
//! Kept in parts: what is read lies by subject; what is written comes folded from
//! `shard::file::apply` and goes through the one `writer` in statements of many rows.

// What rows are, and how they go in and out.
mod columns;
mod config;
mod error;
pub(crate) mod retained;
mod rows;
mod script;
mod shown;

// The file, and its one writer.
pub(in crate::shard) mod aside;
mod at_rest;
mod migrations;
pub(in crate::shard) mod open;

mod applying;
mod checkpoint;
mod erasing;
mod remembered;
mod space;
mod write_closing;
mod write_content;
mod write_members;
mod write_messages;
mod write_receipts;
mod write_retention;
mod write_views;
mod writer;

mod handle;

// What is read, by subject.
mod audit;
mod bans;
mod conversations;
mod erasure;
mod history;
mod index;
mod keys;
mod lists;
mod messages;
pub(in crate::shard) mod progress;
mod receipts;
mod retention;
mod seen;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use applying::mark;
pub(crate) use audit::DENSE_SEQS;
pub(crate) use config::{Config, Progress};
pub(crate) use erasure::Left;
pub(crate) use error::{OpenError, StoreError};
pub(crate) use handle::Store;
pub(crate) use history::Past;
pub(crate) use retention::Outdated;
pub(crate) use rows::{
    ApplyEntry, Counted, HeadRow, HeldMessage, HistoryRead, KEPT_MAX, Kept, KeptEntry, KeyRow,
    Located, Marks, Member, OutboxRow, Recent, ShownMessage, UsedKey, View,
};
