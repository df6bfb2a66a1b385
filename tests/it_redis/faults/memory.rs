//! Redis holds what is not yet durable elsewhere, and little more.

use futures_util::future::join_all;

use crate::BACKEND;
use crate::load::servers::told;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Group, eventually};

/// Text of a message, and how many are sent: 48 MiB, through one shard.
const TEXT_BYTES: usize = 16_000;
const MESSAGES: usize = 3_072;

/// What all streams together may hold at the end: 64 KiB of each, and the entry that reaches over
/// the edge, which may have a megabyte.
const KEPT_MAX: u64 = 8 * 1_024 * 1_024;

/// What the process may have grown by at its highest: well below what went through.
const PEAK_MAX: u64 = 32 * 1_024 * 1_024;

fn number(stats: &str, name: &str) -> u64 {
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("{name} in {stats}"));
    line.trim().parse().unwrap()
}

// what must not happen: 27 — streams are trimmed behind the durable offset: the memory of Redis is
// bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_trimmed_under_load_and_the_memory_of_redis_stays_bounded() {
    let flags = [
        "--trim-floor",
        "1s",
        "--trim-floor-bytes",
        "64KiB",
        "--checkpoint-every",
        "500ms",
    ];

    let server = Server::Many(Cluster::start_alone(BACKEND, &flags));
    let cluster = server.cluster();
    let redis = cluster.port("redis-1");
    let used = || number(&told::<String>(redis, &["INFO", "memory"]), "used_memory:");
    let group = Group::create(&server, 15).await;
    let text = "x".repeat(TEXT_BYTES);
    told::<()>(redis, &["CONFIG", "RESETSTAT"]);

    let before = used();
    let mut highest = 0;

    for _ in 0..MESSAGES / 16 {
        join_all(
            group
                .members
                .iter()
                .chain([&group.admin])
                .map(|member| member.say(&group.name, &text)),
        )
        .await;
        highest = highest.max(used().saturating_sub(before));
    }

    eprintln!("grown by {highest} bytes at most");
    assert!(highest < PEAK_MAX, "Redis grew by {highest} bytes");

    eventually("the streams are trimmed", || async {
        let keys: Vec<String> = told(redis, &["KEYS", "{*}:messages"]);
        assert!(!keys.is_empty());
        let kept: u64 = keys
            .iter()
            .map(|key| told::<u64>(redis, &["MEMORY", "USAGE", key, "SAMPLES", "0"]))
            .sum();
        (kept < KEPT_MAX).then_some(())
    })
    .await;

    // And nothing of it is lost.
    assert_eq!(
        group.admin.all_events(&group.name).await.len(),
        MESSAGES + 1
    );
}
