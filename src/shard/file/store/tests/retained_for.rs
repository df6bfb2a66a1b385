//! Conversations that do not keep everything for ever (ADR 27).

use super::*;
use crate::log::record::Pruning;
use crate::protocol::{Patch, Retention, SettingsChange};
use crate::shard::file::store::Outdated;
use crate::shard::file::store::retention::{Beside, Next};

const MINUTE: u64 = 60_000;

/// When something was delivered and read goes up to a seq, and reactions to these messages.
pub(super) fn pruned_beside(name: &str, up_to: u64, messages: &[u64], at: u64) -> Record {
    Record::Pruned(Pruning {
        conversation: conversation(name),
        up_to: Seq(up_to),
        at,
        messages: messages.iter().map(|number| id(*number)).collect(),
    })
}

/// The conversation keeps its events for so long from now on.
fn keeps(name: &str, seq: u64, retention_s: Option<u32>) -> Record {
    let change = SettingsChange {
        retention_s: Patch::Set(retention_s),
        ..SettingsChange::default()
    };
    updated(name, seq, "alice", (Patch::Keep, change))
}

const FOR_EVER: Retention = Retention {
    default_s: None,
    max_s: None,
};

impl Store {
    /// All that is searched by, which is part of no digest.
    pub(super) async fn searched_by(&self) -> Vec<(String, Option<i64>, Option<i64>)> {
        let rows = sqlx::query(
            "SELECT conversation, oldest, retention_s FROM retained ORDER BY conversation",
        );
        let rows = rows.fetch_all(self.readers()).await.expect("reads");
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    async fn apply_more(&self, log: &mut PerStream<Written>, stream: Stream, records: &[Record]) {
        log[stream].entry(records);
        let last = log[stream].entries.last().cloned();
        self.apply(stream, last.into_iter().collect::<Vec<_>>())
            .await
            .expect("applies");
    }
}

#[tokio::test]
async fn what_is_next_hangs_on_the_oldest_event_and_on_what_applies() {
    let folder = folder();
    let records = [
        created("c", &["alice"], START),
        created("d", &["alice"], START + MINUTE),
        created("e", &["alice"], START + 2 * MINUTE),
        keeps("d", 2, Some(600)),
        keeps("e", 2, Some(60)),
        keeps("e", 3, None),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let next = |default_s, max_s| {
        let store = store.clone();
        async move {
            let next = store.next_retained(Retention { default_s, max_s }).await;
            let told = |next: Next| (next.conversation.to_string(), next.kept_ms, next.due);
            next.expect("reads").map(told)
        }
    };
    let told = |name: &str, kept_s: u64, since: u64| {
        Some((name.to_owned(), kept_s * 1_000, since + kept_s * 1_000))
    };

    assert_eq!(next(None, None).await, told("d", 600, START + MINUTE));
    assert_eq!(next(Some(60), None).await, told("c", 60, START));
    assert_eq!(
        next(Some(9_000), None).await,
        told("d", 600, START + MINUTE)
    );
    assert_eq!(next(None, Some(300)).await, told("c", 300, START));
    assert_eq!(next(Some(9_000), Some(500)).await, told("c", 500, START));
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn step_by_step_the_oldest_goes_with_all_that_is_kept_beside_it() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob"], START),
        keeps("c", 2, Some(60)),
        with_key(message("c", 3, "alice", 1, START + MINUTE), "k1", false),
        message("c", 4, "alice", 2, START + 2 * MINUTE),
        message("c", 5, "alice", 3, START + 4 * MINUTE),
        created("d", &["alice"], START),
        message("d", 2, "alice", 9, START),
    ];
    let receipts = [
        advance("c", START, "bob", 3, 3),
        advance("c", START + 1, "bob", 5, 4),
        react("c", 1, "bob", Some(7)),
        react("c", 3, "bob", Some(7)),
        advance("d", START, "alice", 2, 0),
        react("d", 9, "alice", Some(7)),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let mut log = PerStream::<Written>::default();
    log.messages.entry(&messages);
    log.receipts.entry(&receipts);
    let name = conversation("c");

    let outdated = |seqs, until| {
        let (store, name) = (store.clone(), name.clone());
        async move { store.outdated(&name, (seqs, until)).await.expect("reads") }
    };
    let found = |up_to, newest| {
        let up_to = Seq(up_to);
        Some(Outdated { up_to, newest })
    };
    assert_eq!(outdated(1_000, START - 1).await, None);
    assert_eq!(outdated(1_000, START).await, found(2, START));
    assert_eq!(
        outdated(1_000, START + 3 * MINUTE).await,
        found(4, START + 2 * MINUTE)
    );
    assert_eq!(
        outdated(3, START + 3 * MINUTE).await,
        found(3, START + MINUTE),
        "so many seqs at most"
    );

    let beside = store.beside(&name, Seq(4)).await.expect("reads");
    let (reacted, is_marked) = (vec![id(1)], true);
    assert_eq!(beside, Beside { reacted, is_marked });
    let record = pruned_beside("c", 4, &[1], START);
    store
        .apply_more(&mut log, Stream::Receipts, &[record])
        .await;
    let beside = store.beside(&name, Seq(4)).await.expect("reads");
    assert!(beside.is_empty(), "{beside:?}");

    store
        .apply_more(&mut log, Stream::Messages, &[pruned("c", 4, START)])
        .await;
    let rows = store.rows_of("c").await;
    let left = [
        ("messages", 1),
        ("participants", 2),
        ("watermarks", 1),
        ("advances", 1),
        ("reactions", 1),
        ("message_keys", 1),
    ];
    assert_eq!(rows, left);
    let next = store.next_retained(FOR_EVER).await.expect("reads");
    let next = next.map(|next| (next.conversation, next.due));
    assert!(next.is_some_and(|(of, _)| of == name));

    let (events, gone) = store.span(&name, Seq(0), 9).await.expect("reads");
    let seqs: Vec<_> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!((seqs, gone), (vec![5], Seq(4)));
    let head = store.head(&name).await.expect("reads").expect("there");
    assert_eq!(
        (head.pruned, head.settings.retention_s, head.recent.len()),
        (Seq(4), Some(60), 1)
    );

    // Bob has read up to 4, which is gone: 5 is left.
    let bob = user("bob");
    let items = store.summaries(std::slice::from_ref(&name), &bob);
    let item = items.await.expect("reads")[0].clone().expect("in");
    assert_eq!(item.unread(), Some(1));
    assert_eq!(item.conversation.first_seq, Seq(5));
    let last = item.last_message.expect("a message");
    assert_eq!(last.core.seq, Seq(5));

    // The last one may go too, and a later one begins anew.
    store
        .apply_more(&mut log, Stream::Messages, &[pruned("c", 5, START)])
        .await;
    assert_eq!(
        store.searched_by().await,
        [
            ("c".to_owned(), None, Some(60)),
            ("d".to_owned(), Some(int(START)), None)
        ]
    );
    assert_eq!(store.next_retained(FOR_EVER).await.expect("reads"), None);
    let again = message("c", 6, "alice", 4, START + 9 * MINUTE);
    store.apply_more(&mut log, Stream::Messages, &[again]).await;
    let next = store.next_retained(FOR_EVER).await.expect("reads");
    assert_eq!(next.map(|next| next.due), Some(START + 10 * MINUTE));
    assert_eq!(
        store.rows_of("d").await.len(),
        6,
        "nothing of another one went"
    );
}

#[tokio::test]
async fn a_file_of_before_has_its_conversations_searched_for_once_it_is_opened() {
    let folder = folder();
    let records = [
        created("c", &["alice"], START),
        created("d", &["alice"], START + 5),
        closed("d", 2, "alice", START + 6),
    ];
    let store = one(folder.path(), &records, &[]).await;
    let whole = store.searched_by().await;
    assert_eq!(whole, [("c".to_owned(), Some(int(START)), None)]);
    store.close().await;

    use sqlx::ConnectOptions as _;
    let mut file = SqliteConnectOptions::new()
        .filename(folder.path().join("s3.db"))
        .connect()
        .await
        .expect("opens");
    let before = "DROP TABLE retained; DROP TRIGGER retained_created; DROP TRIGGER retained_closed";
    sqlx::raw_sql(before)
        .execute(&mut file)
        .await
        .expect("as before");
    file.close().await.expect("closes");

    let store = open(folder.path(), "s3.db").await;
    assert_eq!(store.searched_by().await, whole);
    store.close().await;
}

#[tokio::test]
async fn what_is_written_after_everything_went_is_the_oldest_then() {
    let folder = folder();
    let messages = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "alice", 1, START + MINUTE),
    ];
    let store = one(folder.path(), &messages, &[]).await;
    let mut log = PerStream::<Written>::default();
    log.messages.entry(&messages);
    let oldest = |store: &Store| {
        let store = store.clone();
        async move { store.searched_by().await.first().and_then(|row| row.1) }
    };
    assert_eq!(oldest(&store).await, i64::try_from(START).ok());

