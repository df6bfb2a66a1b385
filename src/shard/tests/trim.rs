//! Trim and the standbys in sync; the workers' progress; what ends an owner.

use super::standby::talkative;
use super::*;
use crate::ids::Epoch;
use crate::log::PerStream;
use crate::shard::replicas::{Following, ReplicaStatus};

fn trimming() -> Config {
    let mut config = config();
    config.worker.trim_floor = Duration::ZERO;
    config.worker.trim_floor_bytes = 0;
    config
}

impl Bench {
    fn report(&self, node: &str, durable: PerStream<Tail>, following: Following) -> ReplicaStatus {
        let (shard, node, applied) = (SHARD, NodeId::from(node), self.tails());
        ReplicaStatus {
            shard,
            node,
            applied,
            durable,
            max_epoch: Epoch(1),
            following,
        }
    }

    /// Waits until the messages stream begins after an offset.
    async fn trimmed_to(&self, offset: Offset) {
        in_time(async {
            while self
                .raw(M)
                .await
                .first()
                .is_some_and(|raw| raw.last <= offset)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn durable(&self) {
        let mut durable = self.handle().0.durable.clone();
        let upto = self.tails().map(|tail| tail.offset);
        let reached =
            |durable: &PerStream<Offset>| durable.zip(upto).all(|(durable, upto)| durable >= upto);
        in_time(durable.wait_for(reached)).await.expect("lives");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_not_trimmed_beyond_what_is_durable_at_a_standby_in_sync() {
    let bench = Bench::with(trimming()).await;
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench.durable().await;
    assert_eq!(
        bench.handle().standbys(),
        [(NodeId::from("node-b"), false)],
        "nobody has heard of it yet"
    );
    assert_eq!(bench.raw(M).await[0].last, Offset(1));
    let middle = bench.raw(M).await[3].last;
    let at = |offset| PerStream {
        messages: Tail {
            offset,
            ..Tail::EMPTY
        },
        receipts: Tail::EMPTY,
    };
    bench
        .handle()
        .reported(bench.report("node-b", at(middle), Following::Live));
    bench.trimmed_to(middle).await;
    bench.fill(5, 5).await;
    bench.durable().await;
    assert_eq!(bench.raw(M).await[0].last, middle.next());
    assert_eq!(
        bench.handle().status().standbys,
        [(NodeId::from("node-b"), true)]
    );
    // It falls silent: out of sync soon, but its time is not over yet.
    bench.clock.pass(Duration::from_secs(3));
    assert_eq!(
        bench.handle().status().standbys,
        [(NodeId::from("node-b"), false)]
    );
    bench.clock.pass(Duration::from_millis(26_999));
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench.turn().await;
    assert_eq!(bench.raw(M).await[0].last, middle.next());
    bench.clock.pass(Duration::from_millis(1));
    bench
        .trimmed_to(Offset(bench.tails().messages.offset.0 - 1))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_trims_nothing_before_its_standbys_are_heard_or_out() {
    let shared = Config {
        takeover_watch: Some(Duration::from_secs(3)),
        ..trimming()
    };
    let bench = Bench::with(shared).await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench.durable().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        bench.raw(M).await[0].last,
        Offset(1),
        "its row is not known"
    );
    bench
        .handle()
        .set_standbys(vec![NodeId::from("node-b"), NodeId::from("node-c")]);
    bench
        .handle()
        .reported(bench.report("node-b", bench.tails(), Following::Live));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        bench.raw(M).await[0].last,
        Offset(1),
        "node-c was not heard"
    );
    let out = bench.report("node-c", PerStream::both(Tail::EMPTY), Following::Behind);
    bench.handle().reported(out);
    bench.trimmed_to(Offset(1)).await;
    let both = [
        (NodeId::from("node-b"), true),
        (NodeId::from("node-c"), false),
    ];
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
    let mut second = 1_010;
    in_time(async {
        while progresses(second) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            second += 1;
        }
    })
    .await;
    assert!(!progresses(second + 1));
    bench.log.stall_reads(false);
    bench.applied().await;
    assert!(progresses(second + 2));
}

/// The proportions of the defaults: 128 MiB against 500,000 records of 300 bytes and more.
async fn with_a_small_cap() -> Bench {
    let bench = Bench::with(Config {
        stream_bytes_max: 400 * 1024,
        ..config()
    })
    .await;
    bench.create("c", &["alice"]).await;
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_cannot_checkpoint_does_not_stop_the_writes_of_its_owner_for_ever() {
    let bench = with_a_small_cap().await;
    let report = || {
        bench.handle().reported(bench.report(
            "node-b",
            PerStream::both(Tail::EMPTY),
            Following::Live,
        ))
    };
    let text = "x".repeat(10_000);
    // More than the log may hold, by twice; one that is refused for the moment is sent again.
    for _ in 0..80 {
        bench.clock.pass(Duration::from_secs(1));
        in_time(async {
            report();
            while bench.execute(send("c", "alice", &text)).await.is_err() {
                report();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    assert_eq!(
        bench.handle().standbys(),
        [(NodeId::from("node-b"), false)],
        "what it lacks on its disk is gone"
    );
    bench.durable().await;
    bench
        .handle()
        .reported(bench.report("node-b", bench.tails(), Following::Live));
    assert_eq!(bench.handle().standbys(), [(NodeId::from("node-b"), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_log_when_a_shard_is_opened_counts_towards_its_cap() {
    let mut bench = Bench::with(Config {
        stream_bytes_max: 400 * 1024,
        ..config()
    })
    .await;
    bench.create("c", &["alice"]).await;
    let text = "x".repeat(10_000);
    for _ in 0..9 {
        in_time(bench.execute(send("c", "alice", &text)))
            .await
            .expect("sent");
    }
    bench.at_rest().await;
    bench.restart().await;
    let stood = bench
        .handle()
        .0
        .workers
        .lock()
        .expect("whole")
        .as_ref()
        .expect("run")
        .stood();
    in_time(async {
        while stood.borrow().bytes.messages < 90_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Beyond the floor's share it is trimmed, the oldest first, and counts no more.
    for _ in 0..20 {
        in_time(async { while bench.execute(send("c", "alice", &text)).await.is_err() {} }).await;
    }
    bench.durable().await;
    in_time(async {
        while stood.borrow().bytes.messages > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(stood.borrow().gone.messages == Offset(0) && bench.raw(M).await[0].last > Offset(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_never_ends_does_not_stop_the_writes_of_its_shard() {
    let bench = with_a_small_cap().await;
    bench.handle().set_standbys(Vec::new());
    bench.at_rest().await;
    let _read = bench.handle().0.store.endless_read().await;
    let text = "x".repeat(10_000);
    for _ in 0..80 {
        bench.clock.pass(Duration::from_secs(1));
        in_time(async { while bench.execute(send("c", "alice", &text)).await.is_err() {} }).await;
    }
    assert!(bench.handle().progresses(bench.clock.since_boot()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_makes_nothing_durable_gives_way_to_a_standby_in_sync_that_does_and_alone_keeps_the_shard()
 {
    let bench = with_a_small_cap().await;
    bench.at_rest().await;
    bench.durable().await;
    let store = bench.handle().0.store.clone();
    let _read = store.endless_read().await;
    // As on a disk that does not sync: what the reader keeps in the WAL cannot be brought there.
    let wal = bench.folder.path().join("s3.db-wal");
    std::fs::rename(&wal, bench.folder.path().join("away")).expect("renamed");
    bench.send("c", "alice", "applied, never durable").await;
    let is_applied = || {
        let at = store.progress();
        at.applied == bench.tails() && at.durable != at.applied && bench.handle().status().lag == 0
    };
    in_time(async {
        while !is_applied() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let gets_on = |seconds: u64, standby: Option<PerStream<Tail>>| {
        bench.clock.pass(Duration::from_secs(seconds));
        standby.into_iter().for_each(|durable| {
            bench
                .handle()
                .reported(bench.report("node-b", durable, Following::Live))
        });
        bench.handle().progresses(bench.clock.since_boot())
    };
    let (all, as_little) = (bench.tails(), store.progress().durable);
    assert!(
        gets_on(0, Some(all)) && gets_on(29, Some(all)),
        "a checkpoint may be late"
    );
    assert!(!gets_on(1, Some(all)), "another has it on its disk");
    assert!(gets_on(1, Some(as_little)), "that one is no better");
    assert!(gets_on(3_600, None), "alone it keeps the shard");
    assert!(!gets_on(1, Some(all)));
    std::fs::rename(bench.folder.path().join("away"), &wal).expect("renamed");
    bench.durable().await;
    assert!(gets_on(1, Some(all)), "it is well again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_file_is_damaged_ends_where_another_replica_can_go_on() {
    for has_standby in [false, true] {
        let bench = talkative().await;
        let store = bench.handle().0.store.clone();
        // The table is where nothing is.
        store.execute("PRAGMA writable_schema = 1").await;
        store
            .execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'messages'")
            .await;
        store.execute("PRAGMA schema_version = 999").await;
        if has_standby {
            bench.handle().set_standbys(vec![NodeId::from("node-b")]);
            bench
                .handle()
                .reported(bench.report("node-b", bench.tails(), Following::Live));
        }
        drop(bench.execute(send("c", "alice", "one more")));
        if has_standby {
            in_time(bench.handle().closed()).await;
            assert!(matches!(
                bench.handle().fault(),
                Some(Following::Damaged(_))
            ));
            continue;
        }
        let mut ends = bench
            .handle()
            .0
            .workers
            .lock()
            .expect("whole")
            .as_ref()
            .expect("run")
            .following();
        in_time(ends.wait_for(|ends| *ends != Following::Live))
            .await
            .expect("lives");
        bench.turn().await;
        assert_eq!(
            (bench.handle().fault(), *bench.handle().0.closed.borrow()),
            (None, false),
            "alone it stays"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_a_read_meets_ends_the_owner_where_another_replica_can_go_on() {
    let bench = talkative().await;
    bench.at_rest().await;
    let store = bench.handle().0.store.clone();
    // What only reads of one kind look at.
    store.execute("PRAGMA writable_schema = 1").await;
    store
        .execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'reactions'")
        .await;
    store.execute("PRAGMA schema_version = 999").await;
    let read = bench.history("c", "alice", Around::Newest, 10).await;
    assert!(matches!(read, Err(ShardError::Problem(problem)) if problem.code == Code::Unavailable));
    bench.turn().await;
    let is_open = || (bench.handle().fault(), *bench.handle().0.closed.borrow()) == (None, false);
    assert!(is_open(), "alone it stays");
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench
        .handle()
        .reported(bench.report("node-b", bench.tails(), Following::Behind));
    bench.turn().await;
    assert!(is_open(), "its file is to be given to that one first");
    bench
        .handle()
        .reported(bench.report("node-b", bench.tails(), Following::Live));
    in_time(bench.handle().closed()).await;
    assert!(matches!(
        bench.handle().fault(),
        Some(Following::Damaged(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_ahead_once_does_not_end_the_floor_of_raw_entries() {
    let bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.create("d", &["alice"]).await;
    bench.clock.set(START + 30 * 60 * 1000);
    bench.send("c", "alice", "from the future").await;
    bench.clock.set(START + 1_000);
    for number in 0..20 {
        bench.send("d", "alice", &number.to_string()).await;
        bench.applied().await;
    }
    bench.at_rest().await;
    bench.durable().await;
    let store = bench.handle().0.store.clone();
    store.checkpoint().await.expect("done");
    store.checkpoint().await.expect("done");
    let kept = store
        .kept_entries(M, Offset(0), usize::MAX)
        .await
        .expect("reads");
    assert!(
        kept.len() >= 20,
        "the newest minute is kept in the file: {}",
        kept.len()
    );
    assert!(bench.raw(M).await.len() >= 20, "and in the log");
}
