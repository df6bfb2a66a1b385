//! What becomes of a deletion when a batch is taken back, when a replica has diverged, and where
//! not every node knows it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_never_held() {
    let (bench, message) = bench().await;
    let (node, mut queue) = subscriber(64);
    let live = bench.interest(&node, "c", "bob", None).await;
    assert!(matches!(live, Subscribed::Live { .. }));
    bench.log.hold();
    bench.log.fault(M, &[Fault::NotWritten]);
    let attempts = bench.log.attempts_of(M);
    let void = bench.execute(close("admin"));
    bench.log.attempted(M, attempts + 1).await;
    let behind = bench.execute(send("c", "alice", "decided anew"));
    let reaction = tokio::spawn(bench.execute(react(&message, "bob", Some(7))));
    bench.waiting(3).await;
    bench.log.release();

    assert_eq!(code(in_time(void).await), Code::Unavailable);
    let behind = sent(in_time(behind).await);
    assert_eq!(behind.core.text, "decided anew");
    assert!(matches!(in_time(reaction).await, Ok(Ok(Done::Marked))));
    let event = pushed_event(&mut queue).await;
    assert_eq!(event.seq, behind.core.seq);
    assert_eq!(bench.texts("c", "bob").await, ["words", "decided anew"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_only_a_diverged_file_has_holds_all_the_same() {
    let (bench, message) = bench().await;
    let event = |kind| {
        Command::Resubmit(Arc::new(Event {
            conversation: conversation("c"),
            seq: Seq(9),
            created: START,
            key: None,
            kind,
        }))
    };
    let closed = || event(EventKind::Closed { by: user("admin") });
    for written in [true, false] {
        let done = in_time(bench.execute(closed())).await;
        assert!(
            matches!(done, Ok(Done::Resubmitted(now)) if now == written),
            "{done:?}"
        );
    }

    // Nor does anything else of it come back behind it.
    let deleted = EventKind::Deleted {
        message_id: message.core.id,
        message_seq: message.core.seq,
        by: user("alice"),
    };
    let id = MessageId::new(START, conversation("c").slot(), 9);
    let late = EventKind::plain(id, user("alice"), "late");
    for kind in [deleted, late] {
        let done = in_time(bench.execute(event(kind))).await;
        assert!(matches!(done, Ok(Done::Resubmitted(false))), "{done:?}");
    }
    bench.erased().await;
    assert_eq!(bench.refusals("bob").await, [Code::ConversationClosed; 7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_before_every_node_knows_it() {
    let common = Common::reading(3);
    let agreed = Arc::clone(&common.agreed);
    let bench = Bench::with(Config { common, ..config() }).await;
    bench.create("c", &["admin", "alice"]).await;
    assert_eq!(code(bench.closes("alice").await), Code::Forbidden);
    let Err(ShardError::Problem(problem)) = bench.closes("admin").await else {
        panic!("written")
    };
    assert_eq!(problem.code, Code::Unavailable);
    assert!(
        problem.retry_after_s() > Some(1),
        "no router tries again meanwhile"
    );
    bench.send("c", "alice", "goes on").await;

    agreed.note_records(RECORDS_VERSION);
    assert!(is_closed(&bench.closes("admin").await));
}
