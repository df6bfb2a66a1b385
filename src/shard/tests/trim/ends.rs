//! Owners that cannot go on give way to those who can.

use super::*;
use crate::shard::tests::standby::talkative;

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
