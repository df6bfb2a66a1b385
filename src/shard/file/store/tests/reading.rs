//! What each read gives back, and that none scans a table.

use super::*;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_head_holds_what_the_log_told() {
    let folder = folder();
    let records = [
        with_key(
            created("c", &["alice", "bob", "carol"], START),
            "make",
            true,
        ),
        message("c", 2, "bob", 1, START + 5),
        left("c", 3, "alice", "alice", Some("bob")),
        joined("c", 4, "bob", &["dave", "erin"]),
        message("c", 5, "dave", 2, START + 9),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let head = store
        .head(&conversation("c"))
        .await
        .expect("reads")
        .expect("there");
    let members: Vec<_> = head
        .members
        .iter()
        .map(|member| (member.user.as_str(), member.joined.0, member.position))
        .collect();
    assert_eq!(
        members,
        [
            ("bob", 1, 1),
            ("carol", 1, 2),
            ("dave", 4, 0),
            ("erin", 4, 1)
        ]
    );
    assert_eq!((head.admin, head.created_by), (user("bob"), user("alice")));
    assert_eq!(
        (head.last_seq, head.last_created, head.created),
        (Seq(5), START + 9, START)
    );
    assert_eq!(head.recent, [(Seq(2), user("bob")), (Seq(5), user("dave"))]);
    assert_eq!(
        head.create_key,
        Some(KeyUse {
            key: "make".into(),
            stamped: true,
            fingerprint: [7; 16]
        })
    );
    assert_eq!(head.created_offset, Offset(1));
    assert_eq!(
        store.head(&conversation("other")).await.expect("reads"),
        None
    );
    let name = conversation("c");
    assert_eq!(
        store.departure(&name, &user("alice")).await.expect("reads"),
        Some((Seq(1), Seq(3)))
    );
    assert_eq!(
        store.departure(&name, &user("bob")).await.expect("reads"),
        None
    );
    let page = store
        .participants(&name, Some(&user("bob")), 2)
        .await
        .expect("reads");
    assert_eq!(page, [user("carol"), user("dave")]);
}

#[tokio::test]
async fn events_are_dense_over_messages_and_others() {
    let folder = folder();
    let records = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "bob", 1, START),
        joined("c", 3, "alice", &["dave"]),
        message_to("c", 4, "bob", 2, START, Some(id(1))),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let all = store
        .events(&conversation("c"), Seq(0), 200)
        .await
        .expect("reads");
    let expected: Vec<_> = records
        .iter()
        .map(|record| {
            if let Record::Event(event) = record {
                Arc::clone(event)
            } else {
                panic!("an event")
            }
        })
        .collect();
    assert_eq!(all, expected);
    let page = store
        .events(&conversation("c"), Seq(1), 2)
        .await
        .expect("reads");
    assert_eq!(page, expected[1..3]);
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn history_gives_the_nearest_page_and_one_more_on_each_side_asked() {
    let folder = folder();
    let mut records = vec![created("c", &["alice", "bob"], START)];
    for seq in 2..=60_u64 {
        let who = if seq % 3 == 0 { "bob" } else { "alice" };
        records.push(message_to(
            "c",
            seq,
            who,
            seq,
            START,
            (seq % 5 == 0).then(|| id(2)),
        ));
    }
    let store = one(folder.path(), &records, &[]).await;
    let (name, bob) = (conversation("c"), user("bob"));
    let arounds = [
        Around::Newest,
        Around::Oldest,
        Around::Before(Seq(30)),
        Around::After(Seq(30)),
        Around::Around(Seq(30)),
    ];
    for around in arounds {
        for (source, reply_to) in [
            (None, None),
            (Some(&bob), None),
            (None, Some(id(2))),
            (Some(&bob), Some(id(2))),
        ] {
            for limit in [0_u32, 1, 7, 200] {
                let read = HistoryRead {
                    conversation: &name,
                    around,
                    limit,
                    source,
                    reply_to,
                };
                let found: Vec<u64> = store
                    .history(read)
                    .await
                    .expect("reads")
                    .iter()
                    .map(|message| message.core.seq.0)
                    .collect();
                let matching = |seq: &u64| {
                    (source.is_none() || seq.is_multiple_of(3))
                        && (reply_to.is_none() || seq.is_multiple_of(5))
                };
                let take = limit as usize + 1;
                let below = |top: u64| {
                    (2..=top)
                        .rev()
                        .filter(matching)
                        .take(take)
                        .collect::<Vec<_>>()
                };
                let above = |low: u64| (low..=60).filter(matching).take(take).collect::<Vec<_>>();
                let mut expected = match around {
                    Around::Newest => below(60),
                    Around::Oldest => above(2),
                    Around::Before(_) => below(29),
                    Around::After(_) => above(31),
                    Around::Around(_) => [below(30), above(31)].concat(),
                };
                expected.sort_unstable();
                assert_eq!(
                    found, expected,
                    "{around:?} {source:?} {reply_to:?} {limit}"
                );
            }
        }
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn keys_of_clients_are_found_for_a_day_of_the_shards_time_and_stamped_ones_never() {
    const HOUR: u64 = 60 * 60 * 1000;
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    let mark = |ts| Record::EpochStart {
        epoch: Epoch(1),
        node: NodeId::from("n"),
        ts,
    };
    log.entry(&[
        mark(START),
        created("c", &["alice"], START),
        with_key(message("c", 2, "alice", 1, START), "mine", false),
        with_key(message("c", 3, "alice", 2, START), "routers", true),
        index("alice", "c", 1, true, Some("make"), START),
    ]);
    // No time of day, of whatever record, makes the file forget them.
    log.entry(&[message("c", 4, "alice", 3, START + 366 * DAY)]);
    for hour in 1..=24 {
        log.entry(&[mark(START + hour * HOUR)]);
    }
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let (name, alice) = (conversation("c"), user("alice"));
    let key = |text: &str| IdempotencyKey::from_client(text).expect("a good key");
    let found = store.key(&name, &alice, &key("mine")).await.expect("reads");
    assert_eq!(
        found,
        Some(KeyRow {
            seq: Seq(2),
            fingerprint: [7; 16]
        })
    );
    assert_eq!(
        store
            .key(&name, &alice, &key("routers"))
            .await
            .expect("reads"),
        None
    );
    let made = store
        .create_key(&alice, &key("make"))
        .await
        .expect("reads")
        .expect("found");
    assert_eq!((made.name, made.fingerprint), (name.clone(), [9; 16]));
    let used = (name.clone(), alice.clone(), "mine".to_owned());
    assert_eq!(
        store.recent_keys(None, 9).await.expect("reads"),
        std::slice::from_ref(&used)
    );
    assert_eq!(store.recent_keys(Some(&used), 9).await.expect("reads"), []);
    let marked = log.entries.len();
    log.entry(&[mark(START + 25 * HOUR), mark(START + 26 * HOUR)]);
    store
        .apply(Stream::Messages, log.entries.split_off(marked))
        .await
        .expect("applies");
    assert_eq!(
        store.key(&name, &alice, &key("mine")).await.expect("reads"),
        None
    );
    assert_eq!(
        store.create_key(&alice, &key("make")).await.expect("reads"),
        None
    );
    assert_eq!(store.recent_keys(None, 9).await.expect("reads"), []);
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn the_outbox_names_the_creator_first_and_goes_as_it_is_delivered() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        with_key(created("c", &["alice", "bob"], START), "make", false),
        left("c", 2, "alice", "bob", None),
    ]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let rows = store
        .outbox(OutboxPosition::default(), 9)
        .await
        .expect("reads");
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.position.offset.0,
                row.position.index,
                row.change.user.as_str(),
                row.change.joined,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, 0, "alice", true),
            (1, 1, "bob", true),
            (2, 0, "bob", false)
        ]
    );
    assert_eq!(
        rows[0]
            .change
            .create_key
            .as_ref()
            .map(|key| key.key.as_ref()),
        Some("make")
    );
    assert_eq!(rows[1].change.create_key, None);
    assert_eq!(
        store.outbox(rows[0].position, 1).await.expect("reads"),
        rows[1..2]
    );
    log.entry(&[Record::OutboxProgress {
        upto: rows[1].position,
    }]);
    store
        .apply(Stream::Messages, log.entries.split_off(1))
        .await
        .expect("applies");
    assert_eq!(
        store
            .outbox(OutboxPosition::default(), 9)
            .await
            .expect("reads"),
        rows[2..]
    );
}

