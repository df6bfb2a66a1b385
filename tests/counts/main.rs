//! A guard by counts that do not depend on how fast or how busy the machine is: what one message
//! costs in system calls, frames and writes, commands of Redis, SQL statements. The work is fixed
//! and comes in fixed batches; `limits` has what each count may be. What a server does by the clock
//! is measured beside it and taken off.
//!
//! Allocations are counted in `tests/allocations.rs`, in a process of their own, against the same
//! table.

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

mod bench;
mod limits;
mod measured;
#[allow(
    dead_code,
    reason = "it is shared with other targets, and this one does little"
)]
#[path = "../it/support/mod.rs"]
mod support;
mod tracer;

use crate::bench::{Bench, Work};
use crate::limits::{CLUSTER_BURSTS, CLUSTER_SINGLY, DEV_BURSTS, DEV_SINGLY, Figure};

/// Under what the deployments of several processes run.
const BACKEND: support::server::Backend = support::server::Backend::Redis;

/// One message after the other.
const SINGLY: Work = Work {
    batches: 64,
    size: 1,
    copies: 1,
};

/// Messages that a client writes without waiting for answers.
const BURSTS: Work = Work {
    batches: 8,
    size: 16,
    copies: 1,
};

/// Fails with all figures, when one of them is too much.
fn assert_within(counted: &[(&str, Vec<Figure>)]) {
    let shown: Vec<String> = counted
        .iter()
        .map(|(scenario, figures)| limits::shown(scenario, figures))
        .collect();
    eprintln!("{}", shown.join("\n"));
    let complaints: Vec<String> = counted
        .iter()
        .flat_map(|(scenario, figures)| limits::complaints(scenario, figures))
        .collect();
    assert!(
        complaints.is_empty(),
        "{}\n{}",
        complaints.join("\n"),
        shown.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_costs_one_process_no_more_than_it_did() {
    let mut bench = Bench::in_one_process(&[]).await;
    let (singly, bursts) = (bench.figures(SINGLY).await, bench.figures(BURSTS).await);
    assert_within(&[(DEV_SINGLY, singly), (DEV_BURSTS, bursts)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_costs_a_cluster_no_more_than_it_did() {
    let mut bench = Bench::in_a_cluster(&[]).await;
    let (singly, bursts) = (bench.figures(SINGLY).await, bench.figures(BURSTS).await);
    assert_within(&[(CLUSTER_SINGLY, singly), (CLUSTER_BURSTS, bursts)]);
}

/// As a change would do it that costs twice as much: each message is sent twice, and counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_notices_that_everything_is_done_twice() {
    let mut bench = Bench::in_a_cluster(&[]).await;
    let figures = bench
        .figures(Work {
            copies: 2,
            ..SINGLY
        })
        .await;
    let complaints = limits::complaints(CLUSTER_SINGLY, &figures);

    for figure in figures.iter().filter(|figure| !is_packed(figure)) {
        let noticed = complaints
            .iter()
            .any(|complaint| complaint.contains(figure.name));
        assert!(
            noticed,
            "{} is not noticed:\n{}",
            figure.name,
            limits::shown(CLUSTER_SINGLY, &figures)
        );
    }
}

/// What twice the messages do not double: many rows are one statement.
fn is_packed(figure: &Figure) -> bool {
    figure.name == limits::STATEMENTS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_notices_transactions_of_a_quarter_of_the_size() {
    let mut bench = Bench::in_one_process(&["--apply-records", "16"]).await;
    let figures = bench.figures(SINGLY).await;
    let complaints = limits::complaints(DEV_SINGLY, &figures);
    let noticed = complaints
        .iter()
        .any(|complaint| complaint.contains(limits::STATEMENTS));
    assert!(noticed, "{}", limits::shown(DEV_SINGLY, &figures));
}
