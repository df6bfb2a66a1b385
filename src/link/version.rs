//! Versions of the contracts between processes.

/// Newest version of the contracts between processes that this build speaks.
pub const PEER_VERSION: u16 = 11;

/// Oldest version that this build still understands.
pub const PEER_VERSION_MIN: u16 = 1;

/// The version that brought routers as peers: they speak no older one, and from it on the proofs
/// cover the role.
pub const ROUTERS_SINCE: u16 = 4;
