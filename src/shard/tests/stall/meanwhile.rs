//! What goes on while a log does not answer, and what rests.

use super::*;
use crate::log::record::{Entry, Record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_subscriptions_go_on_while_writes_are_parked() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let parked = bench.execute(send("c", "alice", "parked"));
    bench.parked(1).await;
    assert_eq!(bench.texts("c", "bob").await, ["first"]);

    let (node, mut queue) = subscriber(64);
    let Subscribed::Live { tail, .. } = bench.interest(&node, "c", "bob", None).await else {
        panic!("refused")
    };
    assert_eq!(tail, Seq(2));

    bench.log.always(None);
    sent(in_time(parked).await);
    sent(in_time(decided).await.expect("runs"));

    assert_eq!(
        [
            pushed_event(&mut queue).await.seq,
            pushed_event(&mut queue).await.seq
        ],
        [Seq(3), Seq(4)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_own_is_decided_while_the_log_is_stalled() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let before = bench.handle().status().committed;

    for round in 0..4 {
        bench.handle().outbox_delivered_upto(OutboxPosition {
            offset: Offset(before.messages.0),
            index: round,
        });
        in_time(bench.execute(delivered("c", "bob", 2)))
            .await
            .expect("taken");
        // Longer than the shard's housekeeping waits.
        tokio::time::sleep(Duration::from_millis(260)).await;
    }

    bench.log.always(None);
    sent(in_time(decided).await.expect("runs"));
    bench.send("c", "alice", "next").await;
    bench.at_rest().await;

    let entries = bench
        .log
        .inner
        .read(SHARD, M, before.messages, 1 << 20)
        .await
        .expect("reads");
    let records = entries
        .iter()
        .flat_map(|entry| Entry::records_of(&entry.bytes));
    let progress = records
        .filter(|record| matches!(record, Record::OutboxProgress { .. }))
        .count();
    assert!(
        progress <= 2,
        "told once for all, and perhaps once more: {progress}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_in_doubt_for_ever_does_not_stop_the_others_of_its_place() {
    let bench = settled(config()).await;
    let sick = ShardId(4);
    let path = bench.folder.path().join("sick.db");
    let opening = opening(
        bench.folder.path(),
        &bench.log,
        &bench.lane,
        &bench.clock,
        &config(),
    );

    let handle = crate::shard::open(Opening {
        shard: sick,
        path,
        ..opening
    })
    .await
    .expect("opens");

    bench.log.only(sick);
    bench.log.always(Some(Fault::DoubtNotWritten));
    let in_doubt = tokio::spawn(handle.execute(create("d", &["alice"]), soon()));

    // Nobody else writes meanwhile, so nothing but the batch in doubt is sent.
    is_stalled(&bench, sick).await;
    assert_eq!(bench.lane.standing(SHARD), Standing::Clear);

    for number in 0..5 {
        bench.send("c", "alice", &format!("{number}")).await;
    }

    assert!(!in_doubt.is_finished(), "it is in doubt still");
    in_doubt.abort();
}
