//! What was decided upon a change that is never written is decided anew.

use super::*;

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
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
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
    let bobs = bench.execute(send("c", "bob", "still in"));
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

    sent(in_time(bobs).await);
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
    let mut bobs = Box::pin(bench.execute(send("c", "bob", "out")));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut bobs)
            .await
            .is_err(),
        "nothing was answered"
    );

    bench.log.release();
    assert!(in_time(removal).await.is_ok());
    assert_eq!(code(in_time(bobs).await), Code::NotParticipant);

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
    let bobs = bench.handle().execute(send("c", "bob", "out"), shortly());
    assert_eq!(code(in_time(bobs).await), Code::Unavailable);
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
    let reply_to = bench.newest("c", "bob").await;
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
