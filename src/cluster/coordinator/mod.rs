//! Looks after the table as a whole, for as long as this node holds the coordinator's lease: rows
//! keep their nodes, places that are free are filled, a node that is gone for good loses its
//! places.
//!
//! Any node may do this, several at once too: the compare-and-set on the table's version is what is
//! safe, the lease only avoids work. Ownership is not moved here: a shard that was ever claimed
//! changes its owner by failover or by hand-over alone. Here it is decided among which nodes shards
//! are evened out, and places are given to those that have too few.

pub(crate) use look::{Balanced, Coordinator, CoordinatorDeps};

mod look;

mod attendance;
