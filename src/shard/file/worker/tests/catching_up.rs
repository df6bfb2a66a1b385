//! The catching up before a shard opens.

use std::sync::atomic::Ordering;

use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::error::OpenError;
use crate::shard::file::store::Store;
use crate::shard::file::store::tests::{Written, created, message, open};
use crate::shard::file::worker::catch_up;
use crate::shard::file::worker::tests::{MemoryLog, SHARD, START, config};

async fn catch_up_to(log: &MemoryLog, store: &Store, tail: Tail) -> Result<(), OpenError> {
    catch_up(
        SHARD,
        log,
        store,
        PerStream {
            messages: tail,
            receipts: Tail::EMPTY,
        },
        &config(),
    )
    .await
}

#[tokio::test]
async fn catching_up_applies_the_whole_log_and_is_done_when_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, store) = (MemoryLog::default(), open(folder.path(), "s3.db").await);
    let mut written = Written::default();
    written.entry(&[created("c", &["alice"], START)]);

    for page in 0..4_u64 {
        let seqs = page * 200 + 2..page * 200 + 202;
        written.entry(
            &seqs
                .map(|seq| message("c", seq, "alice", seq, START))
                .collect::<Vec<_>>(),
        );
    }

    log.set(Stream::Messages, &written);
    catch_up_to(&log, &store, written.tail)
        .await
        .expect("catches up");
    assert_eq!(store.progress().applied.messages, written.tail);

    let reads = log.reads.load(Ordering::SeqCst);
    catch_up_to(&log, &store, written.tail)
        .await
        .expect("nothing to do");
    assert_eq!(log.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test]
async fn a_log_that_does_not_belong_to_the_file_is_refused_with_one_clear_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, store) = (MemoryLog::default(), open(folder.path(), "s3.db").await);
    let mut written = Written::default();
    written.entry(&[created("c", &["alice"], START)]);
    store
        .apply(Stream::Messages, written.entries.clone())
        .await
        .expect("applies");
    let before = store.digest().await.expect("reads");

    written.entry(&[message("c", 2, "alice", 1, START)]);
    written.entry(&[message("c", 3, "alice", 2, START)]);

    let mut trimmed = written.clone();
    trimmed.entries.drain(..2);
    let mut empty = written.clone();
    empty.entries.clear();

    let mut foreign = Written::default();
    foreign.entry(&[created("d", &["bob"], START)]);
    let short = foreign.clone();
    foreign.entry(&[message("d", 2, "bob", 1, START)]);

    let cases = [
        (&trimmed, trimmed.tail, "was trimmed"),
        (&empty, empty.tail, "has nothing after o1"),
        (&foreign, foreign.tail, "does not link"),
        (&short, short.tail, "does not link"),
        (
            &Written::default(),
            Tail::EMPTY,
            "the log was lost or replaced",
        ),
    ];

    for (log_of, tail, expected) in cases {
        log.set(Stream::Messages, log_of);
        let refused = catch_up_to(&log, &store, tail).await.expect_err(expected);
        let kind = match &refused {
            OpenError::Behind(_) => "was trimmed",
            OpenError::Diverged(_) => "does not link",
            OpenError::Refused(_) => expected,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, expected);
        let refused = refused.to_string();
        assert!(
            refused.contains(expected) && refused.contains("s3") && !refused.contains('\n'),
            "{refused}"
        );
        assert_eq!(store.digest().await.expect("reads"), before, "{expected}");
    }
}
