//! What is bounded (invariant I14), and the outbox.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_writes_nothing() {
    let bench = Bench::with(Config {
        queue_max: 4,
        ..config()
    })
    .await;
    bench.create("c", &["alice"]).await;

    // Enqueued without a pause, so the loop cannot keep up with all of them.
    let sends: Vec<_> = (0..5_000)
        .map(|_| bench.execute(send("c", "alice", "flood")))
        .collect();
    let outcomes = in_time(futures_util::future::join_all(sends)).await;
    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(written < 5_000, "some were refused");

    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(code(refused), Code::Unavailable);
    }

    assert_eq!(bench.events("c", "alice").await.len(), written + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_refuses_sends_until_it_was_trimmed() {
    let worker = worker::Config {
        trim_floor: Duration::ZERO,
        trim_floor_bytes: 0,
        ..config().worker
    };
    let bench = Bench::with(Config {
        stream_bytes_max: 256 * 1024,
        worker,
        ..config()
    })
    .await;

    bench.create("c", &["alice"]).await;
    bench.log.stall_reads(true);

    let text = "x".repeat(16_000);
    let mut written = 1;
    loop {
        match in_time(bench.execute(send("c", "alice", &text))).await {
            Ok(_) => written += 1,
            refused => {
                assert_eq!(code(refused), Code::Unavailable);
                break;
            }
        }
        assert!(written < 100, "the cap holds");
    }

    bench.log.stall_reads(false);
    in_time(async { while bench.execute(send("c", "alice", "again")).await.is_err() {} }).await;
    assert_eq!(bench.events("c", "alice").await.len(), written + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_that_gave_up_are_forgotten_while_the_log_is_in_doubt() {
    let bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.log.hold();

    let slow = bench.execute(send("c", "alice", "slow"));
    for _ in 0..200 {
        let query = Query::Conversation {
            name: conversation("c"),
            reader: user("alice"),
        };
        let gave_up = tokio::time::timeout(
            Duration::from_millis(1),
            bench.handle().query(query, soon()),
        )
        .await;
        assert!(gave_up.is_err(), "it shows what is not committed");
    }

    // Housekeeping comes by, while the send still waits.
    bench.waiting(1).await;
    bench.log.release();
    sent(in_time(slow).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_leave_memory_though_their_messages_had_stamped_keys() {
    let bench = Bench::with(Config {
        heads_max: 3,
        ..config()
    })
    .await;

    for number in 0..30 {
        let name = format!("c-{number}");
        bench.create(&name, &["alice"]).await;
        let stamped = send_with(&name, "alice", "one", Some(IdempotencyKey::stamp()), None);
        sent(in_time(bench.execute(stamped)).await);
    }

    bench.applied().await;
    in_time(async {
        // Eviction goes with the work.
        while bench.ask(Input::Heads).await > 4 {
            bench.view("c-0", "alice").await.expect("reads");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_with_more_rows_than_one_page_of_the_outbox_is_delivered_whole() {
    let bench = Bench::new().await;
    bench.pump.abort();

    let names: Vec<String> = (0..25).map(|number| format!("u-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let creating = bench.execute(create("big", &names));
    let mut told = Vec::new();

    while told.len() < 25 {
        let rows = in_time(bench.handle().outbox(10)).await.expect("open");
        assert!(!rows.is_empty() && rows.len() <= 10);
        bench
            .handle()
            .outbox_delivered_upto(rows.last().expect("some").position);
        told.extend(rows.into_iter().map(|row| row.change.user.to_string()));
    }

    assert_eq!(told, names);
    assert!(in_time(creating).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox_rows_come_again_until_they_are_delivered_and_are_dropped_afterwards() {
    let mut bench = Bench::new().await;
    bench.pump.abort();

    let creating = bench.execute(create("c", &["alice", "bob"]));
    let rows = in_time(bench.handle().outbox(10)).await.expect("open");
    assert_eq!(rows.len(), 2);
    assert_eq!(
        in_time(bench.handle().outbox(10)).await.expect("open"),
        rows,
        "again, for no one said that they arrived"
    );

    drop(creating);
    bench.crash().await;
    bench.pump.abort();

    let again = in_time(bench.handle().outbox(10)).await.expect("open");
    assert!(
        again.iter().all(|row| rows.contains(row)),
        "at least once, also after a crash"
    );

    let last = rows.last().expect("two").position;
    bench.handle().outbox_delivered_upto(last);

    let store = bench.handle().0.store.clone();
    in_time(async {
        while !store
            .outbox(OutboxPosition::default(), 10)
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
    bench.pump.abort();

    let none = tokio::time::timeout(Duration::from_millis(100), bench.handle().outbox(10)).await;
    assert!(none.is_err(), "nothing is due: {none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_outbox_hears_that_the_shard_was_closed() {
    let bench = Bench::new().await;
    bench.pump.abort();
    let handle = bench.handle().clone();
    let waiting = tokio::spawn(async move { handle.outbox(10).await });
    in_time(bench.handle().close(soon())).await;
    assert_eq!(in_time(waiting).await.expect("ends"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_leave_memory_by_their_bytes_but_never_with_anything_unapplied() {
    // A quarter of it is one shard's: two or three of these heads.
    let bench = Bench::with(Config {
        heads_bytes_max: 128 * 1024,
        ..config()
    })
    .await;
    let names: Vec<String> = (0..10).map(|number| format!("c-{number}")).collect();
    let many: Vec<String> = (0..50).map(|number| format!("u-{number:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for name in &names {
        bench.create(name, &many).await;
    }

    bench.at_rest().await;
    let few = async || in_time(async { while bench.ask(Input::Heads).await > 3 {} }).await;
    few().await;
    // The file does not get on: what is not in it must stay in memory.
    bench.log.stall_reads(true);
    for name in &names {
        bench.send(name, "u-00", "unapplied").await;
    }

    bench.turn().await;
    assert!(bench.ask(Input::Heads).await >= names.len());

    bench.log.stall_reads(false);
    bench.applied().await;
    few().await;

    for name in &names {
        assert_eq!(
            bench
                .view(name, "u-49")
                .await
                .expect("reads")
                .participants_count,
            50
        );
        assert_eq!(bench.texts(name, "u-49").await, ["unapplied"]);
    }
}
