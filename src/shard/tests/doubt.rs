//! The log in bad weather: refusals, doubt, a lost token, a close in the middle.

use super::*;

/// A conversation, with everything of it applied.
async fn settled() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}

// Invariant I4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_pushed_or_read_before_its_commit() {
    let bench = settled().await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "bob", None).await;
    bench.log.hold();
    let mut answer = Box::pin(bench.execute(send("c", "alice", "not yet")));
    let attempts = bench.log.attempts_of(M);
    bench.log.attempted(M, attempts.max(1)).await;
    assert_eq!(bench.texts("c", "bob").await, ["first"]);
    assert_eq!(bench.events("c", "bob").await.len(), 2);
    let Subscribed::Live { tail, events, .. } = bench.interest(&node, "c", "bob", Some(0)).await
    else {
        panic!()
    };
    assert_eq!((tail, events.len()), (Seq(2), 2));
    assert!(queue.try_recv().is_err(), "nothing was pushed");
    assert!(
        tokio::time::timeout(Duration::from_millis(20), &mut answer)
            .await
            .is_err(),
        "nothing was answered"
    );
    bench.log.release();
    assert_eq!(sent(in_time(answer).await).core.seq, Seq(3));
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(3));
    assert_eq!(bench.texts("c", "bob").await, ["first", "not yet"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conversation_itself_is_shown_only_as_it_is_committed() {
    let bench = settled().await;
    bench.log.hold();
    let adding = bench.execute(add("c", "alice", &["carol"]));
    let early = bench.handle().query(
        Query::Conversation {
            name: conversation("c"),
            reader: user("carol"),
        },
        shortly(),
    );
    assert_eq!(
        code(in_time(early).await.map(|(found, _)| found)),
        Code::Unavailable,
        "she is not in yet"
    );
    bench.log.release();
    assert!(in_time(adding).await.is_ok());
    assert_eq!(bench.view("c", "carol").await.expect("in").last_seq, Seq(3));
}

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
    let hers = bench.execute(send("c", "carol", "void too"));
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
    assert_eq!(code(in_time(hers).await), Code::Unavailable);
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
    let reply_to = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("reads")
        .items[0]
        .core
        .id;
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
async fn a_batch_in_doubt_is_one_message_whether_it_was_written_or_not() {
    let bench = settled().await;
    for faults in [
        &[Fault::DoubtWritten][..],
        &[Fault::DoubtNotWritten],
        &[
            Fault::DoubtWritten,
            Fault::DoubtWritten,
            Fault::DoubtNotWritten,
        ],
        &[Fault::DoubtNotWritten, Fault::DoubtWritten],
        // The log's "not written" speaks of the last attempt alone.
        &[Fault::DoubtWritten, Fault::NotWritten],
    ] {
        bench.log.fault(M, faults);
        bench.send("c", "alice", "doubtful").await;
    }
    assert_eq!(bench.texts("c", "bob").await.len(), 6);
    assert_eq!(bench.events("c", "bob").await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_wait_for_a_doubtful_batch_is_told_that_the_outcome_is_unknown() {
    let bench = settled().await;
    bench.log.always(Some(Fault::DoubtWritten));
    let impatient = bench
        .handle()
        .execute(send_key("c", "alice", "perhaps", "key"), shortly());
    assert_eq!(code(in_time(impatient).await), Code::OutcomeUnknown);
    // Not decided before its deadline: surely not written.
    bench.log.always(None);
    let again = in_time(bench.execute(send_key("c", "alice", "perhaps", "key"))).await;
    assert!(replayed(again));
    assert_eq!(bench.texts("c", "bob").await, ["first", "perhaps"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_not_decided_before_its_deadline_never_is() {
    let bench = settled().await;
    let late = bench
        .handle()
        .execute(send("c", "alice", "late"), Instant::now());
    let refused = in_time(late).await;
    assert!(matches!(
        code(refused),
        Code::Unavailable | Code::OutcomeUnknown
    ));
    bench.send("c", "alice", "next").await;
    assert_eq!(bench.texts("c", "bob").await, ["first", "next"]);
}

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
        limit: 10,
    };
    let Ok(Found::Index { items, .. }) = bench.query(query).await else {
        panic!("no index")
    };
    assert_eq!(items.len(), 1);
}

/// Begins a write that the log will refuse, once it is released.
async fn refused_later(
    bench: &Bench,
    command: Command,
) -> impl Future<Output = Result<Done, ShardError>> + 'static {
    bench.log.hold();
    bench.log.fault(M, &[Fault::NotWritten]);
    let attempts = bench.log.attempts_of(M);
    let refused = bench.execute(command);
    bench.log.attempted(M, attempts + 1).await;
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refusal_rests_on_a_change_that_is_never_written() {
    let bench = settled().await;
    let message = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("reads")
        .items
        .remove(0);
    let (node, _queue) = subscriber(64);
    let removal = refused_later(&bench, remove("c", "alice", "bob")).await;
    let his = bench.execute(send("c", "bob", "still in"));
    // A receipt is looked up before it comes to the loop.
    let reaction = tokio::spawn(bench.execute(react(&message, "bob", Some(7))));
    let read = tokio::spawn({
        let handle = bench.handle().clone();
        let query = Query::Conversation {
            name: conversation("c"),
            reader: user("bob"),
        };
        async move { handle.query(query, soon()).await }
    });
    let interest = Interest {
        conversation: conversation("c"),
        user: user("bob"),
        after: None,
        limit: 10,
        since: None,
    };
    let subscribing = tokio::spawn({
        let handle = bench.handle().clone();
        async move { handle.subscribe(&node, vec![interest], soon()).await }
    });
    let void_name = bench.execute(create("d", &["dave"]));
    let same_name = bench.execute(create("d", &["erin"]));
    let void_key = bench.execute(send_key("c", "alice", "void", "key"));
    let same_key = bench.execute(send_key("c", "alice", "other", "key"));
    let void_admin = bench.execute(remove("c", "alice", "alice"));
    let not_admin = bench.execute(add("c", "alice", &["frank"]));
    // All but the subscription: what is committed is theirs until the removal is.
    bench.waiting(10).await;
    bench.log.release();
    for void in [
        removal.await,
        in_time(void_name).await,
        in_time(void_key).await,
        in_time(void_admin).await,
    ] {
        assert_eq!(code(void), Code::Unavailable);
    }
    sent(in_time(his).await);
    assert!(matches!(
        in_time(reaction).await.expect("runs"),
        Ok(Done::Marked)
    ));
    assert!(in_time(read).await.expect("runs").is_ok());
    let subscribed = in_time(subscribing).await.expect("runs").expect("owned");
    assert!(
        matches!(subscribed[..], [Subscribed::Live { .. }]),
        "{subscribed:?}"
    );
    assert!(matches!(
        in_time(same_name).await,
        Ok(Done::Created {
            replayed: false,
            ..
        })
    ));
    assert!(!replayed(in_time(same_key).await));
    assert!(matches!(in_time(not_admin).await, Ok(Done::Added(_))));
    assert_eq!(
        bench.texts("c", "bob").await,
        ["first", "still in", "other"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_answered_with_the_commit_of_what_it_rests_on() {
    let bench = settled().await;
    bench.log.hold();
    let removal = bench.execute(remove("c", "alice", "bob"));
    let mut his = Box::pin(bench.execute(send("c", "bob", "out")));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut his)
            .await
            .is_err(),
        "nothing was answered"
    );
    bench.log.release();
    assert!(in_time(removal).await.is_ok());
    assert_eq!(code(in_time(his).await), Code::NotParticipant);
    // What rests on nothing is refused at once, whatever is under way.
    bench.log.hold();
    let under_way = bench.execute(send("c", "alice", "under way"));
    assert_eq!(
        code(in_time(bench.execute(send("c", "mallory", "let me in"))).await),
        Code::NotParticipant
    );
    bench.log.release();
    sent(in_time(under_way).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_wait_for_what_a_refusal_rests_on_is_told_that_nothing_was_written() {
    let bench = settled().await;
    bench.log.hold();
    let removal = bench.execute(remove("c", "alice", "bob"));
    let his = bench.handle().execute(send("c", "bob", "out"), shortly());
    assert_eq!(code(in_time(his).await), Code::Unavailable);
    // But what an earlier request may have written may appear.
    let first = bench.execute(send_key("c", "alice", "once", "key"));
    let again = bench
        .handle()
        .execute(send_key("c", "alice", "once", "key"), shortly());
    assert_eq!(code(in_time(again).await), Code::OutcomeUnknown);
    bench.log.release();
    assert!(in_time(removal).await.is_ok());
    sent(in_time(first).await);
    assert_eq!(bench.texts("c", "alice").await, ["first", "once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_anew_stays_before_what_came_later() {
    let bench = settled().await;
    let reply_to = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("reads")
        .items[0]
        .core
        .id;
    let removal = refused_later(&bench, remove("c", "alice", "bob")).await;
    let early: Vec<_> = (0..20)
        .map(|number| bench.execute(send("c", "bob", &format!("{number:02}"))))
        .collect();
    bench.waiting(21).await;
    // Alice participates: each of these stops at a look-up, the first of them before the refusal
    // comes.
    let later: Vec<_> = (20..40)
        .map(|number| {
            bench.execute(send_with(
                "c",
                "alice",
                &format!("{number:02}"),
                None,
                Some(reply_to),
            ))
        })
        .collect();
    bench.log.release();
    assert_eq!(code(in_time(removal).await), Code::Unavailable);
    for outcome in in_time(futures_util::future::join_all(early)).await {
        sent(outcome);
    }
    for outcome in in_time(futures_util::future::join_all(later)).await {
        // Decided before the refusal, and void with it; or after, and behind bob's.
        assert!(outcome.is_ok() || code(outcome) == Code::Unavailable);
    }
    let texts = bench.texts("c", "alice").await;
    assert!(texts.len() > 20 && texts[1..].is_sorted(), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_was_there_is_decided_anew_when_the_earlier_one_is_taken_back() {
    let bench = settled().await;
    let message = bench.send("c", "alice", "read me").await;
    bench.log.hold();
    bench.log.fault(R, &[Fault::NotWritten]);
    let attempts = bench.log.attempts_of(R);
    let first = tokio::spawn(bench.execute(mark_read(&message, "bob")));
    bench.log.attempted(R, attempts + 1).await;
    let second = tokio::spawn(bench.execute(mark_read(&message, "bob")));
    bench.waiting(2).await;
    bench.log.release();
    assert_eq!(code(in_time(first).await.expect("runs")), Code::Unavailable);
    assert!(matches!(
        in_time(second).await.expect("runs"),
        Ok(Done::Marked)
    ));
    let query = Query::Watermarks {
        name: conversation("c"),
        reader: user("bob"),
        after: None,
        limit: 10,
    };
    let Ok(Found::Watermarks(marks)) = bench.query(query).await else {
        panic!("no watermarks")
    };
    assert!(
        marks
            .items
            .iter()
            .any(|mark| mark.user == user("bob") && mark.read_up_to == message.core.seq)
    );
}
