//! The shard's SQLite file, a view of its log: what an entry changes, who writes it, and copies of
//! the file as a whole.

pub(crate) mod worker;

pub(crate) mod apply;

pub(crate) mod store;

mod refusal;

pub(crate) mod snapshot;

pub(crate) mod backup;
