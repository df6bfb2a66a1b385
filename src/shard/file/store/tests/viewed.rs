//! Records of participants' own views, and what they leave (ADR 28).

use super::*;
use crate::log::record::{IndexView, OwnMark, ViewChange};

pub(crate) fn viewed(name: &str, who: &str, joined: u64, revision: u64, at: u64) -> Record {
    Record::Viewed(Arc::new(ViewChange {
        conversation: conversation(name),
        user: user(who),
        joined: Seq(joined),
        revision,
        notify_after: Some(at).filter(|_| at.is_multiple_of(2)),
        pinned: u32::try_from(at % 5).ok().filter(|place| *place > 0),
        archived: at.is_multiple_of(3),
        at,
    }))
}

pub(crate) fn own_mark(name: &str, who: &str, read_up_to: u64, at: u64) -> Record {
    Record::OwnMark(Arc::new(OwnMark {
        conversation: conversation(name),
        user: user(who),
        read_up_to: Seq(read_up_to),
        at,
    }))
}

pub(crate) fn index_view(who: &str, name: &str, joined: u64, revision: u64, at: u64) -> Record {
    Record::Index(Arc::new(IndexChange {
        user: user(who),
        conversation: conversation(name),
        seq: Seq(joined),
        joined: true,
        at,
        create_key: None,
        view: Some(IndexView {
            revision,
            pinned: u32::try_from(at % 5).ok().filter(|place| *place > 0),
            archived: at.is_multiple_of(3),
        }),
    }))
}

async fn rows(store: &Store, table: &'static str) -> Vec<(String, i64)> {
    let rows = sqlx::query(table)
        .fetch_all(store.readers())
        .await
        .expect("reads");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

const INDEXED: &str = "SELECT user, revision FROM index_views ORDER BY user";

#[tokio::test]
async fn a_view_in_a_list_is_of_the_membership_that_the_list_has_and_no_older_one_comes_back() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    let mut apply = async |records: &[Record]| {
        log.entry(records);
        let last = log.entries.last().cloned().expect("an entry");
        store
            .apply(Stream::Messages, vec![last])
            .await
            .expect("applies");
        rows(&store, INDEXED).await
    };
    let bobs = |revision| vec![("bob".to_owned(), revision)];

    assert_eq!(apply(&[index_view("bob", "c", 1, 1, START)]).await, []);
    let joins = index("bob", "c", 1, true, None, START);
    assert_eq!(apply(std::slice::from_ref(&joins)).await, []);
    assert_eq!(apply(&[index_view("bob", "c", 1, 2, START)]).await, bobs(2));
    assert_eq!(
        apply(&[index_view("bob", "c", 1, 1, START)]).await,
        bobs(2),
        "delivered again"
    );
    assert_eq!(apply(&[joins]).await, bobs(2));

    let leaves = index("bob", "c", 4, false, None, START);
    let again = index_view("bob", "c", 1, 3, START);
    assert_eq!(apply(&[leaves, again]).await, []);

    let back = index("bob", "c", 7, true, None, START);
    let pins = index_view("bob", "c", 7, 1, START);
    assert_eq!(apply(&[back, pins]).await, bobs(1));
    store.close().await;
}

#[tokio::test]
async fn a_view_ends_with_its_membership_and_with_its_conversation() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        created("c", &["alice", "bob", "carol"], START),
        viewed("c", "bob", 1, 1, START),
        viewed("c", "carol", 1, 1, START),
        left("c", 2, "bob", "bob", None),
    ]);
    log.entry(&[
        viewed("c", "carol", 1, 2, START + 1),
        closed("c", 3, "alice", START),
        viewed("c", "carol", 1, 3, START + 2),
    ]);

    let held = "SELECT participant, revision FROM views ORDER BY participant";
    store
        .apply(Stream::Messages, log.entries[..1].to_vec())
        .await
        .expect("applies");
    assert_eq!(rows(&store, held).await, [("carol".to_owned(), 1)]);
    store
        .apply(Stream::Messages, log.entries[1..].to_vec())
        .await
        .expect("applies");
    assert_eq!(rows(&store, held).await, []);
    let aside = "SELECT reason, \"offset\" FROM quarantine";
    assert_eq!(
        rows(&store, aside).await,
        [("c is closed".to_owned(), 7)],
        "nothing comes after the end"
    );
    store.close().await;
}

#[tokio::test]
async fn the_outbox_brings_what_lists_need_of_a_view() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        created("c", &["alice"], START),
        viewed("c", "alice", 1, 3, START),
    ]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let waiting = store
        .outbox(OutboxPosition::default(), 9)
        .await
        .expect("reads");
    let views: Vec<_> = waiting
        .iter()
        .map(|row| (row.change.seq, row.change.view.map(|view| view.revision)))
        .collect();
    assert_eq!(views, [(Seq(1), None), (Seq(1), Some(3))]);

    let upto = waiting[1].position;
    log.entry(&[Record::OutboxProgress { upto }]);
    store
        .apply(Stream::Messages, log.entries[1..].to_vec())
        .await
        .expect("applies");
    let left = "SELECT 'rows', count(*) FROM outbox_views";
    assert_eq!(rows(&store, left).await, [("rows".to_owned(), 0)]);
    store.close().await;
}
