//! Conversations that are closed, and what goes of them step by step (ADR 26).

use super::*;
use crate::log::record::{Erasure, Pruning};
use crate::shard::file::store::Left;

pub(crate) fn closed(name: &str, seq: u64, by: &str, at: u64) -> Record {
    event(name, seq, at, EventKind::Closed { by: user(by) })
}

pub(crate) fn pruned(name: &str, up_to: u64, at: u64) -> Record {
    Record::Pruned(Pruning {
        conversation: conversation(name),
        up_to: Seq(up_to),
        at,
        messages: Vec::new(),
    })
}

pub(crate) fn erased(name: &str, is_last: bool, at: u64) -> Record {
    Record::Erased(Erasure {
        conversation: conversation(name),
        is_last,
        at,
    })
}

impl Store {
    /// How many rows of a conversation each table has, those alone that have some.
    pub(crate) async fn rows_of(&self, name: &str) -> Vec<(&'static str, i64)> {
        let mut rows = Vec::new();
        for table in [
            "messages",
            "events",
            "participants",
            "departures",
            "bans",
            "watermarks",
            "advances",
            "reactions",
            "message_keys",
        ] {
            let count = format!("SELECT count(*) FROM {table} WHERE conversation = ?");
            let row = sqlx::query(AssertSqlSafe(count)).bind(name);
            let row = row.fetch_one(self.readers()).await.expect("reads");
            rows.push((table, row.get(0)));
        }
        rows.retain(|(_, count)| *count > 0);
        rows
    }
}

/// Of one that had all there is, and of one beside it.
fn story() -> (Vec<Record>, Vec<Record>) {
    let messages = vec![
        with_key(created("c", &["alice", "bob", "carol"], START), "k", false),
        created("d", &["alice"], START),
        with_key(message("c", 2, "alice", 1, START), "k1", false),
        message("d", 2, "alice", 9, START),
        left("c", 3, "carol", "carol", None),
        ban("c", "alice", "outsider", true),
        updated("c", 4, "alice", some_change(1)),
        message("c", 5, "bob", 2, START),
        closed("c", 6, "alice", START + 7),
    ];
    let receipts = vec![
        advance("c", START, "bob", 2, 2),
        react("c", 1, "bob", Some(7)),
        advance("d", START, "alice", 2, 0),
        react("d", 9, "alice", Some(7)),
    ];
    (messages, receipts)
}

#[tokio::test]
async fn a_closed_conversation_has_no_participants_and_everybody_is_told_by_the_outbox() {
    let folder = folder();
    let (messages, receipts) = story();
    let store = one(folder.path(), &messages, &receipts).await;

    let head = store.head(&conversation("c")).await.expect("reads");
    let head = head.expect("its name stays taken");
    assert_eq!(
        (head.closed, head.members.len(), head.last_seq),
        (Some(vec![user("alice"), user("bob")]), 0, Seq(6))
    );
    assert_eq!((head.title, head.data), (None, None));
    assert_eq!(
        head.create_key.map(|key| (key.key, key.fingerprint)),
        Some((Arc::from("k"), [0; 16])),
        "the key is known, and nothing of the request"
    );

    let names = [conversation("c"), conversation("d")];
    let items = store.summaries(&names, &user("alice")).await;
    let listed: Vec<bool> = items.expect("reads").iter().map(Option::is_some).collect();
    assert_eq!(listed, [false, true]);

    let rows = store
        .outbox(OutboxPosition::default(), 100)
        .await
        .expect("reads");
    let out: Vec<_> = rows
        .into_iter()
        .filter(|row| !row.change.joined)
        .map(|row| (row.position.index, row.change.user, row.change.seq.0))
        .collect();
    assert_eq!(
        out,
        [
            (0, user("carol"), 3),
            (0, user("alice"), 6),
            (1, user("bob"), 6)
        ]
    );
}

#[tokio::test]
async fn step_by_step_nothing_is_left_but_that_it_was_and_who_took_part() {
    let folder = folder();
    let (messages, receipts) = story();
    let store = one(folder.path(), &messages, &receipts).await;
    let left = |pruned: u64, has_members, has_receipts| Left {
        conversation: conversation("c"),
        pruned: Seq(pruned),
        last: Seq(6),
        has_members,
        has_receipts,
    };
    let mut log = PerStream::<Written>::default();
    log.messages.entry(&messages);
    log.receipts.entry(&receipts);

    for (stream, record, after) in [
        (Stream::Messages, pruned("c", 2, START), left(2, true, true)),
        (Stream::Messages, pruned("c", 5, START), left(5, true, true)),
        (
            Stream::Messages,
            erased("c", false, START),
            left(5, false, true),
        ),
        (
            Stream::Receipts,
            erased("c", false, START),
            left(5, false, false),
        ),
    ] {
        log[stream].entry(&[record]);
        let entry = log[stream].entries.last().cloned().into_iter();
        store
            .apply(stream, entry.collect::<Vec<_>>())
            .await
            .expect("applies");
        let told = store.left_to_erase().await.expect("reads");
        assert_eq!(told, Some(after));
    }

    log.messages.entry(&[erased("c", true, START)]);
    let last = log.messages.entries.last().cloned().into_iter();
    store
        .apply(Stream::Messages, last.collect::<Vec<_>>())
        .await
        .expect("applies");
    assert_eq!(store.left_to_erase().await.expect("reads"), None);
    assert_eq!(
        store.rows_of("c").await,
        [("events", 1), ("departures", 2), ("message_keys", 1)]
    );
    assert!(store.locate(id(1)).await.expect("reads").is_none());
    assert!(store.locate(id(9)).await.expect("reads").is_some());
}

#[tokio::test]
async fn what_is_said_of_a_closed_conversation_is_put_aside_and_its_last_event_stays() {
    let folder = folder();
    let (mut messages, receipts) = story();
    messages.extend([
        message("c", 7, "bob", 3, START),
        joined("c", 7, "alice", &["dave"]),
        ban("c", "alice", "dave", true),
        key_used("c", "bob", 2, "k9", false),
        closed("c", 7, "bob", START),
        pruned("c", 6, START),
        erased("d", false, START),
    ]);
    let store = one(folder.path(), &messages, &receipts).await;
    let (_, aside) = store.ends().await.expect("reads");
    assert_eq!(aside, 7);
    let events = store.events(&conversation("c"), Seq(5), 9).await;
    let kinds: Vec<_> = events
        .expect("reads")
        .iter()
        .map(|event| (event.seq.0, event.kind.clone()))
        .collect();
    assert_eq!(kinds, [(6, EventKind::Closed { by: user("alice") })]);
}
