//! Writes that are parked until the log answers again.

use super::*;

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
        view: None,
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
async fn writes_wait_for_a_proof_once_the_lease_has_ended() {
    let watch = Duration::from_secs(3);
    let bench = settled(Config {
        takeover_watch: Some(watch),
        ..config()
    })
    .await;
    bench.clock.pass(watch);

    let waits = bench.execute(send("c", "alice", "waits"));
    // Whether the user is in is not sure either.
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
