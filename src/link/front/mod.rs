//! The front contract: what travels over a link between a router and a node (ADR 7). Fields and
//! variants are only ever added: what a reader does not know it skips, and what an older writer
//! left out has a default.
//!
//! **Invariants.** A session's number is chosen by the router and never used again on its
//! connection. All frames of a session are in order. A handle names a conversation from its
//! [`Down::Known`] to its [`Down::Forgotten`].

pub(crate) use down::Down;
pub(crate) use numbers::{CallNumber, Handle, SessionNumber};
pub(crate) use open::{Authorization, Open, Refusal, Terms};
pub(crate) use rest::{Call, Key, Part, Reply};
pub(crate) use up::Up;
pub(crate) use weight::{PART_BYTES_MAX, cost};

mod up;

mod down;

mod numbers;

mod weight;

mod rest;

mod open;

pub(crate) mod attach;

mod request;

pub(crate) mod queue;

pub(crate) mod calls;

mod carry;

pub(crate) mod client;

pub(crate) mod server;

#[cfg(test)]
mod tests;
