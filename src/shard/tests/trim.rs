//! Trim and the standbys in sync; the workers' progress; what ends an owner.

use super::standby::{stranger, talkative};
use super::*;
use crate::ids::Epoch;
use crate::shard::replicas::{Following, ReplicaStatus};

fn trimming() -> Config {
    let mut config = config();
    config.worker.trim_floor = Duration::ZERO;
    config.worker.trim_floor_bytes = 0;
    config
}

impl Bench {
    fn report(&self, node: &str, durable: [Tail; 2], following: Following) -> ReplicaStatus {
        let (shard, node, applied) = (SHARD, NodeId::from(node), self.tails());
        ReplicaStatus { shard, node, applied, durable, max_epoch: Epoch(1), following }
    }

    /// Waits until the messages stream begins after an offset.
    async fn trimmed_to(&self, offset: Offset) {
        in_time(async {
            while self.raw(M).await.first().is_some_and(|raw| raw.last <= offset) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn durable(&self) {
        let mut durable = self.handle().0.durable.clone();
        let upto = self.tails().map(|tail| tail.offset);
        in_time(durable.wait_for(|durable| *durable == upto)).await.expect("lives");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_not_trimmed_beyond_what_is_durable_at_a_standby_in_sync() {
    let bench = Bench::with(trimming()).await;
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench.durable().await;
    assert_eq!(bench.handle().standbys(), [(NodeId::from("node-b"), true)], "nobody has heard of it yet");
    assert_eq!(bench.raw(M).await[0].last, Offset(1));
    let middle = bench.raw(M).await[3].last;
    let at = |offset| [Tail { offset, ..Tail::EMPTY }, Tail::EMPTY];
    bench.handle().reported(bench.report("node-b", at(middle), Following::Live));
    bench.trimmed_to(middle).await;
    bench.fill(5, 5).await;
    bench.durable().await;
    assert_eq!(bench.raw(M).await[0].last, middle.next());
    // It falls silent; its time is not over yet.
    bench.clock.pass(Duration::from_millis(29_999));
    assert_eq!(bench.handle().status().standbys, [(NodeId::from("node-b"), true)]);
    bench.clock.pass(Duration::from_millis(1));
    assert_eq!(bench.handle().status().standbys, [(NodeId::from("node-b"), false)]);
    bench.trimmed_to(Offset(bench.tails()[0].offset.0 - 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_trims_nothing_before_its_standbys_are_heard_or_out() {
    let shared = Config { takeover_watch: Some(Duration::from_secs(3)), ..trimming() };
    let bench = Bench::with(shared).await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench.durable().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.raw(M).await[0].last, Offset(1), "its row is not known");
    bench.handle().set_standbys(vec![NodeId::from("node-b"), NodeId::from("node-c")]);
    bench.handle().reported(bench.report("node-b", bench.tails(), Following::Live));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.raw(M).await[0].last, Offset(1), "node-c was not heard");
    let out = bench.report("node-c", [Tail::EMPTY; 2], Following::Behind);
    bench.handle().reported(out);
    bench.trimmed_to(Offset(1)).await;
    let both = [(NodeId::from("node-b"), true), (NodeId::from("node-c"), false)];
    assert_eq!(bench.handle().standbys(), both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_stand_still_for_ten_seconds_make_no_progress() {
    let bench = talkative().await;
    let progresses = |second| bench.handle().progresses(Duration::from_secs(second));
    assert!(progresses(1) && progresses(1_000), "there is nothing to do");
    bench.log.stall_reads(true);
    bench.send("c", "alice", "waits").await;
    // A round that was begun may still come to its end.
    assert!(progresses(1_001) && progresses(1_009));
    in_time(async {
        while bench.handle().progresses(Duration::from_secs(1_021)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.log.stall_reads(false);
    bench.applied().await;
    assert!(progresses(1_022));
}

/// The log goes on otherwise than the owner knows.
async fn rewritten(bench: &mut Bench) {
    let had = [bench.raw(M).await, bench.raw(R).await];
    let store = bench.handle().0.store.clone();
    store.close().await;
    let _had = had;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_file_is_damaged_ends_where_another_replica_can_go_on() {
    for has_standby in [false, true] {
        let bench = talkative().await;
        let path = bench.opening().path;
        let store = bench.handle().0.store.clone();
        store.checkpoint().await.expect("checkpoints");
        store.execute("PRAGMA cache_size = 0").await;
        let length = std::fs::metadata(&path).expect("there").len();
        // All but the first page.
        let garbage = vec![0x5a; usize::try_from(length).expect("small") - 4096];
        std::os::unix::fs::FileExt::write_all_at(
            &std::fs::OpenOptions::new().write(true).open(&path).expect("opens"),
            &garbage,
            4096,
        )
        .expect("writes");
        if has_standby {
            bench.handle().set_standbys(vec![NodeId::from("node-b")]);
        }
        drop(bench.execute(send("c", "alice", "one more")));
        if has_standby {
            in_time(bench.handle().closed()).await;
            assert!(matches!(bench.handle().fault(), Some(Following::Damaged(_))));
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(bench.handle().fault(), None, "alone it stays");
        }
    }
    let _ = (stranger, rewritten);
}
