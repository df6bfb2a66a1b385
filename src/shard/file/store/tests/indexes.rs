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
        .index_page(&user("alice"), None, None, 9)
        .await
        .expect("reads");
    let listed = |item| Listed {
        item,
        pinned: None,
        archived: false,
    };
    assert_eq!(
        page,
        [item("d", 1, true, 2), item("c", 5, true, 1)].map(listed)
    );

    let page = store
        .index_page(&user("alice"), Some(place(None, 2)), None, 9)
        .await
        .expect("reads");
    assert_eq!(page, [item("c", 5, true, 1)].map(listed));
    let since = store
        .index_since(&user("alice"), Offset(1), 9)
        .await
        .expect("reads");
    assert_eq!(since, [item("d", 1, true, 2), item("e", 2, false, 6)]);
}

fn place(pinned: Option<u32>, version: u64) -> ListPlace {
    ListPlace {
        pinned,
        version: Offset(version),
    }
}

#[tokio::test]
async fn a_list_has_what_is_pinned_first_and_can_leave_out_what_is_put_away() {
    let folder = folder();
    let joins = |name: &str| index("alice", name, 1, true, None, START);
    // Of `at` the place is at % 5, and what three divides is put away.
    let views = [
        index_view("alice", "b", 1, 1, 2),
        index_view("alice", "c", 1, 1, 1),
        index_view("alice", "e", 1, 1, 15),
        index_view("alice", "f", 1, 1, 6),
    ];
    let joined = ["a", "b", "c", "d", "e", "f", "g"].map(joins);
    let records: Vec<_> = joined.into_iter().chain(views).collect();
    let store = one(folder.path(), &records, &[]).await;
    let names = async |after, archived, limit| {
        let alice = user("alice");
        let page = store.index_page(&alice, after, archived, limit);
        let page = page.await.expect("reads");
        let names = page
            .iter()
            .map(|listed| listed.item.conversation.to_string());
        names.collect::<Vec<_>>().concat()
    };

    assert_eq!(names(None, None, 9).await, "fcbgeda");
    assert_eq!(names(None, Some(false), 9).await, "cbgda");
    assert_eq!(names(None, Some(true), 9).await, "fe");
    assert_eq!(names(None, None, 4).await, "fcbg");
    assert_eq!(names(Some(place(Some(1), 6)), None, 3).await, "cbg");
    assert_eq!(names(Some(place(Some(2), 2)), None, 3).await, "ged");
    assert_eq!(names(Some(place(None, 5)), None, 9).await, "da");
    assert_eq!(names(Some(place(None, 5)), Some(true), 9).await, "");
}
