//! `rookery node` and `rookery router` as separate processes over a real Redis: how they start in
//! any order, wait, refuse, stop and come back. What clients see of a cluster is in `tests/it`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::shadow_unrelated,
    reason = "a test stops at what it did not expect, and says so; it reads the same thing again, later"
)]

use std::time::{Duration, Instant};

mod bench;
mod client;
mod lost_redis;
mod refusals;
mod spawned;
mod start;
mod stop;

/// How long anything may take before a test gives up. Bounds a failure, measures nothing.
const DEADLINE: Duration = Duration::from_secs(40);
const SECRET: &str = "process-tests-only-0123456789-0123456789-abc";
const CLUSTER_KEY: &str = "process-tests-cluster-key-0123456789-0123456789";

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
