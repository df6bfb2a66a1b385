//! Whom sessions of this node watch: who watches whom, what sessions are to be told by themselves,
//! and what all of them are told.

pub(in crate::node::session) use told::Watching;
pub(in crate::node::session) use watchers::TooMuch;

mod watchers;

mod owed;

mod told;
