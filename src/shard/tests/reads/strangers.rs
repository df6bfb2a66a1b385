//! Whoever may not read learns nothing, nor does a reader who is removed meanwhile.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn whoever_is_no_participant_cannot_tell_what_exists() {
    let bench = bench(Duration::from_secs(20)).await;
    let message = bench.send("c", "alice", "secret").await;
    bench.add("c", "alice", &["carol"]).await.expect("added");
    bench.remove("c", "alice", "carol").await.expect("removed");

    let unknown = MessageId::new(START, conversation("c").slot(), 77);
    for reader in ["stranger", "carol"] {
        for id in [message.core.id, unknown] {
            assert_eq!(
                code(
                    bench
                        .query(Query::Message {
                            id,
                            reader: user(reader)
                        })
                        .await
                ),
                Code::MessageUnknown
            );
            let receipts = Query::Receipts {
                id,
                reader: user(reader),
                after: None,
                limit: 1,
            };
            assert_eq!(code(bench.query(receipts).await), Code::MessageUnknown);
            let reactions = Query::Reactions {
                id,
                reader: user(reader),
                after: None,
                limit: 1,
            };
            assert_eq!(code(bench.query(reactions).await), Code::MessageUnknown);
        }
        for name in ["c", "nowhere"] {
            assert_eq!(code(bench.view(name, reader).await), Code::NotParticipant);
            assert_eq!(
                code(bench.history(name, reader, Around::Newest, 1).await),
                Code::NotParticipant
            );
            let (name, reader) = (conversation(name), user(reader));
            let events = Query::Events {
                name: name.clone(),
                reader: reader.clone(),
                after: Seq(0),
                limit: 1,
            };
            assert_eq!(code(bench.query(events).await), Code::NotParticipant);
            let of = Query::Participants {
                name: name.clone(),
                reader: reader.clone(),
                after: None,
                limit: 1,
            };
            assert_eq!(code(bench.query(of).await), Code::NotParticipant);
            let list = Query::Summaries {
                names: vec![name],
                reader,
            };
            let Ok(Found::Summaries(items)) = bench.query(list).await else {
                panic!("refused")
            };
            assert_eq!(items, [None]);
        }
    }

    let not_theirs = Query::Receipts {
        id: message.core.id,
        reader: user("bob"),
        after: None,
        limit: 1,
    };
    assert_eq!(code(bench.query(not_theirs).await), Code::NotSender);
}

/// A read of bob's whose gathering waits: every reader of the file is busy, as with a slow disk or
/// a snapshot.
async fn reading_of_bob(
    bench: &Bench,
    query: Query,
) -> JoinHandle<Result<(Found, Freshness), ShardError>> {
    let handle = bench.handle().clone();
    let read = tokio::spawn(async move { handle.query(query, soon()).await });
    // Its ticket is given by then.
    for _ in 0..20 {
        bench.turn().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    read
}

/// Bob is removed, and a message follows, while bob reads.
async fn removed_meanwhile(query: impl FnOnce(&Message) -> Query) -> Result<Found, ShardError> {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;

    let message = bench.send("c", "bob", "before").await;
    in_time(bench.execute(react(&message, "alice", Some(1))))
        .await
        .expect("set");
    bench.at_rest().await;

    let held = bench.handle().0.store.hold_readers().await;
    let read = reading_of_bob(&bench, query(&message)).await;
    drop(
        bench
            .handle()
            .execute(remove("c", "alice", "bob"), shortly())
            .await,
    );

    bench.send("c", "alice", "secret after the removal").await;
    bench.applied().await;
    drop(held);
    in_time(read).await.expect("runs").map(|(found, _)| found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_page_read_while_its_reader_is_removed_has_nothing_after_the_removal() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "before").await;
    bench.at_rest().await;

    let held = bench.handle().0.store.hold_readers().await;
    let mut pages = Vec::new();

    for around in [
        Around::Newest,
        Around::Before(Seq(9)),
        Around::Around(Seq(9)),
        Around::After(Seq(0)),
    ] {
        let query = HistoryQuery {
            conversation: conversation("c"),
            reader: user("bob"),
            around,
            ascending: true,
            limit: 1,
            source: None,
            reply_to: None,
        };
        pages.push((around, reading_of_bob(&bench, Query::History(query)).await));
    }

    let query = Query::Events {
        name: conversation("c"),
        reader: user("bob"),
        after: Seq(0),
        limit: 50,
    };
    let events = reading_of_bob(&bench, query).await;
    drop(
        bench
            .handle()
            .execute(remove("c", "alice", "bob"), shortly())
            .await,
    );

    bench.send("c", "alice", "secret after the removal").await;
    bench.applied().await;
    drop(held);

    for (around, page) in pages {
        let page = in_time(page).await.expect("runs");
        let Ok((Found::History(page), _)) = page else {
            panic!("{page:?}")
        };
        let texts: Vec<_> = page
            .items
            .iter()
            .map(|message| message.core.text.clone())
            .collect();
        assert_eq!(
            (texts, page.after),
            (vec!["before".to_owned()], None),
            "{around:?}"
        );
    }

    let seen = in_time(events).await.expect("runs");
    let Ok((Found::Events { items, next, .. }, _)) = seen else {
        panic!("{seen:?}")
    };
    let seqs: Vec<_> = items.iter().map(|event| event.seq.0).collect();
    assert_eq!((seqs, next), (vec![1, 2], None), "bob left at 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_seq_is_not_given_to_a_reader_who_is_removed_while_it_is_gathered() {
    let (name, reader) = (conversation("c"), user("bob"));
    let marks = Query::Watermarks {
        name: name.clone(),
        reader: reader.clone(),
        after: None,
        limit: 10,
    };

    assert_eq!(
        code(removed_meanwhile(|_| marks).await),
        Code::NotParticipant
    );

    let receipts = |message: &Message| {
        let (id, reader) = (message.core.id, user("bob"));
        Query::Receipts {
            id,
            reader,
            after: None,
            limit: 10,
        }
    };

    assert_eq!(
        code(removed_meanwhile(receipts).await),
        Code::MessageUnknown
    );

    let reactions = |message: &Message| {
        let (id, reader) = (message.core.id, user("bob"));
        Query::Reactions {
            id,
            reader,
            after: None,
            limit: 10,
        }
    };

    assert_eq!(
        code(removed_meanwhile(reactions).await),
        Code::MessageUnknown
    );

    let message = |message: &Message| Query::Message {
        id: message.core.id,
        reader: user("bob"),
    };

    assert_eq!(
        code(removed_meanwhile(message).await),
        Code::MessageUnknown,
        "it has reactions of others"
    );

    // In a list bob is out as soon as the file says so.
    let list = removed_meanwhile(|_| Query::Summaries {
        names: vec![name],
        reader,
    })
    .await;
    let Ok(Found::Summaries(items)) = list else {
        panic!("{list:?}")
    };
    assert_eq!(items, [None]);
}