#[tokio::test]
async fn an_older_change_never_overwrites_a_newer_one_in_an_index() {
    let folder = folder();
    let records = [
        index("alice", "c", 5, true, None, START),
        index("alice", "d", 1, true, None, START),
        index("alice", "c", 5, false, None, START),
        index("alice", "c", 4, false, None, START),
        index("alice", "e", 1, true, None, START),
        index("alice", "e", 2, false, None, START),
        index("bob", "c", 1, true, None, START),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let item = |name: &str, seq, joined, version| IndexItem {
        conversation: conversation(name),
        seq: Seq(seq),
        joined,
        version: Offset(version),
    };
    let page = store
        .index_page(&user("alice"), None, 9)
        .await
        .expect("reads");
    assert_eq!(page, [item("d", 1, true, 2), item("c", 5, true, 1)]);
    let page = store
        .index_page(&user("alice"), Some(Offset(2)), 9)
        .await
        .expect("reads");
    assert_eq!(page, [item("c", 5, true, 1)]);
    let since = store
        .index_since(&user("alice"), Offset(1), 9)
        .await
        .expect("reads");
    assert_eq!(since, [item("d", 1, true, 2), item("e", 2, false, 6)]);
}

#[tokio::test]
async fn watermarks_never_go_back_and_reading_delivers() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob"], START),
        joined("c", 2, "alice", &["carol"]),
        message("c", 3, "alice", 1, START),
        message("c", 4, "alice", 2, START),
    ];
    let receipts = [
        advance("c", START + 10, "bob", 0, 3),
        advance("c", START + 20, "bob", 2, 2),
        advance("c", START + 30, "bob", 4, 0),
        advance("c", START + 40, "bob", 4, 4),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let (name, at) = (
        conversation("c"),
        store.locate(id(1)).await.expect("reads").expect("there"),
    );
    let marks = store.watermarks(&name, None, 9).await.expect("reads");
    let marks: Vec<_> = marks
        .iter()
        .map(|mark| {
            (
                mark.user.as_str(),
                mark.delivered_up_to.0,
                mark.read_up_to.0,
            )
        })
        .collect();
    assert_eq!(marks, [("alice", 1, 1), ("bob", 4, 4), ("carol", 2, 2)]);
    let marks = store.marks(&name).await.expect("reads");
    assert_eq!(
        marks,
        [Marks {
            user: user("bob"),
            delivered: Seq(4),
            read: Seq(4)
        }]
    );
    let receipts = store.receipts(id(1), &at, None, 9).await.expect("reads");
    let bob = receipts
        .iter()
        .find(|receipt| receipt.user_id == user("bob"))
        .expect("bob");
    assert_eq!(
        (bob.delivered_at, bob.read_at, bob.ts),
        (Some(START + 10), Some(START + 10), Some(START + 10))
    );
    let at = store.locate(id(2)).await.expect("reads").expect("there");
    let receipts = store.receipts(id(2), &at, None, 9).await.expect("reads");
    let bob = receipts
        .iter()
        .find(|receipt| receipt.user_id == user("bob"))
        .expect("bob");
    assert_eq!(
        (bob.delivered_at, bob.read_at, bob.ts),
        (Some(START + 30), Some(START + 40), Some(START + 40))
    );
}

