//! What callers are told of their writes.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_never_decided_is_unavailable_and_never_appears() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "bob", None).await;

    let never = [
        bench
            .handle()
            .execute(send_key("c", "alice", "never", "never"), shortly()),
        bench
            .handle()
            .execute(add("c", "alice", &["carol"]), shortly()),
        bench.handle().execute(create("d", &["dave"]), shortly()),
    ];

    for outcome in in_time(futures_util::future::join_all(never)).await {
        assert_eq!(code(outcome), Code::Unavailable);
    }

    bench.log.always(None);
    assert_eq!(sent(in_time(decided).await.expect("runs")).core.seq, Seq(3));
    assert_eq!(bench.send("c", "bob", "next").await.core.seq, Seq(4));
    assert_eq!(bench.texts("c", "bob").await, ["first", "decided", "next"]);
    assert_eq!(
        [
            pushed_event(&mut queue).await.seq,
            pushed_event(&mut queue).await.seq
        ],
        [Seq(3), Seq(4)]
    );
    assert_eq!(bench.events("c", "bob").await.len(), 4);
    assert_eq!(code(bench.view("d", "dave").await), Code::NotParticipant);

    // The key was not consumed.
    assert!(!replayed(
        in_time(bench.execute(send_key("c", "alice", "never", "never"))).await
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decided_write_whose_budget_ends_is_outcome_unknown_and_appears_at_most_once() {
    for fault in [Fault::DoubtNotWritten, Fault::DoubtWritten] {
        let bench = settled(config()).await;
        bench.log.always(Some(fault));
        let attempts = bench.log.attempts_of(M);
        let decided = bench
            .handle()
            .execute(send_key("c", "alice", "perhaps", "key"), shortly());
        bench.log.attempted(M, attempts + 1).await;
        assert_eq!(code(in_time(decided).await), Code::OutcomeUnknown);
        bench.log.always(None);
        let again = in_time(bench.execute(send_key("c", "alice", "perhaps", "key"))).await;
        assert!(replayed(again), "it was decided, so it is the same one");
        assert_eq!(bench.texts("c", "bob").await, ["first", "perhaps"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_second_copy_every_write_is_told_so_whether_it_may_appear_or_not() {
    let (bench, decided) = stalled(config(), Fault::NotReplicated).await;
    let problem = |outcome: Result<Done, ShardError>| match outcome {
        Err(ShardError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    };
    let never = problem(
        in_time(
            bench
                .handle()
                .execute(send("c", "alice", "never"), shortly()),
        )
        .await,
    );

    assert_eq!(never.code, Code::NotReplicated);
    assert!(
        never.detail.contains("nothing was written"),
        "{}",
        never.detail
    );

    decided.abort();
    bench.log.always(None);
    assert_eq!(bench.send("c", "bob", "next").await.core.seq, Seq(4));
    assert_eq!(bench.texts("c", "bob").await, ["first", "decided", "next"]);

    // One that was decided before anything was in doubt.
    bench.log.always(Some(Fault::NotReplicated));

    let perhaps = problem(
        in_time(
            bench
                .handle()
                .execute(send("c", "alice", "perhaps"), shortly()),
        )
        .await,
    );

    assert_eq!(perhaps.code, Code::NotReplicated);
    assert!(
        perhaps.detail.contains("may yet appear"),
        "{}",
        perhaps.detail
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_behind_a_look_up_is_surely_not_written_when_its_budget_ends() {
    let bench = settled(config()).await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "committed, not applied").await;
    bench.log.fault(M, &[Fault::NotWritten]);

    assert_eq!(
        code(in_time(bench.execute(send("c", "alice", "void"))).await),
        Code::Unavailable
    );

    // The head is looked up only when the file has what was committed.
    let waits = bench.handle().execute(send("c", "bob", "waits"), shortly());
    assert_eq!(code(in_time(waits).await), Code::Unavailable);

    bench.log.stall_reads(false);
    assert_eq!(bench.send("c", "bob", "next").await.core.seq, Seq(4));
    assert_eq!(
        bench.texts("c", "bob").await,
        ["first", "committed, not applied", "next"]
    );
}
