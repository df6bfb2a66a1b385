//! A shard comes to a stand before it is given, and goes on when it is not.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_stands_still_reads_on_decides_nothing_and_goes_on_when_let_go() {
    let (bench, _follower) = pair().await;
    let still = still(&bench).await;
    let parked = tokio::spawn(bench.execute(send("c", "alice", "parked")));
    bench.parked(1).await;
    let (_, freshness) = bench.read(last()).await.expect("reads");
    assert_eq!(freshness, Freshness::Strict);
    drop(still);
    assert_eq!(
        seq_of(in_time(parked).await.expect("answered")),
        (Seq(7), false)
    );
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_committed_and_answered_before_the_shard_stands_still() {
    let (bench, _follower) = pair().await;
    bench.log.hold();
    let on_its_way = tokio::spawn(bench.execute(send("c", "alice", "on its way")));
    bench.waiting(1).await;

    let handle = bench.handle().clone();
    let mut standing = Box::pin(async move { handle.stand_still(soon()).await });
    assert!(futures_util::poll!(standing.as_mut()).is_pending());

    let standing = tokio::spawn(standing);
    let parked = tokio::spawn(bench.execute(send("c", "alice", "later")));
    bench.parked(1).await;
    assert!(!standing.is_finished());

    bench.log.release();
    assert_eq!(
        seq_of(in_time(on_its_way).await.expect("answered")).0,
        Seq(7)
    );

    let still = in_time(standing)
        .await
        .expect("ends")
        .expect("stands still");
    assert_eq!(still.tails(), bench.tails());
    drop(still);
    assert_eq!(seq_of(in_time(parked).await.expect("answered")).0, Seq(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_does_not_come_to_a_stand_in_time_goes_on() {
    let (bench, _follower) = pair().await;
    bench.log.hold();
    let on_its_way = tokio::spawn(bench.execute(send("c", "alice", "on its way")));
    bench.waiting(1).await;
    assert!(bench.handle().stand_still(shortly()).await.is_err());
    let later = tokio::spawn(bench.execute(send("c", "alice", "later")));
    bench.log.release();
    assert_eq!(
        seq_of(in_time(on_its_way).await.expect("answered")).0,
        Seq(7)
    );
    assert_eq!(seq_of(in_time(later).await.expect("answered")).0, Seq(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_marks_that_nobody_has_decided_go_with_the_shard() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    let mark = Delivered {
        conversation: conversation("c"),
        user: user("bob"),
        up_to: Seq(6),
    };

    assert!(matches!(
        in_time(bench.execute(Command::Delivered(vec![mark.clone()]))).await,
        Ok(Done::Marked)
    ));

    bench.turn().await;
    let (_, marks) = given(still, &way).await;
    assert_eq!(
        marks
            .iter()
            .map(|mark| (mark.user.clone(), mark.up_to))
            .collect::<Vec<_>>(),
        [(mark.user, mark.up_to)]
    );
}
