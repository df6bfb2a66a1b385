//! The missing span and the pushes after it.

use super::*;

// Invariant I9, as far as the owner goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_pushes_give_each_seq_once_under_concurrent_sends() {
    const SENDS: u64 = 600;
    let bench = Arc::new(bench().await);
    let sender = {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move {
            let mut flying = Vec::new();
            for number in 0..SENDS {
                flying.push(bench.execute(send("c", "alice", &format!("{number}"))));
                if number % 7 == 0 {
                    for answer in flying.drain(..) {
                        sent(in_time(answer).await);
                    }
                }
            }
            for answer in flying {
                sent(in_time(answer).await);
            }
        })
    };
    let mut watchers = Vec::new();

    for number in 0..12_u64 {
        let bench = Arc::clone(&bench);
        watchers.push(tokio::spawn(async move {
            // Each begins at another moment of the storm.
            in_time(async {
                while bench.handle().status().committed.messages.0 < number * 40 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let (node, mut queue) = subscriber(4096);
            let (tail, _, mut all) = live(bench.interest(&node, "c", "bob", Some(0)).await);
            while all.len() < usize::try_from(tail.0).expect("small") {
                let after = all.last().map(|event| event.seq.0);
                let (_, _, more) = live(bench.interest(&node, "c", "bob", after).await);
                assert!(!more.is_empty());
                all.extend(more.into_iter().filter(|event| event.seq <= tail));
            }
            assert_eq!(
                all.last().map(|event| event.seq),
                Some(tail),
                "nothing after the tail in the span"
            );
            while all.len() < usize::try_from(SENDS + 1).expect("small") {
                all.push(pushed_event(&mut queue).await);
            }
            assert_dense(&all, Seq(1));
        }));
    }

    for watcher in watchers {
        in_time(watcher).await.expect("each once");
    }
    in_time(sender).await.expect("sends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_span_ends_at_the_tail_though_the_file_went_on() {
    let bench = bench().await;
    let (node, mut queue) = subscriber(4096);

    for round in 0..100 {
        let sends: Vec<_> = (0..3)
            .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
            .collect();
        let (tail, _, events) = live(bench.interest(&node, "c", "bob", Some(0)).await);
        assert_eq!(
            events.last().map(|event| event.seq),
            Some(tail),
            "round {round}"
        );
        assert_dense(&events, Seq(1));
        in_time(futures_util::future::join_all(sends)).await;
    }

    while let Ok(push) = queue.try_recv() {
        assert!(matches!(push, Push::Event { .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_at_or_past_the_tail_gives_no_events_and_none_gives_the_tail() {
    let bench = bench().await;
    bench.send("c", "alice", "one").await;

    let (node, _queue) = subscriber(8);
    for after in [Some(2), Some(99), Some(u64::MAX), None] {
        let (tail, joined, events) = live(bench.interest(&node, "c", "bob", after).await);
        assert_eq!(
            (tail, joined, events.len()),
            (Seq(2), Seq(1), 0),
            "{after:?}"
        );
    }

    let interest = Interest {
        conversation: conversation("c"),
        user: user("bob"),
        after: Some(Seq(0)),
        limit: 1,
        since: None,
    };
    let answers = in_time(bench.handle().subscribe(&node, vec![interest], soon()))
        .await
        .expect("owned");
    let (tail, _, events) = live(answers.into_iter().next().expect("one"));
    assert_eq!((tail, events.len()), (Seq(2), 1), "cut by the limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_followed_by_resubscribe_and_nothing_is_missed() {
    let bench = bench().await;
    let (node, mut queue) = subscriber(4);
    bench.interest(&node, "c", "bob", None).await;
    for number in 0..20 {
        bench.send("c", "alice", &format!("{number}")).await;
    }

    let mut last = Seq(1);
    loop {
        match pushed(&mut queue).await {
            Push::Event { event, .. } => {
                assert_eq!(event.seq, last.next(), "no hole before the node is told");
                last = event.seq;
            }
            Push::Resubscribe { shard: SHARD } => break,
            other => panic!("{other:?}"),
        }
    }

    let (tail, _, events) = live(bench.interest(&node, "c", "bob", Some(last.0)).await);
    assert_dense(&events, last.next());
    assert_eq!(events.last().map(|event| event.seq), Some(tail));

    bench.send("c", "alice", "live again").await;
    assert_eq!(pushed_event(&mut queue).await.seq, tail.next());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_shard_tells_every_subscriber_also_one_whose_queue_is_full() {
    let bench = bench().await;
    let (node, mut queue) = subscriber(1);
    let (idle, mut idle_queue) = subscriber(1);
    bench.interest(&node, "c", "bob", None).await;
    bench.interest(&idle, "c", "alice", None).await;
    bench.send("c", "alice", "fills the queue").await;
    assert_eq!(pushed_event(&mut idle_queue).await.seq, Seq(2));
    in_time(bench.handle().close(soon())).await;
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(2));
    for queue in [&mut queue, &mut idle_queue] {
        assert!(matches!(
            pushed(queue).await,
            Push::Resubscribe { shard: SHARD }
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_an_index_is_in_the_page_or_pushed() {
    let bench = bench().await;
    let (node, mut queue) = subscriber(64);
    let page = bench
        .handle()
        .subscribe_index(&node, user("bob"), Offset(0), 10, soon());
    let page = in_time(page).await.expect("owned");
    let mut known: BTreeMap<_, _> = page
        .items
        .into_iter()
        .map(|item| (item.conversation, item.joined))
        .collect();
    bench.create("d", &["alice", "bob"]).await;

    bench.remove("c", "alice", "bob").await.expect("removed");
    in_time(async {
        let wanted = BTreeMap::from([(conversation("c"), false), (conversation("d"), true)]);
        while known != wanted {
            match pushed(&mut queue).await {
                Push::Index { user: of, item } if of == user("bob") => {
                    known.insert(item.conversation, item.joined)
                }
                other => panic!("{other:?}"),
            };
        }
    })
    .await;

    bench.handle().unsubscribe_index(node.id(), user("bob"));
    bench.create("e", &["bob"]).await;
    assert!(queue.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_interest_ends_the_pushes_of_that_user_only() {
    let bench = bench().await;
    let (node, mut queue) = subscriber(64);
    for who in ["alice", "bob"] {
        bench.interest(&node, "c", who, None).await;
    }
    bench
        .handle()
        .unsubscribe(node.id(), vec![(conversation("c"), user("alice"))]);
    bench.send("c", "alice", "for bob").await;
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(2));
    bench.handle().forget(node.id());
    bench.send("c", "alice", "for no one").await;
    assert!(queue.try_recv().is_err());
}
