//! How far the log may be trimmed.

use super::*;

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
