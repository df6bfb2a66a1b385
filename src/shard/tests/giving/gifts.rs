//! Which shard is given, and what becomes of the gift.

use super::*;
use crate::ids::Epoch;
use crate::log::record::Entry;
use crate::shard::tests::standby::stranger;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_given_away_and_what_was_parked_is_written_once_at_the_other_node() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    let tails = still.tails();
    assert_eq!(tails, bench.tails());
    let parked = tokio::spawn(bench.execute(send_key("c", "alice", "parked", "k1")));
    bench.parked(1).await;
    assert!(
        in_time(follower.standby.holds(M, tails.messages, soon())).await,
        "it is warm"
    );

    let (token, _) = given(still, &way).await;
    assert_eq!(token.epoch, Epoch(2));
    assert!(bench.handle().is_closed());
    assert_unwritten(in_time(parked).await.expect("answered"));
    let control = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed");
    assert_eq!(
        (control.token, &control.owner, control.tails),
        (token, &node_b(), tails)
    );

    let taken = received(&follower, token, tails).await.expect("opens");
    assert_eq!((taken.epoch(), taken.status().owner), (Epoch(2), node_b()));
    let again = send_key("c", "alice", "parked", "k1");
    assert_eq!(
        seq_of(in_time(taken.execute(again.clone(), soon())).await),
        (Seq(7), false)
    );
    assert_eq!(
        seq_of(in_time(taken.execute(again, soon())).await),
        (Seq(7), true)
    );
    // The log is one history.
    for stream in Stream::BOTH {
        let mut tail = Tail::EMPTY;
        for raw in bench.raw(stream).await {
            tail = Entry::decode_after(&tail, &raw.bytes).expect("links").tail;
        }
        assert_eq!(tail, taken.tails()[stream]);
    }
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_never_rests_keeps_the_shard_where_it_is() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    way.crossed.store(u32::MAX, Ordering::SeqCst);
    let outcome = in_time(still(&bench).await.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Kept(_)), "{outcome:?}");
    assert_eq!(
        bench.read(last()).await.expect("reads").1,
        Freshness::Strict
    );
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(7));
}

// Interleaving 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_taken_meanwhile_is_not_given_and_ends() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    bench.taken_by("node-c").await;
    let outcome = in_time(still.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Taken), "{outcome:?}");
    in_time(bench.handle().closed()).await;
}

// Interleaving 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_log_ends_elsewhere_is_not_given() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    // The log has something that its owner knows nothing of.
    let written = stranger(still.tails().messages, 1);
    let tail = crate::log::record::Header::read(&written.bytes)
        .expect("an entry")
        .tail();
    let token = bench.handle().hold().1;
    let expected = still.tails().messages;
    let batch = Batch {
        shard: SHARD,
        stream: M,
        token,
        expected,
        tail,
        bytes: written.bytes,
    };

    assert_eq!(
        bench.log.inner.append(&[batch]).await,
        [Ok(AppendOutcome::Appended)]
    );

    let outcome = in_time(still.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Kept(_)), "{outcome:?}");
    assert!(bench.handle().is_proven());
}

// Interleaving 9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gift_that_is_not_current_any_more_is_not_opened() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let (token, tails) = given_at_rest(&bench, &way).await;
    bench.taken_by("node-c").await;
    let refused = received(&follower, token, tails)
        .await
        .expect_err("another has it");
    assert!(matches!(refused, OpenError::Elsewhere(_)), "{refused:?}");
}

// Interleaving 10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_given_a_shard_moves_its_beat_before_it_reads_strictly() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let (token, tails) = given_at_rest(&bench, &way).await;
    let before = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed")
        .beat;
    // Long after it was given: a third node may have watched that beat for as long.
    bench.clock.pass(T);

    let taken = received(&follower, token, tails).await.expect("opens");
    let after = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed")
        .beat;
    assert!(
        after > before + 2,
        "a renewal, and the first entry of each stream: {before} to {after}"
    );

    assert_eq!(
        in_time(taken.query(last(), soon())).await.expect("reads").1,
        Freshness::Strict
    );
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_ownership_is_not_proven_is_not_given() {
    let (bench, _follower) = pair().await;
    bench.clock.pass(T);
    assert!(in_time(bench.handle().stand_still(soon())).await.is_err());
    bench.renew().await;
    drop(still(&bench).await);
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(7));
}
