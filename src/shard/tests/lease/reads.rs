//! Reads within the lease, and beyond it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_strict_until_the_lease_ends_and_again_after_a_proof() {
    let bench = leased().await;
    bench.clock.pass(LEASE - Duration::from_millis(1));
    assert_eq!(
        bench.read(history("bob")).await.expect("reads").1,
        Freshness::Strict
    );

    bench.clock.pass(Duration::from_millis(1));
    assert_eq!(
        bench.read(history("bob")).await.expect("reads").1,
        Freshness::Stale { ms: 2_700 }
    );

    // A renewal that the log does not answer proves nothing.
    bench.log.silence(true);
    bench.renew().await;

    assert!(matches!(
        bench.read(view("bob")).await,
        Ok((_, Freshness::Stale { .. }))
    ));

    bench.log.silence(false);
    bench.renew().await;
    assert_eq!(
        bench.read(view("bob")).await.expect("reads").1,
        Freshness::Strict
    );

    // The time of day has nothing to do with it.
    bench.clock.set(START + 86_400_000);
    assert_eq!(
        bench.read(view("bob")).await.expect("reads").1,
        Freshness::Strict
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_counts_from_when_its_proof_was_sent() {
    let bench = leased().await;
    let (hold, sent) = (bench.handle().hold(), bench.clock.since_boot());
    let current = bench.log.renew(&[hold]).await.remove(0).expect("answers");
    // The answer was long on its way.
    bench.clock.pass(LEASE);
    bench.handle().renewed(sent, current);
    assert_eq!(
        bench.read(history("bob")).await.expect("reads").1,
        Freshness::Stale { ms: 2_700 }
    );
}

// Invariant I5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_gathered_before_and_answered_after_the_lease_is_marked() {
    let bench = leased().await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "second").await;

    let gathering = tokio::spawn({
        let handle = bench.handle().clone();
        async move { handle.query(summaries(), soon()).await }
    });

    // It has begun and waits for the worker; then the process is stopped, and goes on when the
    // lease is over.
    bench.turn().await;
    tokio::task::yield_now().await;
    bench.clock.pass(LEASE);
    bench.log.stall_reads(false);

    let (found, freshness) = in_time(gathering).await.expect("runs").expect("reads");
    assert!(["first", "second"].contains(&last_message(found).as_str()));
    assert!(
        matches!(freshness, Freshness::Stale { .. }),
        "{freshness:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_behind_its_barrier_is_lagging_within_the_lease_and_marked_beyond_it() {
    let mut bench = Bench::with(Config {
        takeover_watch: Some(T),
        barrier_max: Duration::from_millis(100),
        ..config()
    })
    .await;

    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "second").await;
    assert_eq!(code(bench.read(summaries()).await), Code::Lagging);

    bench.clock.pass(LEASE);
    bench.log.silence(true);

    let (found, freshness) = bench.read(summaries()).await.expect("reads");
    assert_eq!(
        (last_message(found).as_str(), freshness),
        ("first", Freshness::Stale { ms: 2_700 })
    );

    // The list of messages has the tail in memory as ever.
    let (found, freshness) = bench.read(history("bob")).await.expect("reads");
    let Found::History(page) = found else {
        panic!("{found:?}")
    };

    assert_eq!(
        page.items
            .iter()
            .map(|m| m.core.text.as_str())
            .collect::<Vec<_>>(),
        ["first", "second"]
    );
    assert_eq!(freshness, Freshness::Stale { ms: 2_700 });

    // Whose index is read in full or not at all.
    let (node, _queue) = subscriber(8);
    bench.log.silence(false);
    bench.renew().await;
    assert_eq!(code(bench.read(summaries()).await), Code::Lagging);

    bench.log.stall_reads(false);
    assert_eq!(
        bench.read(summaries()).await.expect("reads").1,
        Freshness::Strict
    );

    drop(node);
    bench.restart().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_lacks_something_stays_marked_though_the_lease_is_renewed_meanwhile() {
    let bench = leased().await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "second").await;
    bench.clock.pass(LEASE);
    let reading = crate::shard::read::barrier::Reading::marked(soon());
    let found = in_time(bench.handle().0.find(summaries(), &reading))
        .await
        .expect("reads");
    assert_eq!(last_message(found), "first");
    bench.renew().await;
    assert_eq!(
        reading.freshness(&bench.handle().0),
        Freshness::Stale { ms: 2_700 }
    );
    bench.log.stall_reads(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_doubt_holds_up_no_read_once_the_lease_has_ended() {
    let bench = leased().await;
    bench.log.always(Some(Fault::DoubtNotWritten));

    let attempts = bench.log.attempts_of(M);
    let sending = bench.execute(send("c", "alice", "in doubt"));
    let adding = bench.execute(add("c", "alice", &["carol"]));
    let removing = bench.execute(remove("c", "alice", "bob"));
    bench.log.attempted(M, attempts + 1).await;
    bench.waiting(3).await;

    let early = bench.handle().query(view("bob"), shortly());
    assert_eq!(
        code(in_time(early).await),
        Code::Unavailable,
        "within the lease it waits for the commit"
    );

    bench.clock.pass(LEASE);
    let (found, freshness) = bench.read(view("bob")).await.expect("reads");
    let Found::Conversation(seen) = found else {
        panic!("{found:?}")
    };

    assert_eq!(
        (seen.last_seq, seen.participants_count),
        (Seq(2), 2),
        "as it is committed"
    );
    assert!(matches!(freshness, Freshness::Stale { .. }));

    let all = Query::Participants {
        name: conversation("c"),
        reader: user("bob"),
        after: None,
        limit: 10,
    };
    let (Found::Participants(page), _) = bench.read(all).await.expect("reads") else {
        panic!("no page")
    };

    assert_eq!(
        page.items
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["alice", "bob"]
    );

    let (Found::History(page), _) = bench.read(history("bob")).await.expect("reads") else {
        panic!("no page")
    };
    assert_eq!(page.items.len(), 1);

    bench.log.always(None);
    bench.renew().await;
    assert!(
        in_time(sending).await.is_ok()
            && in_time(adding).await.is_ok()
            && in_time(removing).await.is_ok()
    );
    assert_eq!(code(bench.view("c", "bob").await), Code::NotParticipant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_someone_is_out_is_not_said_without_a_proof() {
    let bench = leased().await;
    let (node, _queue) = subscriber(8);
    assert_eq!(
        code(bench.read(history("mallory")).await),
        Code::NotParticipant
    );
    assert!(matches!(
        bench.interest(&node, "c", "mallory", None).await,
        Subscribed::NotParticipant
    ));

    bench.clock.pass(LEASE);
    assert_eq!(code(bench.read(history("mallory")).await), Code::Stale);

    let answered = bench.interest(&node, "c", "mallory", None).await;
    assert!(
        matches!(answered, Subscribed::Failed(_)),
        "to be asked again: {answered:?}"
    );
    assert!(
        matches!(
            bench.interest(&node, "c", "bob", None).await,
            Subscribed::Live { .. }
        ),
        "who is in is served"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_else_can_take_the_shard_no_read_is_ever_marked() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.clock.pass(Duration::from_secs(1_000_000));
    assert_eq!(
        bench.read(history("bob")).await.expect("reads").1,
        Freshness::Strict
    );
}
