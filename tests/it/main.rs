//! Black-box tests: the real binary, its public API, nothing else. `api` says what one client sees,
//! `behaviour` what holds over time: under load, after a crash, between many devices. This target
//! runs them in one process over the embedded log; `it_redis` and `it_cluster` run the same over
//! Redis.
//!
//! Tests share one server where they can (unique names keep them apart) and wait on conditions with
//! a deadline.

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

mod api;
mod behaviour;
mod embedded;
mod support;

/// Under what the tests of this target run.
const BACKEND: support::server::Backend = support::server::Backend::Embedded;
