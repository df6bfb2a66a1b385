//! The connections of one listening port, bounded in number. When there are as many as there may
//! be, the one that has been idle longest gives way to a newcomer; when none is idle, the newcomer
//! is refused at once.
//!
//! **Invariants.**
//! - At most so many connections are served at once as was said, and at most `ENTRANTS_MAX`
//!   newcomers are being let in or refused; more wait in the listen queue of the system, for as
//!   long as those take.
//! - What gives way is between two requests, and has been for `IDLE_AT_LEAST`: never a connection
//!   of which a part of a request has come or whose answer is not whole, never one that was
//!   upgraded.
//! - A newcomer knows within `GIVES_WAY_WITHIN` whether it is served, and is answered in either
//!   case.

pub(crate) use admission::{Connections, Entrant, Place};
pub(crate) use turn::{Answer, Noted};

mod admission;

mod port;

mod turn;

pub(crate) mod refusal;

#[cfg(test)]
mod tests;
