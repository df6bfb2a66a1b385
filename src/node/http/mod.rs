//! The REST face of the shards that this node owns: calls of routers in, problems or answers out.
//!
//! - Every request gets one answer of the client contract; nothing that a client sends ends in a
//!   500 or a panic.
//! - The checks are made in the order of `docs/api.md`; the token is verified here, whoever
//!   forwarded the request.
//! - What belongs to another node is answered with a hint, and surely nothing was done.

pub(crate) use face::Http;
pub(crate) use rest::Config;

mod face;

mod rate;

mod request;

mod rest;

mod shards;

mod conversations;

mod direct;

mod participants;

mod governing;

mod viewing;

mod list_cursor;

mod lists;

mod messages;

mod proofs;

mod answer;

#[cfg(test)]
mod tests;
