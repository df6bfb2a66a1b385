//! One process, one sync for many, and answers that are seen at once.

use super::*;
use crate::log::embedded::layout::Kind;

/// How many records of cycles the segments hold.
fn cycles(folder: &Path) -> usize {
    let mut count = 0;
    for path in segments(folder) {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        while let Some(found) = layout::find(rest) {
            count += usize::from(found.header.kind == Kind::Cycle);
            rest = &rest[found.bytes.len()..];
        }
    }
    count
}

#[tokio::test]
async fn a_second_opener_is_refused_with_one_line_and_may_open_after_the_close() {
    let one = embedded().await;
    let refused = EmbeddedLog::open(&one.path()).await.unwrap_err();
    assert!(
        refused.contains("another process has it open") && refused.lines().count() == 1,
        "{refused}"
    );
    one.log.close().await;
    again(&one.path()).await.close().await;
}

#[tokio::test]
async fn what_is_no_log_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = EmbeddedLog::open(&folder.path().join("nowhere/log"))
        .await
        .unwrap_err();
    assert_eq!(missing.lines().count(), 1, "{missing}");
    let path = folder.path().join("log");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let file = EmbeddedLog::open(&path).await.unwrap_err();
    assert!(file.contains("log") && file.lines().count() == 1, "{file}");
}

#[tokio::test]
async fn a_closed_log_says_in_doubt_and_not_nothing() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.log.close().await;
    let answer = one
        .append(&batch(SHARD, M, token, &Tail::EMPTY, (1, "x")))
        .await;
    assert!(
        matches!(answer, Err(AppendError::Unanswered(_))),
        "{answer:?}"
    );
    assert!(one.log.control(SHARD).await.is_err());
    one.log.close().await;
}

#[tokio::test]
async fn what_waits_together_is_one_record() {
    let one = embedded().await;
    let mut batches = Vec::new();
    for shard in (0..40).map(ShardId) {
        let token = claimed(&*one.log, shard).await;
        batches.push(batch(shard, M, token, &Tail::EMPTY, (1, "x")));
    }
    let before = cycles(&one.path());

    // As long as the sync of one cycle takes, the callers gather behind it.
    let append = |batch| {
        let log = Arc::clone(&one.log);
        tokio::spawn(async move { log.append(&[batch]).await })
    };
    one.log.faults().set_hanging(true);
    let mut callers = vec![append(batches.remove(0))];
    while !one.log.faults().hangs() {
        tokio::task::yield_now().await;
    }
    callers.extend(batches.into_iter().map(append));
    while one.log.waiting() < 39 {
        tokio::task::yield_now().await;
    }
    one.log.faults().set_hanging(false);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), [Ok(AppendOutcome::Appended)]);
    }
    let records = cycles(&one.path()) - before;
    assert_eq!(records, 2, "the first, and all others together");
}

#[tokio::test]
async fn a_reader_sees_an_append_as_soon_as_it_is_answered() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = Tail::EMPTY;
    for _ in 0..50 {
        let next = batch(SHARD, M, token, &tail, (1, "x"));
        assert_eq!(one.append(&next).await, Ok(AppendOutcome::Appended));
        let read = one.log.read(SHARD, M, tail.offset, 1).await.unwrap();
        assert_eq!(read.len(), 1);
        tail = next.tail;
    }
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), tail);
}
