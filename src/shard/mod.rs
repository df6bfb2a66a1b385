//! One single-writer unit of order. [`ShardHandle`] is the only way in; behind it one loop decides
//! every command against the head, appends to the log, answers after the commit, and pushes to
//! subscribed nodes. Workers apply the log to the shard's SQLite file a few milliseconds behind.
//! The shard knows no HTTP, no session, no token of a client.

pub(crate) use error::{Disposition, OpenError};
pub(crate) use giving::Given;
pub(crate) use handle::ShardHandle;
pub(crate) use options::{Common, Config, Opening};
pub(crate) use replica::open::open;
pub(crate) use replica::orphans::orphans;
pub(crate) use replica::standby::Standby;
pub(crate) use replica::way::{Gift, Taking};
pub(crate) use status::{IndexPage, ShardStatus};
pub(crate) use write::agreed::Agreed;

pub(crate) mod push;

pub(crate) mod command;

mod error;

mod status;

mod options;

mod handle;

mod state;

mod typing;

mod concerned;

mod execute;

mod erasing;

mod retention;

mod giving;

pub(crate) mod write;

pub(crate) mod file;

pub(crate) mod read;

pub(crate) mod outbox;

pub(crate) mod delivery;

pub(crate) mod replica;

pub(crate) mod replicas;

mod insync;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod simulation;
