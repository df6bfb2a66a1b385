//! A log that does not answer: which writes are decided, which wait, and what their callers are
//! told.

use super::*;
use crate::log::lane::Standing;
use crate::log::record::{Entry, Record};

async fn settled(config: Config) -> Bench {
    let bench = Bench::with(config).await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}

/// A shard with one write decided whose batch has had no definite answer for so long that the log
/// counts as stalled.
async fn stalled(config: Config, fault: Fault) -> (Bench, JoinHandle<Result<Done, ShardError>>) {
    let bench = settled(config).await;
    bench.log.always(Some(fault));
    let decided = tokio::spawn(bench.execute(send_key("c", "alice", "decided", "decided")));
    counts_as_stalled(&bench).await;
    (bench, decided)
}

async fn counts_as_stalled(bench: &Bench) {
    is_stalled(bench, SHARD).await;
}

async fn is_stalled(bench: &Bench, shard: ShardId) {
    in_time(async {
        loop {
            let since = match bench.lane.standing(shard) {
                Standing::Clear => None,
                Standing::InDoubt { since } | Standing::NotReplicated { since } => Some(since),
            };
            if since.is_some_and(|since| since.elapsed() >= Duration::from_secs(1)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

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
async fn parked_writes_are_decided_in_their_order_when_the_log_answers_again() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let parked: Vec<_> = (0..50)
        .map(|number| {
            bench.execute(send(
                "c",
                ["alice", "bob"][number % 2],
                &format!("{number}"),
            ))
        })
        .collect();
    bench.parked(50).await;
    bench.log.always(None);
    let late = bench.execute(send("c", "alice", "late"));
    let seqs: Vec<_> = in_time(futures_util::future::join_all(parked))
        .await
        .into_iter()
        .map(|done| sent(done).core.seq.0)
        .collect();
    assert_eq!(seqs, (4..54).collect::<Vec<_>>());
    assert_eq!(
        sent(in_time(late).await).core.seq,
        Seq(54),
        "behind those that waited"
    );
    assert_eq!(sent(in_time(decided).await.expect("runs")).core.seq, Seq(3));
    bench.events("c", "bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_write_whose_caller_has_left_is_never_decided() {
    let (bench, _decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let left = bench.execute(send("c", "alice", "left"));
    let stays = bench.execute(send("c", "alice", "stays"));
    bench.parked(2).await;
    drop(left);
    bench.log.always(None);
    assert_eq!(sent(in_time(stays).await).core.seq, Seq(4));
    assert_eq!(bench.texts("c", "bob").await, ["first", "decided", "stays"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_writes_than_may_be_parked_are_refused_at_once() {
    let (bench, _decided) = stalled(
        Config {
            queue_max: 8,
            ..config()
        },
        Fault::DoubtNotWritten,
    )
    .await;
    let mut parked = Vec::new();
    for number in 0..8 {
        parked.push(bench.execute(send("c", "alice", &format!("{number}"))));
        bench.parked(number + 1).await;
    }
    // Long before its own deadline.
    assert_eq!(
        code(in_time(bench.execute(send("c", "alice", "one too many"))).await),
        Code::Unavailable
    );
    // Who gives up makes space.
    drop(parked.remove(3));
    bench.parked(7).await;
    parked.push(bench.execute(send("c", "alice", "after all")));
    bench.parked(8).await;
    bench.log.always(None);
    for outcome in in_time(futures_util::future::join_all(parked)).await {
        sent(outcome);
    }
    assert_eq!(
        bench.texts("c", "bob").await,
        [
            "first",
            "decided",
            "0",
            "1",
            "2",
            "4",
            "5",
            "6",
            "7",
            "after all"
        ]
    );
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
async fn reads_and_subscriptions_go_on_while_writes_are_parked() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let parked = bench.execute(send("c", "alice", "parked"));
    bench.parked(1).await;
    assert_eq!(bench.texts("c", "bob").await, ["first"]);
    let (node, mut queue) = subscriber(64);
    let Subscribed::Live { tail, .. } = bench.interest(&node, "c", "bob", None).await else {
        panic!("refused")
    };
    assert_eq!(tail, Seq(2));
    bench.log.always(None);
    sent(in_time(parked).await);
    sent(in_time(decided).await.expect("runs"));
    assert_eq!(
        [
            pushed_event(&mut queue).await.seq,
            pushed_event(&mut queue).await.seq
        ],
        [Seq(3), Seq(4)]
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_that_comes_back_while_the_log_is_stalled_decides_nothing() {
    let bench = settled(config()).await;
    bench.log.stall_reads(true);
    bench.send("c", "alice", "second").await;
    bench.log.fault(M, &[Fault::NotWritten]);
    assert_eq!(
        code(in_time(bench.execute(send("c", "alice", "void"))).await),
        Code::Unavailable
    );
    bench.log.always(Some(Fault::DoubtNotWritten));
    // Decided without a look-up: its conversation is new to the file, and stalls the log.
    let first = bench.execute(send("c", "alice", "third"));
    let stalls = tokio::spawn(bench.execute(Command::Index(vec![IndexChange {
        user: user("zoe"),
        conversation: conversation("z"),
        seq: Seq(1),
        joined: true,
        at: START,
        create_key: None,
    }])));
    counts_as_stalled(&bench).await;
    let second = bench.execute(send("c", "alice", "fourth"));
    bench.parked(1).await;
    bench.log.stall_reads(false);
    // Now the look-up is back; both are parked, in the order of their coming.
    bench.parked(2).await;
    bench.log.always(None);
    assert_eq!(sent(in_time(first).await).core.seq, Seq(4));
    assert_eq!(sent(in_time(second).await).core.seq, Seq(5));
    assert!(in_time(stalls).await.expect("runs").is_ok());
    assert_eq!(
        bench.texts("c", "bob").await,
        ["first", "second", "third", "fourth"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_own_is_decided_while_the_log_is_stalled() {
    let (bench, decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let before = bench.handle().status().committed;
    for round in 0..4 {
        bench.handle().outbox_delivered_upto(OutboxPosition {
            offset: Offset(before.messages.0),
            index: round,
        });
        in_time(bench.execute(delivered("c", "bob", 2)))
            .await
            .expect("taken");
        // Longer than the shard's housekeeping waits.
        tokio::time::sleep(Duration::from_millis(260)).await;
    }
    bench.log.always(None);
    sent(in_time(decided).await.expect("runs"));
    bench.send("c", "alice", "next").await;
    bench.at_rest().await;
    let entries = bench
        .log
        .inner
        .read(SHARD, M, before.messages, 1 << 20)
        .await
        .expect("reads");
    let records = entries
        .iter()
        .flat_map(|entry| Entry::records_of(&entry.bytes));
    let progress = records
        .filter(|record| matches!(record, Record::OutboxProgress { .. }))
        .count();
    assert!(
        progress <= 2,
        "told once for all, and perhaps once more: {progress}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_proof_once_the_lease_has_ended() {
    let watch = Duration::from_secs(3);
    let bench = settled(Config {
        takeover_watch: Some(watch),
        ..config()
    })
    .await;
    bench.clock.pass(watch);
    let waits = bench.execute(send("c", "alice", "waits"));
    // Whether he is in is not sure either.
    let stranger = bench.execute(send("c", "mallory", "x"));
    bench.parked(2).await;
    assert_eq!(
        code(
            in_time(
                bench
                    .handle()
                    .execute(send("c", "alice", "never"), shortly())
            )
            .await
        ),
        Code::Unavailable
    );
    bench.renew().await;
    assert_eq!(sent(in_time(waits).await).core.seq, Seq(3));
    assert_eq!(code(in_time(stranger).await), Code::NotParticipant);
    assert_eq!(bench.texts("c", "bob").await, ["first", "waits"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_lets_go_of_parked_writes() {
    let (bench, _decided) = stalled(config(), Fault::DoubtNotWritten).await;
    let parked = bench.execute(send("c", "alice", "parked"));
    bench.parked(1).await;
    let handle = bench.handle().clone();
    let closing = tokio::spawn(async move { handle.close(soon()).await });
    assert_eq!(
        in_time(parked).await.expect_err("let go"),
        ShardError::NotOwner
    );
    bench.log.always(None);
    in_time(closing).await.expect("ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_in_doubt_for_ever_does_not_stop_the_others_of_its_place() {
    let bench = settled(config()).await;
    let sick = ShardId(4);
    let path = bench.folder.path().join("sick.db");
    let opening = opening(
        bench.folder.path(),
        &bench.log,
        &bench.lane,
        &bench.clock,
        &config(),
    );
    let handle = crate::shard::open(Opening {
        shard: sick,
        path,
        ..opening
    })
    .await
    .expect("opens");
    bench.log.only(sick);
    bench.log.always(Some(Fault::DoubtNotWritten));
    let in_doubt = tokio::spawn(handle.execute(create("d", &["alice"]), soon()));
    // Nobody else writes meanwhile, so nothing but the batch in doubt is sent.
    is_stalled(&bench, sick).await;
    assert_eq!(bench.lane.standing(SHARD), Standing::Clear);
    for number in 0..5 {
        bench.send("c", "alice", &format!("{number}")).await;
    }
    assert!(!in_doubt.is_finished(), "it is in doubt still");
    in_doubt.abort();
}
