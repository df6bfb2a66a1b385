//! The router: takes every client connection, finds the shard of each request and asks the node
//! that owns it, over the link to it, within one budget of time; ends WebSockets, whose sessions
//! are the nodes'. It keeps no conversation and no user.
//!
//! **Invariants.** A request is answered, whatever becomes of nodes: at the end of the budget with
//! a problem. The router vouches for nobody: nodes verify tokens, and no header of ours passes from
//! a client. Every wait, body, connection and socket has a bound.

pub use config::Config;
pub use life::Router;

mod config;

mod life;

mod server;

mod stream;

mod paced;

mod explained;

mod requests;

mod asked;

mod placing;

pub(crate) mod route;

pub(crate) mod cors;

mod headers;

mod hold;

mod versions;

mod forward;

mod attempts;

pub mod directory;

pub mod links;

mod opening;

mod sessions;

#[cfg(test)]
mod tests;
