//! How a shard ends that another has taken.

use super::*;
use crate::shard::OpenError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_taken_by_another_ends_and_is_not_claimed_back() {
    let mut bench = leased().await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "bob", None).await;
    bench.taken_by("node-b").await;

    let taken = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed");
    bench.renew().await;
    in_time(bench.handle().closed()).await;

    assert_eq!(
        bench.read(history("bob")).await.expect_err("closed"),
        ShardError::NotOwner
    );
    assert_eq!(
        in_time(bench.execute(send("c", "alice", "x")))
            .await
            .expect_err("closed"),
        ShardError::NotOwner
    );
    assert!(matches!(
        pushed(&mut queue).await,
        Push::Resubscribe { shard: SHARD }
    ));

    bench.pump.abort();
    bench.open = None;

    let again = in_time(crate::shard::open(bench.opening())).await;
    assert!(matches!(again, Err(OpenError::Elsewhere(_))), "{again:?}");
    assert_eq!(
        bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed"),
        taken
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_when_a_shard_is_taken_has_an_unknown_outcome() {
    let bench = leased().await;
    bench.log.hold();
    let attempts = bench.log.attempts_of(M);
    let doubtful = bench.execute(send("c", "alice", "perhaps"));
    bench.log.attempted(M, attempts + 1).await;
    bench.taken_by("node-b").await;
    bench.renew().await;
    assert_eq!(code(in_time(doubtful).await), Code::OutcomeUnknown);
    in_time(bench.handle().closed()).await;
    bench.log.release();
}
