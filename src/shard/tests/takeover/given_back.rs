//! The log gets back what it lost of its end.

use super::*;
use crate::ids::Epoch;
use crate::log::PerStream;
use crate::log::record::Header;
use crate::shard::Standby;
use crate::shard::tests::standby::talkative;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_a_suffix_gets_it_back_from_the_standbys_file_byte_for_byte() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);

    let had = bench.raws().await;
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..had.messages.len() - 4],
                receipts: &had.receipts[..1],
            },
        )
        .await;
    let follower = bench.follower("node-b").await;

    let taken = in_time(follower.standby.clone().take_over(bench.watched().await))
        .await
        .expect("takes over");
    for (stream, had) in had.iter() {
        let has = bench.raw(stream).await;
        assert_eq!(
            (has.len(), &has[..had.len()]),
            (had.len() + 1, had.as_slice()),
            "the epoch's start beside"
        );
        assert_eq!(
            Header::read(&has[had.len()].bytes).expect("an entry").epoch,
            Epoch(2)
        );
    }

    assert_whole(&bench).await;
    assert_eq!(taken.epoch(), Epoch(2));
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_starts_again_gives_the_log_back_what_it_lost() {
    let mut bench = talkative().await;
    let had = bench.raws().await;
    bench.handle().close(soon()).await;
    bench.pump.abort();

    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..1],
                receipts: &[],
            },
        )
        .await;
    bench.reopen().await;

    assert_eq!(bench.raw(M).await[..had.messages.len()], had.messages);
    assert_eq!(
        bench.texts("c", "bob").await,
        ["m0", "m1", "m2", "m3", "m4"]
    );

    bench.fill(5, 1).await;
    assert_whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_the_log_forgot_is_made_again_and_its_suffix_comes_back() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;

    let before = bench.raws().await;
    let taken = in_time(follower.standby.clone().take_over(bench.watched().await))
        .await
        .expect("takes over");
    drop(follower);
    let Ok(Done::Sent { .. }) = in_time(taken.execute(send("c", "alice", "m5"), soon())).await
    else {
        panic!("not sent")
    };
    let had = bench.raw(M).await;
    taken.close(soon()).await;

    // Every copy that knew of epoch 2 is gone; the log says node-a, epoch 1.
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &before.messages,
                receipts: &before.receipts,
            },
        )
        .await;
    let standby = Standby::open(bench.opening_of("node-b"))
        .await
        .expect("opens");
    assert_eq!(
        standby.status().max_epoch,
        Epoch(2),
        "a rollback is proven by this"
    );

    let again = in_time(standby.take_over(bench.watched().await))
        .await
        .expect("claims at once");
    assert_eq!(again.epoch(), Epoch(3));

    assert_eq!(bench.raw(M).await[..had.len()], had);
    assert_whole(&bench).await;
    again.close(soon()).await;
}
