//! The outbox of index changes, and the indexes that they make.

use super::*;

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
