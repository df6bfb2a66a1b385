//! A lost token, and a close in the middle.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_token_closes_the_shard_and_it_can_be_opened_again() {
    let mut bench = settled().await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "bob", None).await;
    bench.take_token().await;

    let fenced = in_time(bench.execute(send("c", "alice", "fenced"))).await;
    assert_eq!(
        fenced.expect_err("fenced"),
        ShardError::NotOwner,
        "surely nothing was done"
    );

    in_time(bench.handle().closed()).await;
    assert!(matches!(
        pushed(&mut queue).await,
        Push::Resubscribe { shard: SHARD }
    ));
    assert_eq!(
        in_time(bench.execute(send("c", "alice", "no one")))
            .await
            .expect_err("closed"),
        ShardError::NotOwner
    );

    assert_eq!(
        bench.view("c", "bob").await.expect_err("closed"),
        ShardError::NotOwner
    );
    assert_eq!(
        in_time(bench.handle().subscribe(&node, Vec::new(), soon()))
            .await
            .expect_err("closed"),
        ShardError::NotOwner
    );

    let before = bench.handle().epoch();
    bench.restart().await;
    assert!(bench.handle().epoch() > before);
    assert_eq!(bench.send("c", "alice", "again").await.core.seq, Seq(3));
    assert_eq!(bench.texts("c", "bob").await, ["first", "again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lost_while_a_batch_is_in_doubt_leaves_its_outcome_unknown() {
    for fault in [Fault::DoubtWritten, Fault::DoubtNotWritten] {
        let mut bench = settled().await;
        bench.log.always(Some(fault));
        let attempts = bench.log.attempts_of(M);
        let doubtful = bench.execute(send_key("c", "alice", "doubtful", "key"));
        // Attempts are counted as they begin: when the second one has, the first has had its
        // effect.
        bench.log.attempted(M, attempts + 2).await;
        bench.take_token().await;
        bench.log.always(None);
        assert_eq!(code(in_time(doubtful).await), Code::OutcomeUnknown);
        in_time(bench.handle().closed()).await;
        bench.restart().await;
        let again = in_time(bench.execute(send_key("c", "alice", "doubtful", "key"))).await;
        assert_eq!(replayed(again), fault == Fault::DoubtWritten);
        assert_eq!(bench.texts("c", "bob").await, ["first", "doubtful"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_in_time_though_a_batch_is_in_doubt_and_the_shard_can_be_opened_again() {
    for fault in [Fault::DoubtWritten, Fault::DoubtNotWritten] {
        let mut bench = settled().await;
        bench.log.always(Some(fault));
        let attempts = bench.log.attempts_of(M);
        let doubtful = bench.execute(send("c", "alice", "doubtful"));
        bench.log.attempted(M, attempts + 1).await;
        in_time(bench.handle().close(shortly())).await;
        assert_eq!(
            in_time(bench.execute(send("c", "alice", "x")))
                .await
                .expect_err("closing"),
            ShardError::NotOwner
        );
        let reopened = tokio::spawn(crate::shard::open(bench.opening()));
        let mut wanted = bench.log.attempts.subscribe();
        // The first append of the new owner is in doubt like all others; then the log recovers.
        in_time(wanted.changed()).await.expect("lives");
        bench.log.always(None);
        let handle = in_time(reopened).await.expect("runs").expect("opens");
        match in_time(doubtful).await {
            Ok(done) => assert!(
                matches!(done, Done::Sent { .. }),
                "committed before the claim"
            ),
            refused => assert_eq!(code(refused), Code::OutcomeUnknown),
        }
        bench.pump.abort();
        bench.open = Some(handle);
        let texts = bench.texts("c", "bob").await;
        assert!(
            texts == ["first", "doubtful"] || texts == ["first"],
            "{texts:?}"
        );
        assert_eq!(
            bench.send("c", "alice", "on").await.core.seq,
            Seq(texts.len() as u64 + 2)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_finishes_what_is_begun() {
    let mut bench = settled().await;
    bench.log.hold();
    let sends: Vec<_> = (0..50)
        .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
        .collect();
    let handle = bench.handle().clone();
    let closing = tokio::spawn(async move { handle.close(soon()).await });
    bench.log.release();
    for outcome in in_time(futures_util::future::join_all(sends)).await {
        sent(outcome);
    }
    in_time(closing).await.expect("ends");
    bench.pump.abort();
    bench.reopen().await;
    assert_eq!(bench.texts("c", "bob").await.len(), 51);
}
