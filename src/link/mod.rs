//! Links: how processes of a cluster talk to each other (ADR 7). The one that asks dials; requests
//! go one way, answers and pushes come back. Here is what every link is made of: how both ends
//! prove themselves ([`proof`]), how frames are written and read, how silence is found, and the
//! contract between routers and nodes ([`front`]). That between nodes is in `node::link`.
//!
//! **Invariants.** Nothing of a frame is parsed before both ends have proven the cluster key. Every
//! queue, wait and frame has a bound, named in [`Config`] or beside its constant.

pub use config::Config;
pub use credentials::Credentials;
pub use failure::{Failure, LinkError};
pub use role::Role;
pub use version::{PEER_VERSION, PEER_VERSION_MIN, ROUTERS_SINCE};

mod version;

mod role;

mod credentials;

mod config;

mod failure;

pub mod proof;

pub(crate) mod handshake;

pub(crate) mod dial;

pub(crate) mod socket;

pub(crate) mod codec;

pub(crate) mod front;
