//! Watermarks and reactions: they never go back, and only who is in has them.

use super::*;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench
}

/// (delivered, read) of someone.
async fn marks(bench: &Bench, who: &str) -> (u64, u64) {
    let query = Query::Watermarks {
        name: conversation("c"),
        reader: user("alice"),
        after: None,
        limit: 100,
    };
    let Ok(Found::Watermarks(page)) = bench.query(query).await else {
        panic!("no watermarks")
    };
    let mark = page.items.into_iter().find(|mark| mark.user == user(who));
    mark.map_or((0, 0), |mark| (mark.delivered_up_to.0, mark.read_up_to.0))
}

/// Waits for what is shed or comes by itself.
async fn marks_become(bench: &Bench, who: &str, wanted: (u64, u64)) {
    in_time(async {
        while marks(bench, who).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn done(bench: &Bench, command: Command) {
    assert!(matches!(
        in_time(bench.execute(command)).await,
        Ok(Done::Marked)
    ));
}

// what must not happen: 11 (reading does not mark as read, and erases reactions)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_marks_as_read_and_delivered_and_keeps_reactions() {
    let bench = bench().await;
    let message = bench.send("c", "alice", "one").await;
    done(&bench, react(&message, "bob", Some(9))).await;
    done(&bench, mark_read(&message, "bob")).await;
    done(&bench, delivered("c", "bob", 2)).await;
    bench
        .history("c", "bob", Around::Newest, 10)
        .await
        .expect("reads");
    assert_eq!(marks(&bench, "bob").await, (2, 2));

    let query = Query::Receipts {
        id: message.core.id,
        reader: user("alice"),
        after: None,
        limit: 10,
    };
    let Ok(Found::Receipts(page)) = bench.query(query).await else {
        panic!("no receipts")
    };
    let [receipt] = &page.items[..] else {
        panic!("{page:?}")
    };

    assert_eq!(
        (receipt.delivered, receipt.read, receipt.reaction),
        (true, true, Some(9))
    );

    done(&bench, react(&message, "bob", None)).await;
    let page = bench
        .history("c", "alice", Around::Newest, 1)
        .await
        .expect("reads");
    assert!(page.items[0].reactions.is_empty());
}

// what must not happen: 12 (strangers react; receipts of messages that never existed)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_unknown_messages_get_no_receipts() {
    let bench = bench().await;
    let message = bench.send("c", "alice", "one").await;
    let mut unknown = message.clone();
    unknown.core.id = MessageId::new(START, conversation("c").slot(), 42);

    for command in [
        react(&message, "stranger", Some(1)),
        mark_read(&message, "stranger"),
        react(&unknown, "bob", Some(1)),
        mark_read(&unknown, "bob"),
    ] {
        assert_eq!(
            code(in_time(bench.execute(command)).await),
            Code::MessageUnknown
        );
    }

    done(&bench, delivered("c", "stranger", 2)).await;
    done(&bench, delivered("nowhere", "bob", 2)).await;
    // What comes after them on the stream is there: they are not.
    done(&bench, mark_read(&message, "bob")).await;
    assert_eq!(marks(&bench, "stranger").await, (0, 0));
    assert_eq!(
        bench.handle().status().committed.receipts,
        Offset(2),
        "the epoch start and one advance"
    );
}

// Invariant I12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_never_go_back() {
    let mut bench = bench().await;
    let mut messages = Vec::new();
    for number in 0..5 {
        messages.push(bench.send("c", "alice", &format!("{number}")).await);
    }

    done(&bench, mark_read(&messages[3], "bob")).await;
    done(&bench, mark_read(&messages[1], "bob")).await;
    done(&bench, delivered("c", "bob", 3)).await;
    assert_eq!(marks(&bench, "bob").await, (5, 5));

    bench.crash().await;
    done(&bench, mark_read(&messages[2], "bob")).await;
    assert_eq!(marks(&bench, "bob").await, (5, 5));

    done(&bench, delivered("c", "bob", 6)).await;
    marks_become(&bench, "bob", (6, 5)).await;
    done(&bench, mark_read(&messages[4], "bob")).await;
    assert_eq!(marks(&bench, "bob").await, (6, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_before_it_is_committed() {
    let bench = bench().await;
    bench.send("c", "alice", "one").await;
    done(&bench, delivered("c", "bob", 1)).await;
    marks_become(&bench, "bob", (1, 1)).await;
    bench.at_rest().await;
    bench.log.hold();
    bench.log.fault(M, &[Fault::NotWritten]);

    let uncommitted = bench.execute(send("c", "alice", "two"));
    bench.waiting(1).await;
    done(&bench, delivered("c", "bob", 1_000)).await;
    bench.turn().await;
    bench.log.release();
    assert_eq!(code(in_time(uncommitted).await), Code::Unavailable);

    bench.send("c", "alice", "another two").await;
    // Nor is the other message of that seq.
    marks_become(&bench, "bob", (2, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_starts_at_the_own_join() {
    let bench = bench().await;
    let before = bench.send("c", "alice", "before").await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    done(&bench, mark_read(&before, "carol")).await;

    assert_eq!(
        marks(&bench, "carol").await.1,
        3,
        "no change behind where the reader starts"
    );

    let list = Query::Summaries {
        names: vec![conversation("c")],
        reader: user("carol"),
    };
    let unread = |found| match found {
        Ok(Found::Summaries(items)) => items[0].as_ref().expect("a summary").unread(),
        other => panic!("{other:?}"),
    };
    assert_eq!(unread(bench.query(list.clone()).await), Some(0));

    let after = bench.send("c", "alice", "after").await;
    assert_eq!(unread(bench.query(list.clone()).await), Some(1));

    done(&bench, mark_read(&after, "carol")).await;
    assert_eq!(unread(bench.query(list).await), Some(0));

    // Gone and back again: the old watermark is below the new join.
    bench.remove("c", "alice", "carol").await.expect("removed");

    let missed = bench.send("c", "alice", "missed").await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    assert_eq!(marks(&bench, "carol").await.1, 7);

    done(&bench, mark_read(&missed, "carol")).await;
    assert_eq!(marks(&bench, "carol").await.1, 7);
}

fn watermark(push: Push) -> (UserId, bool, u64, Vec<UserId>) {
    match push {
        Push::Watermark {
            user,
            read,
            up_to,
            mut targets,
            ..
        } => {
            targets.sort();
            (user, read, up_to.0, targets)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_is_pushed_to_the_senders_it_covers_and_a_read_one_to_the_reader() {
    let bench = bench().await;
    bench
        .add("c", "alice", &["carol", "dave"])
        .await
        .expect("added");
    bench.send("c", "carol", "old").await;

    let old = bench.send("c", "bob", "one's own").await;
    done(&bench, mark_read(&old, "bob")).await;

    let (alices, mut to_alice) = subscriber(64);
    let (bobs, mut to_bob) = subscriber(64);
    let (daves, mut to_dave) = subscriber(64);
    for (node, who) in [(&alices, "alice"), (&bobs, "bob"), (&daves, "dave")] {
        bench.interest(node, "c", who, None).await;
    }

    let mut last = bench.send("c", "alice", "0").await;
    for number in 1..3 {
        last = bench.send("c", "alice", &format!("{number}")).await;
    }

    for queue in [&mut to_alice, &mut to_bob, &mut to_dave] {
        for _ in 0..3 {
            pushed_event(queue).await;
        }
    }

    done(&bench, delivered("c", "bob", last.core.seq.0)).await;
    let expected = (user("bob"), false, last.core.seq.0, users(&["alice"]));
    assert_eq!(watermark(pushed(&mut to_alice).await), expected);

    done(&bench, mark_read(&last, "bob")).await;
    let expected = (user("bob"), true, last.core.seq.0, users(&["alice"]));
    assert_eq!(watermark(pushed(&mut to_alice).await), expected);
    assert_eq!(
        watermark(pushed(&mut to_bob).await),
        expected,
        "the other devices"
    );
    let own = pushed(&mut to_bob).await;
    assert!(
        matches!(&own, Push::View { user, read_up_to, .. } if user.as_str() == "bob" && *read_up_to == last.core.seq),
        "{own:?}"
    );

    // Reactions go to everyone; before this one came nothing.
    done(&bench, react(&last, "carol", Some(5))).await;
    for queue in [&mut to_alice, &mut to_bob, &mut to_dave] {
        assert!(matches!(
            pushed(queue).await,
            Push::Reaction {
                reaction: Some(5),
                previous: None,
                ..
            }
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_tells_what_it_takes_the_place_of_whether_or_not_that_is_applied() {
    let mut bench = bench().await;
    let message = bench.send("c", "alice", "one").await;
    let mut before = None;
    for (number, reaction) in [Some(1), Some(2), None, Some(2), Some(3)]
        .into_iter()
        .enumerate()
    {
        let (alices, mut queue) = subscriber(64);
        bench.interest(&alices, "c", "alice", None).await;
        done(&bench, react(&message, "bob", reaction)).await;
        match pushed(&mut queue).await {
            Push::Reaction { previous, .. } => assert_eq!(previous, before, "{number}"),
            other => panic!("{other:?}"),
        }
        before = reaction;
        if number % 2 == 1 {
            bench.applied().await;
            bench.crash().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_tells_what_is_unread_after_it() {
    let bench = bench().await;
    let first = bench.send("c", "alice", "one").await;
    let second = bench.send("c", "alice", "two").await;
    bench.send("c", "bob", "mine").await;
    bench.send("c", "alice", "three").await;
    let (bobs, mut queue) = subscriber(64);
    bench.interest(&bobs, "c", "bob", None).await;
    for (message, left) in [(&first, 2), (&second, 1)] {
        done(&bench, mark_read(message, "bob")).await;
        let Push::Watermark { unread, .. } = pushed(&mut queue).await else {
            panic!("no watermark")
        };
        assert_eq!(unread.map(|unread| unread.messages), Some(left));
        assert!(matches!(pushed(&mut queue).await, Push::View { .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_senders_among_the_last_200_messages_are_told() {
    let bench = bench().await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    bench.send("c", "carol", "long ago").await;
    let sends: Vec<_> = (0..200)
        .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
        .collect();
    let answers = in_time(futures_util::future::join_all(sends)).await;
    let last = sent(answers.into_iter().next_back().expect("200"));
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "alice", None).await;
    bench.interest(&node, "c", "carol", None).await;
    done(&bench, mark_read(&last, "bob")).await;
    assert_eq!(watermark(pushed(&mut queue).await).3, users(&["alice"]));
}
