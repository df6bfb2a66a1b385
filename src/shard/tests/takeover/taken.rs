//! A standby takes a shard over, or must not.

use super::*;
use crate::ids::Epoch;
use crate::log::PerStream;
use crate::log::record::Header;
use crate::shard::tests::standby::{stranger, talkative};
use crate::shard::{OpenError, Standby};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_and_the_old_owner_is_fenced() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let taking = bench.watched().await;

    // What was committed after its last look is in the log.
    follower.stop_looking();

    let taken = in_time(follower.standby.clone().take_over(taking))
        .await
        .expect("takes over");
    assert_eq!(
        (taken.epoch(), taken.status().owner),
        (Epoch(2), NodeId::from("node-b"))
    );
    let late = in_time(bench.execute(send("c", "alice", "late"))).await;
    assert!(late.is_err(), "{late:?}");

    in_time(bench.handle().closed()).await;
    assert_eq!(bench.handle().fault(), None, "taken, not unfit");

    let Ok(Done::Sent { message, .. }) =
        in_time(taken.execute(send("c", "alice", "m5"), soon())).await
    else {
        panic!("not sent")
    };

    assert_eq!(message.core.seq, Seq(7));
    assert_whole(&bench).await;
    assert!(
        !follower
            .standby
            .holds(M, bench.tails().messages, shortly())
            .await,
        "it is no standby any more"
    );
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_moved_refuses_the_takeover() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;

    let taking = bench.watched().await;
    assert_eq!(
        bench.log.inner.renew(&[bench.handle().hold()]).await,
        [Ok(true)]
    );

    let before = bench.log.inner.control(SHARD).await.expect("reads");
    let refused = in_time(follower.standby.clone().take_over(taking))
        .await
        .expect_err("its owner lives");
    assert!(matches!(refused, OpenError::Elsewhere(_)), "{refused:?}");

    assert_eq!(bench.log.inner.control(SHARD).await.expect("reads"), before);
    assert_eq!(
        bench.send("c", "alice", "m5").await.core.seq,
        Seq(7),
        "which is not disturbed"
    );

    // The file is closed, so it may follow again.
    drop(follower);
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_another_history_is_not_opened_and_nothing_is_served() {
    let mut bench = talkative().await;
    let had = bench.raws().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.handle().close(soon()).await;

    let mut other = had.messages[..had.messages.len() - 2].to_vec();
    let end = Header::read(&other.last().expect("some").bytes)
        .expect("an entry")
        .tail();
    other.push(stranger(end, 40));

    bench
        .put_log(
            "other.db",
            1,
            PerStream {
                messages: &other,
                receipts: &had.receipts,
            },
        )
        .await;
    let error = in_time(crate::shard::open(bench.opening()))
        .await
        .expect_err("not opened");
    assert!(matches!(error, OpenError::Diverged(_)), "{error:?}");

    assert_eq!(
        (bench.raw(M).await, bench.raw(R).await),
        (other.clone(), had.receipts.clone()),
        "nothing was written"
    );

    // A standby that has not looked yet finds it when it takes over.
    let standby = Standby::open(bench.opening_of("node-b"))
        .await
        .expect("opens");
    let error = in_time(standby.take_over(bench.watched().await))
        .await
        .expect_err("not opened");
    assert!(matches!(error, OpenError::Diverged(_)), "{error:?}");

    assert_eq!(
        (bench.raw(M).await, bench.raw(R).await),
        (other, had.receipts.clone())
    );
}
