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

pub mod folder;

pub mod http;

pub mod session;

pub mod owners;

pub mod link;

pub mod custody;

pub mod steering;

pub mod standby;

pub mod outbox;
