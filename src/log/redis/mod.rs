//! The log on Redis Streams, one server or Redis Cluster. `docs/adr/0012-redis-log.md` says how it
//! keeps the contract, with the table of answers and the interleavings.

pub use self::log::RedisLog;
pub use config::{CommitLevel, Config};

mod config;

mod log;

mod append;

mod claim;

mod observe;

mod eye;

mod cache;

mod keys;

mod answer;

pub mod servers;

mod slots;

mod master;

mod copies;

mod links;

mod connection;

mod failure;

pub(crate) mod denied;

pub(crate) mod suits;

#[cfg(test)]
pub mod testing;

#[cfg(test)]
mod tests;
