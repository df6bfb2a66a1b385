//! Reads: own writes are seen at once, whatever the worker does; who may not read learns nothing.

use super::*;

/// Stands still when asked to: what is committed is not applied.
async fn bench(barrier_max: Duration) -> Bench {
    let bench = Bench::with(Config {
        barrier_max,
        ..config()
    })
    .await;
    bench.create("c", &["alice", "bob"]).await;
    for number in 0..10 {
        bench.send("c", "alice", &format!("applied {number}")).await;
    }
    bench.at_rest().await;
    bench
}

fn pages() -> Vec<Around> {
    let seqs = [0, 1, 2, 5, 11, 12, 15, 20, 21, 30];
    let mut pages = vec![Around::Newest, Around::Oldest];
    for seq in seqs.map(Seq) {
        pages.extend([Around::Before(seq), Around::After(seq), Around::Around(seq)]);
    }
    pages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_history_are_the_same_with_and_without_an_unapplied_tail() {
    let bench = bench(Duration::from_secs(20)).await;
    bench.log.stall_reads(true);
    for number in 0..9 {
        let source = if number % 3 == 0 { "bob" } else { "alice" };
        bench.send("c", source, &format!("tail {number}")).await;
    }
    let mut with_tail = Vec::new();
    for around in pages() {
        for limit in [1, 4, 30] {
            for source in [None, Some(user("bob"))] {
                with_tail.push(page(&bench, around, limit, source).await);
            }
        }
    }
    assert_eq!(bench.events("c", "bob").await.len(), 20);
    bench.log.stall_reads(false);
    bench.applied().await;
    let mut without = with_tail.into_iter();
    for around in pages() {
        for limit in [1, 4, 30] {
            for source in [None, Some(user("bob"))] {
                let page = page(&bench, around, limit, source.clone()).await;
                assert_eq!(Some(page), without.next(), "{around:?} {limit} {source:?}");
            }
        }
    }
    assert_eq!(bench.events("c", "bob").await.len(), 20);
}

async fn page(bench: &Bench, around: Around, limit: u32, source: Option<UserId>) -> HistoryPage {
    let (conversation, reader) = (conversation("c"), user("bob"));
    let query = HistoryQuery {
        conversation,
        reader,
        around,
        ascending: false,
        limit,
        source,
        reply_to: None,
    };
    match bench.query(Query::History(query)).await {
        Ok(Found::History(page)) => page,
        other => panic!("{other:?}"),
    }
}

// what must not happen: 26 (a fresh message is not in history, its receipts are 404)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_merged_waits_for_the_worker_and_says_so_when_it_does_not_come() {
    let bench = bench(Duration::from_millis(50)).await;
    bench.log.stall_reads(true);
    let fresh = bench.send("c", "alice", "fresh").await;
    let message = Query::Message {
        id: fresh.core.id,
        reader: user("bob"),
    };
    let receipts = Query::Receipts {
        id: fresh.core.id,
        reader: user("alice"),
        after: None,
        limit: 10,
    };
    let marks = Query::Watermarks {
        name: conversation("c"),
        reader: user("bob"),
        after: None,
        limit: 10,
    };
    let list = Query::Summaries {
        names: vec![conversation("c")],
        reader: user("bob"),
    };
    let Ok(Found::Message(found)) = bench.query(message.clone()).await else {
        panic!("out of memory")
    };
    assert_eq!(found, fresh);
    assert_eq!(
        bench
            .view("c", "bob")
            .await
            .expect("out of the head")
            .last_seq,
        fresh.core.seq
    );
    for query in [receipts.clone(), marks.clone(), list.clone()] {
        assert_eq!(code(bench.query(query).await), Code::Lagging);
    }
    // A reaction is unapplied: no page of history may lack it.
    assert!(matches!(
        in_time(bench.execute(react(&fresh, "bob", Some(128_077)))).await,
        Ok(Done::Marked)
    ));
    assert_eq!(
        code(bench.history("c", "bob", Around::Newest, 1).await),
        Code::Lagging
    );
    bench.log.stall_reads(false);
    bench.applied().await;
    for query in [receipts, marks, list, message] {
        assert!(bench.query(query).await.is_ok());
    }
    let page = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("reads");
    assert_eq!(
        (
            page.items[0].reactions.get(&128_077),
            page.items[0].my_reaction
        ),
        (Some(&1), Some(128_077))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubtful_receipt_holds_up_no_reader() {
    let bench = bench(Duration::from_millis(200)).await;
    let message = bench.send("c", "alice", "hello").await;
    assert!(matches!(
        in_time(bench.execute(react(&message, "alice", Some(1)))).await,
        Ok(Done::Marked)
    ));
    bench.applied().await;
    bench.log.fault(R, &[Fault::DoubtNotWritten; 1]);
    bench.log.hold();
    let doubtful = tokio::spawn(bench.execute(react(&message, "bob", Some(2))));
    bench.waiting(1).await;
    let page = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("what is committed is applied");
    assert_eq!(page.items[0].reactions, BTreeMap::from([(1, 1)]));
    bench.log.release();
    assert!(matches!(in_time(doubtful).await, Ok(Ok(Done::Marked))));
    let page = bench
        .history("c", "bob", Around::Newest, 1)
        .await
        .expect("reads");
    assert_eq!(page.items[0].reactions, BTreeMap::from([(1, 1), (2, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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
    let not_hers = Query::Receipts {
        id: message.core.id,
        reader: user("bob"),
        after: None,
        limit: 1,
    };
    assert_eq!(code(bench.query(not_hers).await), Code::NotSender);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participants_are_paged_by_name() {
    let bench = bench(Duration::from_secs(20)).await;
    bench
        .add("c", "alice", &["dave", "carol"])
        .await
        .expect("added");
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let query = Query::Participants {
            name: conversation("c"),
            reader: user("bob"),
            after,
            limit: 3,
        };
        let Ok(Found::Participants(page)) = bench.query(query).await else {
            panic!("refused")
        };
        names.extend(
            page.items
                .into_iter()
                .map(|participant| participant.name.to_string()),
        );
        let Some(next) = page.next else { break };
        after = Some(user(&next));
    }
    assert_eq!(names, ["alice", "bob", "carol", "dave"]);
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

/// Bob is removed, and a message follows, while a read of his is under way.
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
    let Ok((Found::Events { items, next }, _)) = seen else {
        panic!("{seen:?}")
    };
    let seqs: Vec<_> = items.iter().map(|event| event.seq.0).collect();
    assert_eq!((seqs, next), (vec![1, 2], None), "he left at 3");
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
    let message = |message: &Message| Query::Message {
        id: message.core.id,
        reader: user("bob"),
    };
    assert_eq!(
        code(removed_meanwhile(message).await),
        Code::MessageUnknown,
        "it has reactions of others"
    );
    // In a list he is out as soon as the file says so.
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
