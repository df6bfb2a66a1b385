//! What a standby has of the log that it follows.

use super::*;
use crate::shard::replicas::ReplicaStatus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_follows_and_has_the_owners_digest_at_equal_tails() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    bench.fill(5, 20).await;
    // A restart of either changes nothing.
    bench.restart().await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.fill(25, 3).await;

    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    // The owner's file may be a few milliseconds behind the standby's.
    bench.applied().await;

    let (ours, theirs) = (
        bench.handle().digest().await.expect("reads"),
        follower.standby.digest().await.expect("reads"),
    );
    assert_eq!((ours.applied, &ours), (bench.tails(), &theirs));

    let status = follower.standby.status();
    let of_owner = ReplicaStatus {
        node: NodeId::from("node-b"),
        durable: status.durable,
        ..bench.handle().replica_status()
    };

    assert_eq!(status, of_owner);
    assert_eq!(status.max_epoch, Epoch(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_claims_and_trims_nothing() {
    let mut config = config();
    config.worker.trim_floor = Duration::ZERO;
    config.worker.trim_floor_bytes = 0;

    let mut bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 3).await;

    let before = (
        bench.log.inner.control(SHARD).await.expect("reads"),
        bench.raw(M).await.len(),
    );
    bench.config = config;

    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    in_time(async {
        while follower.standby.status().durable != bench.tails() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    assert_eq!(
        (
            bench.log.inner.control(SHARD).await.expect("reads"),
            bench.raw(M).await.len()
        ),
        before
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_holds_what_its_file_has_and_nothing_of_another_history() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.stop_looking();
    let PerStream { messages, receipts } = bench.tails();

    // Nobody told it of the tail but who asks.
    assert!(follower.standby.holds(M, messages, soon()).await);
    assert!(follower.standby.holds(R, receipts, soon()).await);

    bench.fill(5, 2).await;
    let later = bench.tails().messages;
    assert!(follower.standby.holds(M, later, soon()).await);
    assert!(
        follower.standby.holds(M, messages, shortly()).await,
        "its past"
    );

    let other = Tail {
        offset: messages.offset,
        ..later
    };
    assert!(!follower.standby.holds(M, other, shortly()).await);

    let beyond = Tail {
        offset: Offset(later.offset.0 + 1),
        ..later
    };
    assert!(!follower.standby.holds(M, beyond, shortly()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_standby_link_to_what_was_asked_for() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;

    let had = bench.raw(M).await;
    let after = |after| follower.standby.entries_after(M, after, usize::MAX);
    assert_eq!(after(Tail::EMPTY).await.expect("reads"), had);

    let third = Header::read(&had[2].bytes).expect("an entry").tail();
    assert_eq!(after(third).await.expect("reads"), had[3..]);
    assert_eq!(
        bench
            .handle()
            .entries_after(M, third, usize::MAX)
            .await
            .expect("reads"),
        had[3..]
    );

    assert_eq!(
        follower
            .standby
            .entries_after(M, third, 1)
            .await
            .expect("reads")
            .len(),
        1
    );

    assert!(
        after(Tail {
            offset: third.offset,
            ..Tail::EMPTY
        })
        .await
        .expect("reads")
        .is_empty(),
        "another chain"
    );
    assert!(
        after(bench.tails().messages)
            .await
            .expect("reads")
            .is_empty()
    );
}
