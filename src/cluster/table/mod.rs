//! The table: the one versioned assignment `shard → [owner, standby…]` that every router and node
//! follows, the nodes that are registered, and the identity of the cluster. The contract is
//! [`TableStore`]; [`embedded`] implements it for one process, [`redis`] for a cluster.
//!
//! **Promises.** `swap` is a compare-and-set on the version: of two that name the same version one
//! wins. Versions only grow, unless Redis loses the end of what it acknowledged: then an earlier
//! table stands again and its versions are given anew ([`follow`] copes). `load` returns the latest
//! swapped table or a later one. The identity is written once and never changes. **Answers get
//! lost**: a swap may be sent again; that it stands already is success too.

pub use addresses::NodeAddresses;
pub use store::{Polled, TableError, TableStore};
pub use version::Table;

mod version;

mod addresses;

pub(crate) mod changes;

mod store;

pub mod embedded;

pub mod redis;

pub(crate) mod follow;

pub(crate) mod reach;

#[cfg(test)]
pub(crate) mod conformance;
