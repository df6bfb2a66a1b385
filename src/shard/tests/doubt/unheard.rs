//! Appends without an answer: nothing is shown of them before their commit.

use super::*;

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
        "the user is not in yet"
    );

    bench.log.release();
    assert!(in_time(adding).await.is_ok());
    assert_eq!(bench.view("c", "carol").await.expect("in").last_seq, Seq(3));
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
