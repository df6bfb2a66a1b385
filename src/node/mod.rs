//! The process in the cluster: which shards are ours and by what right; sessions, links, and the
//! HTTP face of the shards.
//!
//! A node serves a shard only through a handle that was opened in its [`custody`].

pub use context::{Config, Renewing, Setup};
pub use life::Node;
pub use listeners::Listeners;
pub use owners::Beside;

mod life;

mod agreed;

mod context;

mod listeners;

mod parts;

mod given;

pub(crate) mod folder;

pub(crate) mod http;

pub(crate) mod session;

pub(crate) mod owners;

pub(crate) mod link;

pub(crate) mod custody;

pub(crate) mod steering;

pub mod standby;

pub(crate) mod outbox;

pub(crate) mod audit;
