//! Pages are the same whatever the worker has done.

use super::*;

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

// what must not happen: 26 (a fresh message is not in history, its receipts are 404)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
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
    let reactions = Query::Reactions {
        id: fresh.core.id,
        reader: user("bob"),
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
    let shown = Query::Conversation {
        name: conversation("c"),
        reader: user("bob"),
    };

    for query in [
        shown.clone(),
        receipts.clone(),
        reactions.clone(),
        marks.clone(),
        list.clone(),
    ] {
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
    for query in [shown, receipts, reactions, marks, list, message] {
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
