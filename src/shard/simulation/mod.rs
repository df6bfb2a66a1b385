//! A seeded simulation of what is dangerous: takeover, a log that falls back, appends in doubt,
//! hand-over. Nodes run the real append side, chain and lease (and a copy of the watch, which lives
//! with the nodes) against a model of Redis whose replication lags, whose replica may take over
//! without what it has not seen, and whose connections lose, delay and reorder. Thousands of runs,
//! each from its number.
//!
//! A failing run names its seed: `SIMULATION_SEED=… cargo test --lib shard::simulation` runs it
//! alone.

#![expect(
    clippy::shadow_unrelated,
    reason = "a borrow of the role is taken again after each request"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::shard::simulation::world::{Without, World};

mod clients;
mod faults;
mod network;
mod node;
mod redis;
mod watch;
mod world;

const RUNS: u64 = 2_000;
const STEPS: u32 = 2_500;

/// Runs in which a missing protection must show.
const RUNS_WITHOUT: u64 = 1_500;

/// What happened over all runs, so that a simulation in which nothing happens fails.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    opened: u32,
    epochs: u64,
    strict_reads: u32,
}

fn simulate(seed: u64, without: Without) -> World {
    let mut world = World::new(seed, without);
    world.run(STEPS);
    world.settle();
    world.check();
    world
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch for whoever looks into a failing run"
)]
fn seeds() -> std::ops::Range<u64> {
    let alone = std::env::var("SIMULATION_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    alone.map_or(0..RUNS, |seed: u64| seed..seed + 1)
}

#[test]
fn whatever_fails_everything_acknowledged_is_there_once_and_in_one_order() {
    let mut seen = Seen::default();
    let mut failed = Vec::new();

    for seed in seeds() {
        match catch_unwind(|| simulate(seed, Without::Nothing)) {
            Ok(world) => {
                seen.acknowledged += world.acknowledged.len() as u64;
                seen.opened += world.opened;
                seen.epochs += world.epoch();
                seen.strict_reads += world.strict_reads;
            }
            Err(_) => failed.push(seed),
        }
    }

    assert!(
        failed.is_empty(),
        "{} of {RUNS} runs fail; their seeds: {failed:?}",
        failed.len()
    );

    // A simulation in which nothing happens proves nothing.
    let happened = [
        u64::from(seen.opened),
        u64::from(seen.strict_reads),
        seen.epochs,
        seen.acknowledged,
    ];

    let per_ten_runs = [15, 100, 50, 150];
    let enough = happened
        .iter()
        .zip(per_ten_runs)
        .all(|(seen, least)| *seen >= least * RUNS / 10);
    assert!(
        seeds().end - seeds().start == 1 || enough,
        "{seen:?} in {RUNS} runs"
    );
}

/// How many of some runs fail without a protection.
fn failures(without: Without) -> usize {
    let fails = |seed: &u64| catch_unwind(AssertUnwindSafe(|| simulate(*seed, without))).is_err();
    (0..RUNS_WITHOUT).filter(fails).count()
}

#[test]
fn without_any_one_protection_some_runs_fail() {
    for without in [
        Without::Wait,
        Without::Lease,
        Without::Restore,
        Without::Fence,
    ] {
        assert!(
            failures(without) > 0,
            "{without:?} is not needed, or not simulated"
        );
    }
}
