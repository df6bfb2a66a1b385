//! Commands in good weather: membership, order, what a client sees of it.

use super::*;

// what must not happen: 10 (a name that was asked for before it existed stays closed for ever)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_asked_for_before_it_existed_can_be_created_and_used() {
    let bench = Bench::new().await;
    assert_eq!(
        code(in_time(bench.execute(send("later", "alice", "too early"))).await),
        Code::NotParticipant
    );
    assert_eq!(
        code(bench.view("later", "alice").await),
        Code::NotParticipant
    );
    bench.create("later", &["alice", "bob"]).await;
    assert_eq!(bench.send("later", "alice", "now").await.core.seq, Seq(2));
    assert_eq!(bench.send("later", "bob", "me too").await.core.seq, Seq(3));
}

// what must not happen: 16 (a conversation is made without some of its members)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_has_all_its_participants_and_each_has_it_in_their_index() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..250).map(|number| format!("user-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let made = bench.create("big", &names).await;

    assert_eq!(
        (made.participants_count, made.admin),
        (250, user("user-000"))
    );

    let all = || bench.delivered.lock().expect("whole").len() >= 250;
    in_time(async {
        while !all() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;

    for name in names {
        let query = Query::Index {
            user: user(name),
            after: None,
            archived: None,
            limit: 10,
        };
        let Ok(Found::Index(items)) = bench.query(query).await else {
            panic!("no index")
        };
        assert_eq!(items.len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_sends_get_dense_seqs_and_each_is_in_history_once() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;

    let sends = (0..300).map(|number| {
        let source = if number % 2 == 0 { "alice" } else { "bob" };
        bench.execute(send("c", source, &format!("text {number}")))
    });
    let answers = in_time(futures_util::future::join_all(sends)).await;

    // Enqueued in that order, so decided in that order.
    for (number, answer) in (0_u64..).zip(answers) {
        let message = sent(answer);
        assert_eq!(
            (message.core.seq, message.core.text),
            (Seq(number + 2), format!("text {number}"))
        );
    }

    let events = bench.events("c", "alice").await;
    assert_eq!(events.len(), 301);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_holds_for_the_next_request_of_the_same_batch() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.log.hold();

    let attempts = bench.log.attempts_of(M);
    let first = bench.execute(send("c", "alice", "keeps the lane busy"));
    bench.log.attempted(M, attempts + 1).await;

    let removal = bench.execute(remove("c", "alice", "bob"));
    let refused = bench.execute(send("c", "bob", "too late"));
    let after = bench.execute(send("c", "alice", "without bob"));
    bench.waiting(4).await;
    bench.log.release();
    assert_eq!(code(in_time(refused).await), Code::NotParticipant);
    assert_eq!(sent(in_time(first).await).core.seq, Seq(2));
    assert!(matches!(in_time(removal).await, Ok(Done::Removed)));
    assert_eq!(sent(in_time(after).await).core.seq, Seq(4));
    assert_eq!(
        bench.texts("c", "alice").await,
        ["keeps the lane busy", "without bob"]
    );
    assert_eq!(code(bench.view("c", "bob").await), Code::NotParticipant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_creations_of_one_name_cannot_both_pass() {
    let bench = Bench::new().await;
    let creations =
        ["alice", "bob", "carol"].map(|creator| bench.execute(create("wanted", &[creator])));
    let outcomes = in_time(futures_util::future::join_all(creations)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(code(refused), Code::NameTaken);
    }
    // Also much later, out of the file.
    bench.applied().await;
    assert_eq!(
        code(in_time(bench.execute(create("wanted", &["dave"]))).await),
        Code::NameTaken
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adding_who_is_in_and_removing_who_is_out_make_no_event() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    let Ok(Done::Added(view)) = bench.add("c", "alice", &["bob", "alice"]).await else {
        panic!("refused")
    };
    assert_eq!((view.last_seq, view.participants_count), (Seq(1), 2));
    assert!(matches!(
        bench.remove("c", "alice", "carol").await,
        Ok(Done::Removed)
    ));
    assert!(matches!(
        bench.remove("nowhere", "zoe", "zoe").await,
        Ok(Done::Removed)
    ));
    assert_eq!(bench.events("c", "bob").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_never_falls_in_a_conversation_though_the_clock_does() {
    let bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.clock.set(START + 5_000);
    bench.send("c", "alice", "one").await;
    bench.clock.set(START - 5_000);
    assert_eq!(
        bench.send("c", "alice", "two").await.core.created,
        START + 5_000
    );
    assert_eq!(bench.events("c", "alice").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heads_limit_changes_nothing_but_memory() {
    let bench = Bench::with(Config {
        heads_max: 2,
        ..config()
    })
    .await;
    let names: Vec<String> = (0..20).map(|number| format!("c-{number}")).collect();
    for name in &names {
        bench.create(name, &["alice", "bob"]).await;
    }

    for round in 0..5_u64 {
        for name in &names {
            assert_eq!(
                bench
                    .send(name, "alice", &format!("{round}"))
                    .await
                    .core
                    .seq,
                Seq(2 * round + 2)
            );
        }
        bench.applied().await;
        for name in &names {
            let message = bench.send(name, "bob", "also").await;
            assert_eq!(message.core.seq, Seq(2 * round + 3));
            assert!(matches!(
                in_time(bench.execute(mark_read(&message, "alice"))).await,
                Ok(Done::Marked)
            ));
        }
    }

    bench.applied().await;
    for name in &names {
        assert!(matches!(
            bench.remove(name, "alice", "bob").await,
            Ok(Done::Removed)
        ));
        assert_eq!(
            code(in_time(bench.execute(send(name, "bob", "gone"))).await),
            Code::NotParticipant
        );
        assert_eq!(bench.events(name, "alice").await.len(), 12);
    }
}