    // Twice, for whoever writes remembers what it has seen.
    for (seq, at) in [(3, START + 2 * MINUTE), (4, START + 3 * MINUTE)] {
        store
            .apply_more(&mut log, Stream::Messages, &[pruned("c", seq - 1, at)])
            .await;
        assert_eq!(oldest(&store).await, None);
        let record = message("c", seq, "alice", seq, at);
        store
            .apply_more(&mut log, Stream::Messages, &[record])
            .await;
        assert_eq!(oldest(&store).await, i64::try_from(at).ok());
    }
}

#[tokio::test]
async fn a_message_that_was_not_written_does_not_hide_that_nothing_is_held() {
    let folder = folder();
    let messages = [
        created("c", &["alice"], START),
        created("d", &["alice"], START),
        message("d", 2, "alice", 7, START),
    ];
    let store = one(folder.path(), &messages, &[]).await;
    let mut log = PerStream::<Written>::default();
    log.messages.entry(&messages);

    let gone = pruned("c", 1, START);
    store.apply_more(&mut log, Stream::Messages, &[gone]).await;
    // Its id is that of the message in the other one.
    let taken = message("c", 2, "alice", 7, START + MINUTE);
    store.apply_more(&mut log, Stream::Messages, &[taken]).await;
    assert_eq!(store.searched_by().await[0].1, None);

    let at = START + 2 * MINUTE;
    let record = message("c", 3, "alice", 8, at);
    store
        .apply_more(&mut log, Stream::Messages, &[record])
        .await;
    assert_eq!(store.searched_by().await[0].1, i64::try_from(at).ok());
}
