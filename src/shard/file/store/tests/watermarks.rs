//! Watermarks, receipts, and their times.

use super::*;

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
            read: Seq(4),
            own: None
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
                read: Seq(7),
                own: None
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
