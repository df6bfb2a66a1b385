//! Subscribers who are added or removed, and what they are sent of that.

use super::*;

// Invariant I10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_gets_up_to_their_own_left_and_nothing_after_it() {
    let bench = bench().await;
    bench.send("c", "alice", "before carol").await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    bench.send("c", "alice", "with carol").await;

    let (node, mut queue) = subscriber(64);
    let (tail, joined, _) = live(bench.interest(&node, "c", "carol", None).await);
    assert_eq!((tail, joined), (Seq(4), Seq(3)));

    bench.remove("c", "alice", "carol").await.expect("removed");
    bench.send("c", "alice", "without carol").await;
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(5));

    for applied in [false, true] {
        if applied {
            bench.applied().await;
        }
        // From the seq before the join on, up to the one before the `left`.
        for after in 2..5 {
            let Subscribed::Ended { left, events, .. } =
                bench.interest(&node, "c", "carol", Some(after)).await
            else {
                panic!("after {after}")
            };
            assert_eq!(left, Seq(5));
            assert_dense(&events, Seq(after + 1));
            assert_eq!(events.last().map(|event| event.seq), Some(Seq(5)));
        }
        for after in [Some(0), Some(1), Some(5), Some(6), None] {
            let answer = bench.interest(&node, "c", "carol", after).await;
            assert!(
                matches!(answer, Subscribed::NotParticipant),
                "{after:?} {answer:?}"
            );
        }
    }

    for (name, who) in [("c", "stranger"), ("nowhere", "bob")] {
        assert!(matches!(
            bench.interest(&node, name, who, Some(0)).await,
            Subscribed::NotParticipant
        ));
    }

    bench.send("c", "alice", "still without").await;
    assert!(
        queue.try_recv().is_err(),
        "nothing is pushed to any of them"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_again_is_told_of_the_membership_before_if_that_was_asked_for() {
    let bench = bench().await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    bench.remove("c", "alice", "carol").await.expect("removed");
    bench.add("c", "alice", &["carol"]).await.expect("added");

    let (node, _queue) = subscriber(64);
    for (who, since, expected) in [
        ("carol", None, None),
        ("carol", Some(0), Some(Seq(3))),
        ("carol", Some(2), Some(Seq(3))),
        ("carol", Some(3), None),
        ("bob", Some(0), None),
    ] {
        let interest = Interest {
            conversation: conversation("c"),
            user: user(who),
            after: None,
            limit: 1,
            since: since.map(Seq),
        };
        let answers = in_time(bench.handle().subscribe(&node, vec![interest], soon()))
            .await
            .expect("owned");
        let Some(Subscribed::Live { departed, .. }) = answers.into_iter().next() else {
            panic!("refused")
        };
        assert_eq!(departed, expected, "{who} since {since:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_out_again_is_told_of_the_membership_before_the_last_if_that_was_asked_for() {
    let bench = bench().await;
    for _ in 0..2 {
        bench.add("c", "alice", &["carol"]).await.expect("added");
        bench.remove("c", "alice", "carol").await.expect("removed");
    }

    bench.applied().await;
    let (node, _queue) = subscriber(64);

    for (since, expected) in [
        (None, None),
        (Some(0), Some(Seq(3))),
        (Some(2), Some(Seq(3))),
        (Some(3), None),
    ] {
        let (conversation, user, since) = (conversation("c"), user("carol"), since.map(Seq));
        let interest = Interest {
            conversation,
            user,
            after: Some(Seq(3)),
            limit: 10,
            since,
        };
        let answers = in_time(bench.handle().subscribe(&node, vec![interest], soon()))
            .await
            .expect("owned");
        let Some(Subscribed::Ended { left, departed, .. }) = answers.into_iter().next() else {
            panic!("refused")
        };
        assert_eq!((left, departed), (Seq(5), expected), "since {since:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_cannot_reach_behind_their_join_while_their_left_is_unapplied() {
    let bench = Bench::with(Config {
        barrier_max: Duration::from_millis(50),
        ..config()
    })
    .await;

    bench.create("c", &["alice"]).await;
    bench.send("c", "alice", "before carol").await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    bench.applied().await;
    bench.log.stall_reads(true);
    bench.remove("c", "alice", "carol").await.expect("removed");
    let (node, _queue) = subscriber(8);

    // It is not known yet where the membership began: asked again later.
    assert!(matches!(
        bench.interest(&node, "c", "carol", Some(0)).await,
        Subscribed::Failed(_)
    ));

    bench.log.stall_reads(false);
    bench.applied().await;
    assert!(matches!(
        bench.interest(&node, "c", "carol", Some(0)).await,
        Subscribed::NotParticipant
    ));
    assert!(matches!(
        bench.interest(&node, "c", "carol", Some(2)).await,
        Subscribed::Ended { .. }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_being_added_is_subscribed_when_that_is_committed_or_not_at_all() {
    for refused in [false, true] {
        let bench = bench().await;
        bench.at_rest().await;
        bench.log.hold();
        if refused {
            bench.log.fault(M, &[Fault::NotWritten]);
        }
        let adding = bench.execute(add("c", "alice", &["carol"]));
        let (node, mut queue) = subscriber(8);
        let mut waiting = Box::pin(bench.interest(&node, "c", "carol", Some(0)));
        assert!(
            tokio::time::timeout(Duration::from_millis(30), &mut waiting)
                .await
                .is_err()
        );
        bench.log.release();
        let outcome = in_time(adding).await;
        let subscribed = in_time(waiting).await;
        if refused {
            assert_eq!(code(outcome), Code::Unavailable);
            assert!(
                matches!(subscribed, Subscribed::NotParticipant),
                "{subscribed:?}"
            );
            bench.send("c", "alice", "secret").await;
            bench.send("c", "alice", "more").await;
            assert!(queue.try_recv().is_err(), "the user never came in");
        } else {
            assert!(outcome.is_ok());
            let (tail, joined, events) = live(subscribed);
            assert_eq!((tail, joined, events.len()), (Seq(2), Seq(2), 2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_being_removed_is_subscribed_to_what_is_committed_however_long_that_takes() {
    for (written, lagging) in [(true, false), (true, true), (false, false)] {
        let bench = bench().await;
        bench.log.stall_reads(lagging);
        let last = bench
            .send("c", "alice", "the last that is theirs")
            .await
            .core
            .seq;
        bench.log.hold();
        let removal = bench.execute(remove("c", "alice", "bob"));
        let after = bench.execute(send("c", "alice", "not theirs"));
        bench.waiting(2).await;

        let (node, mut pushed) = subscriber(8);
        let asked = bench.interest(&node, "c", "bob", Some(last.0 - 1));
        let asked = tokio::join!(asked, async { bench.log.stall_reads(false) }).0;
        let (tail, joined, events) = live(asked);
        assert_eq!((tail, joined), (last, Seq(1)));
        assert_eq!(
            events.iter().map(|event| event.seq).collect::<Vec<_>>(),
            [last]
        );

        if !written {
            bench.log.fault(M, &[Fault::NotWritten]);
        }
        bench.log.release();
        assert_eq!(
            (in_time(removal).await.is_ok(), in_time(after).await.is_ok()),
            (written, written)
        );
        if !written {
            bench.send("c", "alice", "theirs after all").await;
        }
        let Some(Push::Event { event, .. }) = in_time(pushed.recv()).await else {
            panic!("nothing pushed")
        };
        assert_eq!(matches!(event.kind, EventKind::Left { .. }), written);
        bench.turn().await;
        assert!(pushed.try_recv().is_err(), "nothing after their removal");
    }
}
