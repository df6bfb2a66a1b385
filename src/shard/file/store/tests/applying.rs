//! Entries become rows, once, whole or not at all.

use super::*;

#[tokio::test]
async fn rows_offset_and_raw_bytes_survive_a_kill_together() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice", "bob"], START)]);
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    // As a killed process leaves it: the file and its WAL, nothing closed.
    for suffix in ["", "-wal"] {
        let name = |stem: &str| folder.path().join(format!("{stem}{suffix}"));
        std::fs::copy(name("s3.db"), name("killed.db")).expect("copies");
    }

    let again = open(folder.path(), "killed.db").await;
    assert_eq!(again.progress().applied.messages, log.tail);
    assert_eq!(
        again.digest().await.expect("reads"),
        store.digest().await.expect("reads")
    );

    let kept = again
        .kept_entries(Stream::Messages, Offset(0), usize::MAX)
        .await
        .expect("reads");
    let bytes: Vec<_> = kept.into_iter().map(|kept| kept.bytes).collect();

    assert_eq!(
        bytes,
        log.entries
            .iter()
            .map(|entry| entry.bytes.clone())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        again
            .kept_entries(Stream::Messages, Offset(1), 1)
            .await
            .expect("reads")
            .len(),
        1
    );
}

// what must not happen: 2 (redelivery blocks the stream for ever)
#[tokio::test]
async fn an_entry_applied_twice_changes_nothing_and_does_not_block() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        created("c", &["alice"], START),
        message("c", 2, "alice", 1, START),
    ]);

    log.entry(&[message("c", 3, "alice", 2, START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let digest = store.digest().await.expect("reads");
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("passed over");
    assert_eq!(store.digest().await.expect("reads"), digest);

    log.entry(&[message("c", 4, "alice", 3, START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("only the new one");
    assert_eq!(store.progress().applied.messages, log.tail);

    assert_eq!(
        store
            .events(&conversation("c"), Seq(0), 9)
            .await
            .expect("reads")
            .len(),
        4
    );
}

// what must not happen: 2
#[tokio::test]
async fn a_record_that_is_in_the_log_twice_is_put_aside_and_does_not_block() {
    let folder = folder();
    let twice = message("c", 2, "alice", 1, START);
    let same_id = message("c", 3, "alice", 1, START);
    let records = [
        created("c", &["alice"], START),
        twice.clone(),
        twice,
        same_id,
        message("c", 4, "alice", 2, START),
    ];

    let store = one(folder.path(), &records, &[]).await;
    let seqs: Vec<_> = store
        .events(&conversation("c"), Seq(0), 9)
        .await
        .expect("reads")
        .iter()
        .map(|event| event.seq.0)
        .collect();
    assert_eq!(seqs, [1, 2, 4]);

    assert_eq!(
        store
            .locate(id(1))
            .await
            .expect("reads")
            .expect("found")
            .seq,
        Seq(2)
    );
}

#[tokio::test]
async fn entries_that_do_not_follow_the_applied_tail_are_refused() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store
        .apply(Stream::Messages, log.entries.split_off(1))
        .await
        .expect_err("a hole");
    assert_eq!(store.progress(), Progress::default());
}

// what must not happen: 7 (one malformed entry stops the rest)
#[tokio::test]
async fn records_that_cannot_be_applied_are_quarantined_and_later_ones_are_applied() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[
        created("c", &["alice"], START),
        unreadable(),
        message("nowhere", 5, "alice", 1, START),
    ]);
    log.entry(&[
        created("c", &["bob"], START),
        advance("c", START, "alice", 1, 1),
        message("c", 2, "alice", 2, START),
    ]);

    assert_eq!(
        store
            .apply(Stream::Messages, log.entries.clone())
            .await
            .expect("applies"),
        4
    );
    assert_eq!(store.progress().applied.messages, log.tail);
    assert_eq!(
        store
            .head(&conversation("c"))
            .await
            .expect("reads")
            .expect("there")
            .last_seq,
        Seq(2)
    );

    let mut reader = store.readers().acquire().await.expect("a reader");
    let rows = sqlx::query("SELECT \"offset\", bytes, reason FROM quarantine")
        .fetch_all(&mut *reader)
        .await;
    let rows = rows.expect("reads");
    let offsets: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(offsets, [2, 3, 4, 5]);
    assert_eq!(rows[0].get::<Vec<u8>, _>(1), b"\xff\xff\xff");
    assert!(rows.iter().all(|row| !row.get::<String, _>(2).is_empty()));
}

// what must not happen: 1 and 6 (a batch that fails is lost, or fails for ever)
#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_and_the_same_batch_works_later() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let before = store.digest().await.expect("reads");
    let mut log = Written::default();
    let text: Arc<str> = "x".repeat(16_000).into();
    let mut records = vec![created("c", &["alice"], START)];
    for number in 2..40 {
        let kind = EventKind::plain(id(number), user("alice"), Arc::clone(&text));
        records.push(event("c", number, START, kind));
    }

    log.entry(&records);
    store.execute("PRAGMA max_page_count = 1").await;
    for _ in 0..3 {
        let error = store
            .apply(Stream::Messages, log.entries.clone())
            .await
            .expect_err("the disk is full");
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert_eq!(store.progress().applied.messages, Tail::EMPTY);
    }
    store.execute("PRAGMA max_page_count = 1000000").await;

    // A failure after the rows were written, at which SQLite does not roll back by itself.
    store
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .await;
    for _ in 0..3 {
        store
            .apply(Stream::Messages, log.entries.clone())
            .await
            .expect_err("refused");
        assert_eq!(store.progress().applied.messages, Tail::EMPTY);
    }

    store.execute("DROP TRIGGER refuse").await;
    assert_eq!(store.digest().await.expect("reads"), before);

    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    assert_eq!(store.progress().applied.messages, log.tail);

    assert_eq!(
        store
            .events(&conversation("c"), Seq(0), 100)
            .await
            .expect("reads")
            .len(),
        39
    );
}
