//! Numbers that stand for something on one connection of a link.

/// Names a session on one connection of a link.
pub(crate) type SessionNumber = u64;

/// Names a request on one connection of a link.
pub(crate) type CallNumber = u64;

/// Stands for the name of a conversation on one connection of a link.
pub(crate) type Handle = u32;
