//! One of the six servers of Redis Cluster is killed, or its slots move; an owner is paused and loses its shard.

#[path = "../../it/faults/mod.rs"]
mod common;

mod owner;

mod redis_cluster;

mod slots;