// what must not happen: 11 (reading erases a reaction) and 12 (receipts of strangers)
#[tokio::test]
async fn receipts_and_their_view_name_each_participant_who_had_joined_but_the_sender() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob", "carol"], START),
        message("c", 2, "alice", 1, START),
        joined("c", 3, "alice", &["dave"]),
        left("c", 4, "carol", "carol", None),
    ];
    let receipts = [
        react("c", 1, "bob", Some(128_077)),
        advance("c", START + 10, "bob", 2, 2),
        react("c", 1, "carol", Some(1)),
        react("c", 1, "stranger", Some(2)),
        react("c", 1, "stranger", None),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let at = store.locate(id(1)).await.expect("reads").expect("there");
    let receipts = store.receipts(id(1), &at, None, 9).await.expect("reads");
    let expected = protocol_receipt("bob", Some(128_077), START + 10);
    assert_eq!(receipts, [expected]);
    assert_eq!(
        store
            .receipts(id(1), &at, Some(&user("bob")), 9)
            .await
            .expect("reads"),
        []
    );
    let rows =
        sqlx::query("SELECT message_id, user_id, delivered, read, reaction, ts FROM receipts WHERE message_id = ?")
            .bind(id(1).as_bytes().as_slice())
            .fetch_all(store.readers())
            .await
            .expect("reads");
    assert_eq!(rows.len(), 1);
    let row: (&str, bool, bool, u32, i64) = (
        rows[0].get(1),
        rows[0].get(2),
        rows[0].get(3),
        rows[0].get(4),
        rows[0].get(5),
    );
    assert_eq!(
        row,
        (
            "bob",
            true,
            true,
            128_077,
            i64::try_from(START + 10).expect("fits")
        )
    );
    let reactions = store.reactions(&[id(1), id(9)]).await.expect("reads");
    assert_eq!(
        reactions,
        [(id(1), user("bob"), 128_077), (id(1), user("carol"), 1)]
    );
}

