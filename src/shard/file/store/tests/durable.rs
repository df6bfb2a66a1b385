//! What is on the disk for sure, and what goes from the file.

use super::*;

#[tokio::test]
async fn what_a_reader_keeps_in_the_wal_is_durable_once_the_wal_is_on_the_disk() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    assert_eq!(
        store.progress().durable.messages,
        Tail::EMPTY,
        "committed is not durable"
    );

    let mut reader = store.readers().begin().await.expect("a reader");
    sqlx::query("SELECT count(*) FROM messages")
        .fetch_one(&mut *reader)
        .await
        .expect("reads");
    log.entry(&[message("c", 2, "alice", 1, START)]);

    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let wal = folder.path().join("s3.db-wal");

    std::fs::rename(&wal, folder.path().join("away")).expect("renamed");
    store.checkpoint().await.expect_err("it cannot be synced");
    assert_eq!(
        store.progress().durable.messages,
        Tail::EMPTY,
        "a reader still needs the WAL, and nobody knows where that is"
    );

    std::fs::rename(folder.path().join("away"), &wal).expect("renamed");
    let held = store.checkpoint().await.expect("works as far as it can");
    assert_eq!(held.durable.messages, log.tail);

    // What a loss of power leaves: file and WAL, without what is shared in memory.
    for (from, to) in [("s3.db", "left.db"), ("s3.db-wal", "left.db-wal")] {
        std::fs::copy(folder.path().join(from), folder.path().join(to)).expect("copied");
    }

    let left = open(folder.path(), "left.db").await;
    assert_eq!(
        (
            left.progress().applied.messages,
            left.progress().durable.messages
        ),
        (log.tail, log.tail)
    );

    drop(reader);
    log.entry(&[message("c", 3, "alice", 2, START)]);

    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    assert_eq!(
        store
            .checkpoint()
            .await
            .expect("checkpoints")
            .durable
            .messages,
        log.tail
    );
}

#[tokio::test]
async fn raw_entries_go_when_they_are_durable_and_were_here_for_long_whatever_their_times_say() {
    let folder = folder();
    for (floor, left) in [(Duration::ZERO, 0), (config().raw_floor, 2)] {
        let config = Config {
            raw_floor: floor,
            ..config()
        };
        let path = folder.path().join(format!("{left}.db"));
        let store = Store::open(&path, identity(), ShardId(3), config)
            .await
            .expect("opens");
        let mut log = Written::default();
        log.entry(&[created("c", &["alice"], START)]);
        log.entry(&[message("c", 2, "alice", 1, START + 366 * DAY)]);
        store
            .apply(Stream::Messages, log.entries.clone())
            .await
            .expect("applies");
        store.checkpoint().await.expect("checkpoints");
        let kept = store
            .kept_entries(Stream::Messages, Offset(0), usize::MAX)
            .await
            .expect("reads");
        assert_eq!(
            kept.len(),
            2,
            "nothing was durable when the checkpoint began"
        );
        let digest = store.digest().await.expect("reads");
        store.checkpoint().await.expect("checkpoints");
        let kept = store
            .kept_entries(Stream::Messages, Offset(0), usize::MAX)
            .await
            .expect("reads");
        assert_eq!(kept.len(), left);
        assert_eq!(
            store.digest().await.expect("reads"),
            digest,
            "raw entries are not part of the digest"
        );
    }
}

#[tokio::test]
async fn a_checkpoint_comes_by_itself_after_so_many_pages_or_so_long() {
    let folder = folder();
    let by_age = Config {
        checkpoint_every: Duration::from_millis(20),
        ..config()
    };
    let by_pages = Config {
        checkpoint_pages: 8,
        ..config()
    };

    for (name, config) in [("age.db", by_age), ("pages.db", by_pages)] {
        let store = Store::open(&folder.path().join(name), identity(), ShardId(3), config)
            .await
            .expect("opens");
        let mut log = Written::default();
        log.entry(&[created("c", &["alice"], START)]);
        for seq in 2..40 {
            log.entry(&[message("c", seq, "alice", seq, START)]);
        }
        for entry in &log.entries {
            store
                .apply(Stream::Messages, vec![entry.clone()])
                .await
                .expect("applies");
        }
        let mut progress = store.watch_progress();
        let durable = progress.wait_for(|progress| progress.durable.messages.offset > Offset(0));
        let waited = tokio::time::timeout(Duration::from_secs(20), durable).await;
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "{name}");
    }
}

/// How many descriptors this process has of the file and what lies beside it.
fn descriptors(path: &Path) -> usize {
    let name = path.to_string_lossy().into_owned();
    let open = std::fs::read_dir("/proc/self/fd").expect("the descriptors");
    let targets = open
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with(&name))
        .count()
}

async fn until_closed(path: &Path) {
    let closed = async {
        while descriptors(path) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .expect("the file is closed while nobody uses it");
}

#[tokio::test]
async fn a_quiet_file_is_closed_and_the_next_read_and_the_next_write_open_it_again() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let rests = Config {
        rest_after: Duration::from_millis(20),
        checkpoint_every: Duration::from_millis(20),
        ..config()
    };
    let store = Store::open(&path, identity(), ShardId(3), rests)
        .await
        .expect("opens");
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");

    until_closed(&path).await;
    assert_eq!(
        store.progress().durable.messages,
        log.tail,
        "it is closed only once all is checkpointed"
    );
    let digest = store.digest().await.expect("reads");

    until_closed(&path).await;
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    assert_eq!(store.progress().applied.messages, log.tail);
    assert_ne!(store.digest().await.expect("reads"), digest);
    let kept = store
        .kept_entries(Stream::Messages, Offset(0), usize::MAX)
        .await
        .expect("reads");
    assert_eq!(kept.len(), 2);

    until_closed(&path).await;
    let kept = store
        .kept_entries(Stream::Messages, Offset(0), usize::MAX)
        .await
        .expect("reads");
    assert_eq!(kept.len(), 2, "a read alone opens it too");
    store.close().await;
    let left = open(folder.path(), "s3.db").await;
    assert_eq!(left.progress().durable.messages, log.tail);
}

#[tokio::test]
async fn a_file_that_was_taken_away_while_it_was_closed_is_not_made_anew() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let rests = Config {
        rest_after: Duration::from_millis(20),
        checkpoint_every: Duration::from_millis(20),
        ..config()
    };
    let store = Store::open(&path, identity(), ShardId(3), rests)
        .await
        .expect("opens");
    let mut log = Written::default();
    log.entry(&[created("c", &["alice"], START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    until_closed(&path).await;

    let away = folder.path().join("away.db");
    std::fs::rename(&path, &away).expect("taken away");
    log.entry(&[message("c", 2, "alice", 1, START)]);
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect_err("there is no file");
    assert!(
        !path.exists(),
        "an empty file in its place would be served as an empty history"
    );

    std::fs::rename(&away, &path).expect("brought back");
    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    assert_eq!(store.progress().applied.messages, log.tail);
}
