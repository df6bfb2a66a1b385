//! Files of shards in a backup: whether one is what it should be, and how files of a new cluster
//! are made of them, with the same number of shards or another (ADR 21).
//!
//! A restored file is a beginning: its rows are those of the backup, brought to one moment, and its
//! log begins at its tails.

pub(crate) mod check;

mod moved;

pub(crate) mod gathered;

pub(crate) mod build;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