fn protocol_receipt(who: &str, reaction: Option<u32>, ts: u64) -> crate::protocol::Receipt {
    crate::protocol::Receipt {
        message_id: id(1),
        user_id: user(who),
        delivered: true,
        read: true,
        reaction,
        delivered_at: Some(ts),
        read_at: Some(ts),
        ts: Some(ts),
    }
}

/// What an owner appends in these days beside all else: a mark an hour, by a clock that nobody
/// sets.
fn marks(from_day: u64, to_day: u64) -> impl Iterator<Item = Record> {
    let mark = |hour| Record::EpochStart {
        epoch: Epoch(1),
        node: NodeId::from("n"),
        ts: START + hour * DAY / 24,
    };
    (from_day * 24..=to_day * 24).map(mark)
}

/// When each message from 2 on was delivered to bob, after these receipts; and a store that holds
/// them.
async fn delivered(folder: &Path, last: u64, receipts: Vec<Record>) -> (Vec<u64>, Store) {
    let mut messages = vec![created("c", &["alice", "bob"], START)];
    messages.extend((2..=last).map(|seq| message("c", seq, "alice", seq, START)));
    let store = one(folder, &messages, &[]).await;
    let mut stream = Written::default();
    for records in receipts.chunks(200) {
        stream.entry(records);
    }
    store
        .apply(Stream::Receipts, stream.entries)
        .await
        .expect("applies");

    let mut times = Vec::new();
    for number in 2..=last {
        let at = store
            .locate(id(number))
            .await
            .expect("reads")
            .expect("there");
        times.push(
            store
                .receipts(id(number), &at, None, 9)
                .await
                .expect("reads")[0]
                .delivered_at
                .expect("delivered"),
        );
    }
    (times, store)
}

#[tokio::test]
async fn a_time_is_exact_for_thirty_days_and_then_not_earlier_than_true() {
    let folder = folder();
    let mut receipts: Vec<Record> = marks(0, 0)
        .chain([advance("c", START, "bob", 2, 0)])
        .collect();
    receipts.extend(marks(1, 1).chain([advance("c", START + DAY, "bob", 3, 0)]));
    receipts.extend(marks(1, 20).chain([advance("c", START + 20 * DAY, "bob", 4, 0)]));
    receipts.extend(marks(20, 40).chain([advance("c", START + 40 * DAY, "bob", 5, 0)]));
    let (times, _store) = delivered(folder.path(), 5, receipts).await;
    assert_eq!(
        times,
        [START + DAY, START + DAY, START + 20 * DAY, START + 40 * DAY]
    );
}

#[tokio::test]
async fn a_clock_that_was_ahead_once_makes_no_time_of_a_receipt_less_exact_and_stops_no_watermark()
{
    for wrong in [DAY, 400 * DAY] {
        let folder = folder();
        let mut receipts: Vec<Record> = marks(0, 0)
            .chain([advance("c", START, "bob", 2, 0)])
            .collect();
        receipts.extend(marks(0, 1).chain([advance("c", START + DAY, "bob", 3, 0)]));
        receipts.push(advance("c", START + DAY + wrong, "bob", 4, 4));
        receipts.extend([5, 6, 7].map(|seq| advance("c", START + DAY + seq, "bob", seq, seq)));
        let (times, store) = delivered(folder.path(), 7, receipts).await;
        let ahead = START + DAY + wrong;
        assert_eq!(times, [START, START + DAY, ahead, ahead, ahead, ahead]);
        let marks = store.marks(&conversation("c")).await.expect("reads");
        assert_eq!(
            marks,
            [Marks {
                user: user("bob"),
                delivered: Seq(7),
                read: Seq(7)
            }]
        );
        let rows = sqlx::query("SELECT kind, upto_seq FROM advances ORDER BY kind, upto_seq")
            .fetch_all(store.readers());
        let rows: Vec<(i64, i64)> = rows
            .await
            .expect("reads")
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        assert_eq!(
            rows,
            [(0, 2), (0, 3), (0, 7), (1, 7)],
            "moves of one time pile up"
        );
    }
}

