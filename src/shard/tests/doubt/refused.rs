//! Appends that are refused: what was decided upon them is taken back.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_append_takes_everything_back_and_the_shard_goes_on() {
    let bench = settled().await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "alice", None).await;
    bench.log.hold();
    bench.log.fault(M, &[Fault::NotWritten]);

    let attempts = bench.log.attempts_of(M);
    let first = bench.execute(send_key("c", "alice", "void", "key"));
    bench.log.attempted(M, attempts + 1).await;

    // These gather behind the batch that will be refused.
    let adding = bench.execute(add("c", "alice", &["carol"]));
    let removal = bench.execute(remove("c", "alice", "bob"));
    let other = bench.execute(create("d", &["dave"]));
    let carols = bench.execute(send("c", "carol", "void too"));
    bench.waiting(5).await;
    bench.log.release();

    for refused in [
        in_time(first).await,
        in_time(adding).await,
        in_time(removal).await,
        in_time(other).await,
    ] {
        assert_eq!(code(refused), Code::Unavailable);
    }

    assert_eq!(code(in_time(carols).await), Code::Unavailable);
    assert!(queue.try_recv().is_err(), "nothing of it was pushed");
    assert_eq!(code(bench.view("c", "carol").await), Code::NotParticipant);
    assert_eq!(
        bench.view("c", "bob").await.expect("still in").last_seq,
        Seq(2)
    );

    // The same key is free, the seq too, and so is the name.
    let again = in_time(bench.execute(send_key("c", "bob", "second", "key"))).await;
    assert_eq!(sent(again).core.seq, Seq(3));

    let again = in_time(bench.execute(send_key("c", "alice", "third", "key"))).await;
    assert!(!replayed(again));

    bench.create("d", &["erin"]).await;
    assert_eq!(
        bench.texts("c", "alice").await,
        ["first", "second", "third"]
    );
    assert_eq!(bench.events("c", "alice").await.len(), 4);
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_before_a_refusal_stays_though_the_file_lags() {
    let bench = settled().await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "committed, not applied").await;
    bench.log.fault(M, &[Fault::NotWritten]);

    assert_eq!(
        code(in_time(bench.execute(send("c", "alice", "void"))).await),
        Code::Unavailable
    );

    // Decided only when the file has what was committed: else this would be another message of the
    // same seq.
    let mut next = Box::pin(bench.execute(send("c", "bob", "after it")));

    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut next)
            .await
            .is_err()
    );

    bench.log.stall_reads(false);
    assert_eq!(sent(in_time(next).await).core.seq, Seq(4));
    assert_eq!(
        bench.texts("c", "bob").await,
        ["first", "committed, not applied", "after it"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_under_way_during_a_refusal_decides_nothing_wrong() {
    let bench = settled().await;
    let reply_to = bench.newest("c", "bob").await;

    for round in 0..20_u64 {
        bench.log.fault(M, &[Fault::NotWritten]);
        let void = bench.execute(send("c", "alice", "void"));
        // Both need look-ups, during which the refusal comes.
        let reply = bench.execute(send_with("c", "bob", "reply", None, Some(reply_to)));
        let key = bench.execute(send_key("c", "bob", "keyed", &format!("key-{round}")));
        let outcomes = [
            in_time(void).await,
            in_time(reply).await,
            in_time(key).await,
        ];
        assert!(
            outcomes.iter().any(Result::is_err),
            "the refusal hit something"
        );
        for (text, outcome) in ["void", "reply", "keyed"].into_iter().zip(outcomes) {
            if let Err(refused) = outcome {
                assert_eq!(code::<()>(Err(refused)), Code::Unavailable);
                let again = in_time(bench.execute(send("c", "bob", text))).await;
                sent(again);
            }
        }
    }

    // 2 before, and each of the three once in each round.
    assert_eq!(bench.events("c", "bob").await.len(), 62);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_receipt_takes_the_watermark_back() {
    let bench = settled().await;
    let message = bench.send("c", "alice", "read me").await;
    bench.log.fault(R, &[Fault::NotWritten]);

    assert_eq!(
        code(in_time(bench.execute(mark_read(&message, "bob"))).await),
        Code::Unavailable
    );

    let marks = |found| match found {
        Ok(Found::Watermarks(page)) => page.items,
        other => panic!("{other:?}"),
    };
    let query = || Query::Watermarks {
        name: conversation("c"),
        reader: user("bob"),
        after: None,
        limit: 10,
    };
    let before = marks(bench.query(query()).await);

    assert!(
        before.iter().all(|mark| mark.read_up_to < message.core.seq),
        "{before:?}"
    );

    // Not "behind the watermark": it is written now.
    assert!(matches!(
        in_time(bench.execute(mark_read(&message, "bob"))).await,
        Ok(Done::Marked)
    ));

    let after = marks(bench.query(query()).await);
    assert!(
        after
            .iter()
            .any(|mark| mark.user == user("bob") && mark.read_up_to == message.core.seq),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox_progress_that_was_refused_is_told_again() {
    let mut bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.applied().await;
    // Index changes and progress are refused now and then.
    bench.log.fault(M, &[Fault::NotWritten, Fault::NotWritten]);

    let outcome = in_time(bench.execute(add("c", "alice", &["carol"]))).await;
    assert_eq!(code(outcome), Code::Unavailable);

    while bench.add("c", "alice", &["carol"]).await.is_err() {}
    let store = bench.handle().0.store.clone();
    in_time(async {
        while !store
            .outbox(Default::default(), 10)
            .await
            .expect("reads")
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(store);
    bench.restart().await;

    let query = Query::Index {
        user: user("carol"),
        after: None,
        archived: None,
        limit: 10,
    };
    let Ok(Found::Index(items)) = bench.query(query).await else {
        panic!("no index")
    };
    assert_eq!(items.len(), 1);
}
