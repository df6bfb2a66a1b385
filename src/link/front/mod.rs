//! The front contract: what travels over a link between a router and a node (ADR 7). Fields and
//! variants are only ever added: what a reader does not know it skips, and what an older writer
//! left out has a default.
//!
//! **Invariants.** A session's number is chosen by the router and never used again on its
//! connection. All frames of a session are in order. A handle names a conversation from its
//! [`Down::Known`] to its [`Down::Forgotten`].

pub use down::Down;
pub use numbers::{CallNumber, Handle, SessionNumber};
pub use open::{Authorization, Open, Refusal, Terms};
pub use rest::{Call, Key, Part, Reply};
pub use up::Up;
pub use weight::{PART_BYTES_MAX, cost};

mod up;

mod down;

mod numbers;

mod weight;

mod rest;

mod open;

pub mod attach;

mod request;

pub mod queue;

pub mod calls;

mod carry;

pub mod client;

pub mod server;

#[cfg(test)]
mod tests;
