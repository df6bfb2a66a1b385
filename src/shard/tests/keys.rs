//! Idempotency: one key, one message (invariant I13).

use super::*;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench
}

fn stamped() -> IdempotencyKey {
    IdempotencyKey::stamp()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_key_used_many_times_at_once_there_is_one_message_and_all_get_it() {
    let bench = bench().await;
    let sends: Vec<_> = (0..50)
        .map(|_| bench.execute(send_key("c", "alice", "once", "key")))
        .collect();
    let mut fresh = 0;
    for outcome in in_time(futures_util::future::join_all(sends)).await {
        fresh += u32::from(!replayed(outcome.clone()));
        assert_eq!(sent(outcome).core.seq, Seq(2));
    }
    assert_eq!(fresh, 1);
    assert_eq!(bench.texts("c", "bob").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_use_of_a_key_waits_for_the_commit_of_the_first() {
    let bench = bench().await;
    bench.log.hold();
    let first = bench.execute(send_key("c", "alice", "once", "key"));
    let mut second = Box::pin(bench.execute(send_key("c", "alice", "once", "key")));
    assert!(
        tokio::time::timeout(Duration::from_millis(30), &mut second)
            .await
            .is_err()
    );
    bench.log.release();
    assert_eq!(sent(in_time(first).await), sent(in_time(second).await));
}

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
async fn another_body_or_reply_under_a_used_key_is_refused() {
    let bench = bench().await;
    let first = sent(in_time(bench.execute(send_key("c", "alice", "once", "key"))).await);
    for _ in 0..2 {
        let text = in_time(bench.execute(send_key("c", "alice", "twice", "key"))).await;
        assert_eq!(code(text), Code::IdempotencyConflict);
        let reply = send_with(
            "c",
            "alice",
            "once",
            Some(client_key("key")),
            Some(first.core.id),
        );
        assert_eq!(
            code(in_time(bench.execute(reply)).await),
            Code::IdempotencyConflict
        );
        // Now out of SQLite.
        bench.applied().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_per_sender_and_conversation() {
    let bench = bench().await;
    bench.create("d", &["alice"]).await;
    for (name, source) in [("c", "alice"), ("c", "bob"), ("d", "alice")] {
        let outcome = in_time(bench.execute(send_key(name, source, source, "key"))).await;
        assert!(!replayed(outcome), "{name} {source}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_does_not_consume_its_key() {
    let bench = bench().await;
    let early = in_time(bench.execute(send_key("c", "carol", "hello", "key"))).await;
    assert_eq!(code(early), Code::NotParticipant);
    let nowhere = send_with(
        "c",
        "alice",
        "a",
        Some(client_key("key")),
        Some(MessageId::new(START, Slot(9), 1)),
    );
    assert_eq!(
        code(in_time(bench.execute(nowhere)).await),
        Code::ReplyToUnknown
    );
    bench.add("c", "alice", &["carol"]).await.expect("added");
    assert!(!replayed(
        in_time(bench.execute(send_key("c", "carol", "other", "key"))).await
    ));
    assert!(!replayed(
        in_time(bench.execute(send_key("c", "alice", "other", "key"))).await
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership_is_checked_before_the_key() {
    let bench = bench().await;
    sent(in_time(bench.execute(send_key("c", "bob", "once", "key"))).await);
    bench.remove("c", "alice", "bob").await.expect("removed");
    assert_eq!(
        code(in_time(bench.execute(send_key("c", "bob", "once", "key"))).await),
        Code::NotParticipant
    );
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
async fn creating_again_under_the_same_key_gives_the_same_and_under_another_is_refused() {
    let mut bench = Bench::new().await;
    let with = |key, fingerprint| create_with("made", &["alice", "bob"], key, fingerprint);
    let at_once: Vec<_> = (0..10)
        .map(|_| bench.execute(with(Some("key"), 1)))
        .collect();
    let outcomes = in_time(futures_util::future::join_all(at_once)).await;
    assert_eq!(
        outcomes
            .into_iter()
            .filter(|outcome| !replayed(outcome.clone()))
            .count(),
        1
    );
    for _ in 0..2 {
        assert!(replayed(in_time(bench.execute(with(Some("key"), 1))).await));
        assert_eq!(
            code(in_time(bench.execute(with(Some("key"), 2))).await),
            Code::IdempotencyConflict
        );
        assert_eq!(
            code(in_time(bench.execute(with(Some("else"), 1))).await),
            Code::NameTaken
        );
        assert_eq!(
            code(in_time(bench.execute(with(None, 1))).await),
            Code::NameTaken
        );
        let hers = create_with("made", &["bob", "alice"], Some("key"), 1);
        assert_eq!(code(in_time(bench.execute(hers)).await), Code::NameTaken);
        bench.crash().await;
    }
    let query = Query::CreateKey {
        user: user("alice"),
        key: client_key("key"),
    };
    let Ok(Found::CreateKey(Some(found))) = bench.query(query).await else {
        panic!("unknown")
    };
    assert_eq!(
        (found.name, found.fingerprint),
        (conversation("made"), [1; 16])
    );
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

/// ADR 7, interleaving 30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_not_written_any_more_once_a_later_one_of_its_socket_was() {
    let mut bench = bench().await;
    let late = |unless: Vec<IdempotencyKey>| match send_key("c", "alice", "late", "late") {
        Command::Send(send) => Command::Send(Send { unless, ..send }),
        other => other,
    };
    let router = stamped();
    in_time(bench.execute(send_key("c", "alice", "client's", "client")))
        .await
        .unwrap();
    in_time(bench.execute(send_with(
        "c",
        "alice",
        "router's",
        Some(router.clone()),
        None,
    )))
    .await
    .unwrap();
    for round in ["in memory", "in the file", "after a crash"] {
        for key in [client_key("client"), router.clone()] {
            let overtaken = in_time(bench.execute(late(vec![client_key("unused"), key]))).await;
            assert_eq!(code(overtaken), Code::Unavailable, "{round}");
        }
        match round {
            "in memory" => bench.applied().await,
            _ => bench.crash().await,
        }
    }
    assert_eq!(bench.texts("c", "bob").await, ["client's", "router's"]);
    let written = sent(in_time(bench.execute(late(vec![client_key("unused"), stamped()]))).await);
    // What was written once is told, whatever came after it.
    in_time(bench.execute(send_key("c", "alice", "later", "later")))
        .await
        .unwrap();
    assert_eq!(
        sent(in_time(bench.execute(late(vec![client_key("later")]))).await),
        written
    );
}
