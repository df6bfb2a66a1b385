//! Client sessions at the router: it ends their WebSockets, and carries what is said over the link
//! to the node that holds the session (ADR 7). The path of an event: [`streams`] takes it from the
//! link, queues it for each socket that it is for, and writes to each what it takes at once
//! ([`socket`]); what it does not take, its own task writes.
//!
//! A session that loses its node goes on at another one ([`moving`], [`rehousing`]).
//!
//! **Invariants.** There are as many sockets as there may be, at most. Every socket ends: with its
//! client, with its session, when no node goes on with it, or at a drain within the window and a
//! linger time. A client whose session ends without its doing is told when to come back.

pub(super) use asking::Opened;
pub(super) use followed::Who;
pub(super) use homeless::{Homeless, Moved, Rehouses};
pub(super) use sockets::{Consumes, Sockets, Unopened};

pub(super) mod handshake;

mod sockets;

mod asking;

mod opened;

mod streams;

mod table;

mod gathering;

mod gathered;

mod line;

mod socket;

mod task;

mod hearing;

mod allowance;

mod frames;

mod outbox;

mod pulse;

mod unanswered;

mod moving;

mod followed;

mod homeless;

mod rehousing;

mod names;

mod counts;

#[cfg(test)]
mod echo_tests;

#[cfg(test)]
mod moving_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod under_way_tests;
