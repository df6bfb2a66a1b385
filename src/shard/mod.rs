//! One single-writer unit of order. [`ShardHandle`] is the only way in; behind it one loop decides
//! every command against the head, appends to the log, answers after the commit, and pushes to
//! subscribed nodes. Workers apply the log to the shard's SQLite file a few milliseconds behind.
//! The shard knows no HTTP, no session, no token of a client.

pub use error::{Disposition, OpenError};
pub use giving::{Given, Still};
pub use handle::ShardHandle;
pub use options::{Common, Config, Opening};
pub use replica::open::open;
pub use replica::orphans::orphans;
pub use replica::standby::Standby;
pub use replica::way::{Gift, Taking};
pub use status::{IndexPage, ShardStatus};
pub use write::agreed::Agreed;
pub use write::owner::HeadMemory;

pub mod push;

pub mod command;

mod error;

mod status;

mod options;

mod handle;

mod state;

mod typing;

mod execute;

mod giving;

pub mod write;

pub mod file;

pub mod read;

pub mod outbox;

pub mod delivery;

pub mod replica;

pub mod replicas;

mod insync;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod simulation;
