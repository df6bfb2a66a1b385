//! The one-process cluster: a router and several nodes over the embedded log, with nothing beside
//! it. The router's links to the nodes are within the process; nodes talk to each other over real
//! sockets on the loopback address.
//!
//! Invariants: one process uses a data folder; a folder of another cluster or number of shards is
//! refused before anything is written; a stop takes at most [`STOP_MAX`](crate::process::STOP_MAX),
//! after which nothing acknowledged is lost, whatever was left undone.

pub use cluster::run;
pub use token::token;

mod cluster;

mod shared;

mod nodes;

mod example;

mod token;
