//! What an owner reads of a conversation when it opens it: its head, its events, the keys used in
//! it.

use super::*;

/// Some come, one goes.
fn records() -> [Record; 5] {
    [
        with_key(
            created("c", &["alice", "bob", "carol"], START),
            "make",
            true,
        ),
        message("c", 2, "bob", 1, START + 5),
        left("c", 3, "alice", "alice", Some("bob")),
        joined("c", 4, "bob", &["dave", "erin"]),
        message("c", 5, "dave", 2, START + 9),
    ]
}

#[tokio::test]
async fn a_head_holds_what_the_log_told() {
    let folder = folder();
    let store = one(folder.path(), &records(), &[]).await;
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
    let recent = head.recent.iter();
    let recent: Vec<_> = recent.map(|one| (one.seq, one.source.clone())).collect();
    assert_eq!(recent, [(Seq(2), user("bob")), (Seq(5), user("dave"))]);
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
}

#[tokio::test]
async fn a_departure_is_when_somebody_came_and_when_they_went() {
    let folder = folder();
    let store = one(folder.path(), &records(), &[]).await;
    let name = conversation("c");
    assert_eq!(
        store.departure(&name, &user("alice")).await.expect("reads"),
        Some((Seq(1), Seq(3)))
    );
    assert_eq!(
        store.departure(&name, &user("bob")).await.expect("reads"),
        None
    );
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
