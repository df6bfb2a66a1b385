//! The tests of `it` on three node and two router processes over one Redis;
//! and, in `faults`, what happens when that Redis is killed, stops, or is not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect, and says so"
)]
#![allow(
    clippy::shadow_unrelated,
    reason = "a test reads the same thing again, later: the newest is what counts"
)]

#[path = "../it/api/mod.rs"]
mod api;
mod backup;
#[path = "../it/behaviour/mod.rs"]
mod behaviour;
mod erasure;
mod faults;
#[path = "../it/load/mod.rs"]
mod load;
#[path = "../it/support/mod.rs"]
mod support;

/// Under what the tests of this target run.
const BACKEND: support::server::Backend = support::server::Backend::Redis;
