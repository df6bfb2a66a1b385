//! How long a key is known: across restarts, crashes, owners and their clocks.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_known_after_it_was_applied_and_after_a_restart_and_a_crash() {
    let mut bench = bench().await;
    let first = sent(in_time(bench.execute(send_key("c", "alice", "once", "key"))).await);
    bench.applied().await;

    let again = in_time(bench.execute(send_key("c", "alice", "once", "key"))).await;
    assert!(replayed(again.clone()));
    assert_eq!(sent(again), first);

    bench.restart().await;
    assert_eq!(
        sent(in_time(bench.execute(send_key("c", "alice", "once", "key"))).await),
        first
    );

    bench.crash().await;
    assert_eq!(
        sent(in_time(bench.execute(send_key("c", "alice", "once", "key"))).await),
        first
    );

    let other = in_time(bench.execute(send_key("c", "alice", "else", "key"))).await;
    assert_eq!(code(other), Code::IdempotencyConflict);
    assert_eq!(bench.texts("c", "bob").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamped_key_is_known_for_a_minute_also_across_a_crash() {
    let mut bench = bench().await;
    let key = stamped();
    let with = |key: &IdempotencyKey| send_with("c", "alice", "once", Some(key.clone()), None);
    let first = sent(in_time(bench.execute(with(&key))).await);
    bench.applied().await;
    assert!(replayed(in_time(bench.execute(with(&key))).await));
    bench.clock.set(START + 30_000);
    bench.crash().await;
    assert_eq!(sent(in_time(bench.execute(with(&key))).await), first);
    bench.clock.pass(Duration::from_millis(60_001));
    // Forgotten at the next housekeeping.
    in_time(async { while replayed(bench.execute(with(&key)).await) {} }).await;
    assert_eq!(bench.texts("c", "bob").await, ["once", "once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamped_key_is_known_though_its_head_left_memory() {
    let bench = Bench::with(Config {
        heads_max: 1,
        ..config()
    })
    .await;
    let keys: Vec<_> = (0..30).map(|_| stamped()).collect();

    for (number, key) in keys.iter().enumerate() {
        let name = format!("c-{number}");
        bench.create(&name, &["alice"]).await;
        sent(
            in_time(bench.execute(send_with(&name, "alice", "once", Some(key.clone()), None)))
                .await,
        );
    }

    bench.applied().await;
    for (number, key) in keys.iter().enumerate() {
        let again = send_with(
            &format!("c-{number}"),
            "alice",
            "once",
            Some(key.clone()),
            None,
        );
        assert!(replayed(in_time(bench.execute(again)).await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_ahead_once_does_not_end_idempotency() {
    for wrong in [60 * 1000, 25 * 60 * 60 * 1000, 366 * 24 * 60 * 60 * 1000] {
        let bench = Bench::new().await;
        bench.create("c", &["alice"]).await;
        bench.create("d", &["alice"]).await;
        sent(in_time(bench.execute(send_key("d", "alice", "before", "before"))).await);
        bench.applied().await;
        bench.clock.set(START + wrong);
        bench.send("c", "alice", "from the future").await;
        bench.clock.set(START + 1_000);
        bench.applied().await;
        sent(in_time(bench.execute(send_key("d", "alice", "once", "key"))).await);
        bench.applied().await;
        for (text, key) in [("once", "key"), ("before", "before")] {
            let again = in_time(bench.execute(send_key("d", "alice", text, key))).await;
            assert!(replayed(again), "one key, one message: {text} {wrong}");
        }
        assert_eq!(bench.texts("d", "alice").await, ["before", "once"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_known_after_a_failover_whatever_the_clock_of_the_next_owner_says() {
    const YEAR: u64 = 366 * 24 * 60 * 60 * 1000;
    for next in [
        START + 61_000,
        START + 25 * 60 * 60 * 1000,
        START + YEAR,
        START - 61_000,
        START - YEAR,
    ] {
        let mut bench = bench().await;
        let key = stamped();
        let with = |key: &IdempotencyKey| send_with("c", "alice", "once", Some(key.clone()), None);
        assert!(!replayed(in_time(bench.execute(with(&key))).await));
        sent(in_time(bench.execute(send_key("c", "bob", "twice", "key"))).await);
        bench.at_rest().await;
        // In true time nothing has passed.
        bench.clock.set(next);
        bench.restart().await;
        assert!(replayed(in_time(bench.execute(with(&key))).await), "{next}");
        bench.send("c", "alice", "on").await;
        bench.clock.set(START);
        bench.restart().await;
        assert!(
            replayed(in_time(bench.execute(send_key("c", "bob", "twice", "key"))).await),
            "{next}"
        );
        // Times never fall.
        assert_eq!(bench.events("c", "bob").await.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_forgotten_after_a_day_that_its_owners_measured_and_not_before() {
    let bench = bench().await;
    sent(in_time(bench.execute(send_key("c", "alice", "once", "key"))).await);
    bench.at_rest().await;

    let store = bench.handle().0.store.clone();
    let known = async || {
        store
            .key(&conversation("c"), &user("alice"), &client_key("key"))
            .await
            .expect("reads")
    };

    for hour in 1..=26 {
        let before = bench.handle().status().committed.messages;
        bench.clock.pass(Duration::from_secs(60 * 60));
        bench.send("c", "bob", "on").await;
        // The message, and a mark at the next housekeeping.
        in_time(async {
            while bench.handle().status().committed.messages.0 < before.0 + 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        bench.applied().await;
        assert!(hour > 24 || known().await.is_some(), "hour {hour}");
    }

    assert_eq!(known().await, None);
}
