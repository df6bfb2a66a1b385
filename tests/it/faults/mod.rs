//! Faults that are the same over one Redis and over Redis Cluster.

mod failover;

pub(crate) mod handing;

mod pauses;

mod presence;

mod processes;

mod sessions;
