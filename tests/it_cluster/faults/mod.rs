//! One of the six servers of Redis Cluster is killed, or its slots move; an owner is paused and loses its shard; the
//! script that starts all of it is called at any time.

#[path = "../../it/faults/mod.rs"]
mod common;

mod both;

mod owner;

mod redis_cluster;

mod script;

mod slots;
