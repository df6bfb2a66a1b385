//! What the second use of a key gives, and what uses none.

use super::*;

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
        let theirs = create_with("made", &["bob", "alice"], Some("key"), 1);
        assert_eq!(code(in_time(bench.execute(theirs)).await), Code::NameTaken);
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
