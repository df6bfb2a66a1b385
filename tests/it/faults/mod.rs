//! Faults that are the same over one Redis and over Redis Cluster.

mod draining;

mod failover;

mod handing;

mod pauses;

mod processes;

mod sessions;
