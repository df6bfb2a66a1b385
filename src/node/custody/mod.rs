//! Which shards are this node's, and by what right: what its rows and the control records say, the
//! proof of ownership, and what is to be done about each shard.

pub(super) mod opening;

pub(super) mod shards;

pub(crate) mod role;

pub(crate) mod watch;

pub(super) mod observe;

pub(super) mod rows;

pub(crate) mod renewal;

pub(super) mod balancer;

pub(super) mod cutoff;

pub(super) mod gauges;
