//! The one Redis is killed, gone, or not there yet.

#[path = "../../it/faults/mod.rs"]
mod common;

mod draining;

mod memory;

mod outage;

mod restart;
