//! One of the six servers of Redis Cluster is killed, or its slots move; a node is paused for long
//! or briefly, or loses its way to Redis; the script that starts all of it is called at any time.

#[path = "../../it/faults/mod.rs"]
mod common;

mod both;

mod cut_off;

mod dead_shards;

mod order;

mod owner;

mod places;

mod redis_cluster;

mod script;

mod slots;

mod standbys;

mod wires;
