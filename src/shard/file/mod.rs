//! The shard's SQLite file, a view of its log: what an entry changes, who writes it, and copies of
//! the file as a whole.

pub mod worker;

pub(crate) mod apply;

pub mod store;

mod refusal;

pub mod snapshot;

pub mod backup;
