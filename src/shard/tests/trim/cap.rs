//! The cap of what is not durable yet, and who may not hold writes up by it.

use super::*;

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