#[tokio::test]
async fn summaries_count_what_others_wrote_after_the_reader_read_or_joined() {
    let folder = folder();
    let mut messages = vec![
        created("c", &["alice", "bob"], START),
        created("d", &["alice"], START),
    ];
    messages.push(message("c", 2, "alice", 2, START));
    messages.push(joined("c", 3, "alice", &["carol"]));
    messages.push(message("c", 4, "alice", 4, START));
    messages.push(message("c", 5, "carol", 5, START));
    messages.push(message("c", 6, "alice", 6, START));
    let receipts = [
        advance("c", START, "bob", 4, 4),
        react("c", 6, "bob", Some(5)),
        react("c", 6, "carol", Some(5)),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let names = [
        conversation("nowhere"),
        conversation("c"),
        conversation("d"),
    ];
    for (reader, unread) in [("alice", 1), ("bob", 2), ("carol", 2)] {
        let items = store.summaries(&names, &user(reader)).await.expect("reads");
        assert_eq!(items.len(), 3);
        assert!(items[0].is_none());
        assert_eq!(
            items[2].is_some(),
            reader == "alice",
            "only participants see it"
        );
        let item = items[1].as_ref().expect("a participant");
        assert_eq!(item.unread, Some(unread), "{reader}");
        assert_eq!(
            (
                item.conversation.last_seq,
                item.conversation.participants_count
            ),
            (Seq(6), 3)
        );
        let last = item.last_message.as_ref().expect("there is one");
        assert_eq!((last.core.id, last.core.text.as_str()), (id(6), "text 6"));
        assert_eq!(last.reactions.get(&5), Some(&2));
        assert_eq!(last.my_reaction, (reader != "alice").then_some(5));
    }
    let empty = store
        .summaries(&names[2..], &user("alice"))
        .await
        .expect("reads");
    let empty = empty[0].as_ref().expect("a participant");
    assert_eq!((empty.unread, &empty.last_message), (Some(0), &None));
}

#[tokio::test]
async fn unread_counts_to_a_thousand() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice", "bob"], START)]);
    for page in 0..5_u64 {
        let seqs = page * 250 + 2..page * 250 + 252;
        log.entry(
            &seqs
                .map(|seq| message("c", seq, "alice", seq, START))
                .collect::<Vec<_>>(),
        );
    }
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let items = store
        .summaries(&[conversation("c")], &user("bob"))
        .await
        .expect("reads");
    assert_eq!(
        items[0].as_ref().expect("a participant").unread,
        Some(1_000)
    );
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut reader = store.readers().acquire().await.expect("a reader");
    let mut statements: Vec<String> = Vec::new();
    let more: [&[&str]; 6] = [
        &conversations::READS,
        &keys::READS,
        &receipts::READS,
        &index::READS,
        &progress::READS,
        &seen::READS,
    ];
    let reads = messages::READS.iter().chain(&more).copied().flatten();
    statements.extend(reads.map(|read| (*read).to_owned()));
    statements.extend(
        [
            write_messages::LAST_SEQS,
            write_messages::JOINED,
            write_receipts::WATERMARKS,
            writer::KEPT,
        ]
        .map(str::to_owned),
    );
    statements.extend(write_messages::DELETING.map(str::to_owned));
    statements.extend(
        write_messages::FINDING
            .iter()
            .chain(&write_receipts::FINDING)
            .map(|multi| multi.text(4)),
    );
    statements.push("SELECT * FROM receipts WHERE message_id = ?".to_owned());
    for statement in statements {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&mut *reader)
            .await;
        for step in plan.unwrap_or_else(|error| panic!("{statement}: {error}")) {
            let detail: String = step.get("detail");
            // What is scanned on purpose: the rows given with the statement itself.
            let given = detail.contains("VIRTUAL TABLE")
                || detail.starts_with("SCAN v")
                || detail.contains("CONSTANT ROW")
                || detail.contains("VALUES CLAUSE");
            let scans = detail.starts_with("SCAN") && !given;
            assert!(
                !scans && !detail.contains("AUTOMATIC") && !detail.contains("TEMP B-TREE"),
                "{detail}: {statement}"
            );
        }
    }
}
