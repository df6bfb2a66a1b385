//! The table over Redis: four keys under one hash tag, `{P:table}:identity` (JSON, written once),
//! `{P:table}:table` (a hash of version, mark and JSON), `{P:table}:nodes` (a hash of
//! registrations), `{P:table}:leader` (who coordinates, for a while). Every change is one script
//! that may be sent again.
//!
//! A poll sends the mark that it knows and gets nothing back when nothing changed. A node is listed
//! while it announced itself within
//! [`REGISTRATION_LIFE`](crate::cluster::table::embedded::REGISTRATION_LIFE), by Redis's own clock:
//! a failover may make that a little longer or shorter, and no safety hangs on it, because a shard
//! that was ever claimed is not given away by this list.

pub use store::RedisTable;

mod store;

mod stored;
