//! What all processes of a cluster agree on: how many shards there are and where a name belongs,
//! which node should own what, and how a process finds its part in it. Below both its users, nodes
//! and routers; it opens no shard.

pub mod map;

pub(crate) mod ring;

pub mod table;

pub mod assignment;

pub mod balance;

pub(crate) mod draining;

pub mod claimed;

pub(crate) mod directory;

pub(crate) mod announce;

pub(crate) mod coordinator;

pub(crate) mod waiting;

pub(crate) mod folder;

pub(crate) mod identify;

pub(crate) mod placement;
