//! The embedded log passes the suite, and what it promises beyond it: one process, one sync for
//! many, honest failures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::EmbeddedLog;
use super::layout::{self, Kind};
use crate::ids::{Offset, ShardId};
use crate::log::conformance::{Setup, batch, claimed, linked, log_conformance, read_all};
use crate::log::record::Tail;
use crate::log::{AppendError, AppendOutcome, Batch, ShardLog, Stream, Token};

mod crashed;

pub(super) const SHARD: ShardId = ShardId(0);
pub(super) const M: Stream = Stream::Messages;

pub(super) struct Embedded {
    folder: tempfile::TempDir,
    pub(super) log: Arc<EmbeddedLog>,
}

impl Embedded {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    async fn append(&self, batch: &Batch) -> Result<AppendOutcome, AppendError> {
        self.log.append(std::slice::from_ref(batch)).await.remove(0)
    }

    /// Appends one batch after another to a stream, each of so many bytes; its tail.
    pub(super) async fn fill(
        &self,
        (shard, token): (ShardId, Token),
        tail: Tail,
        (count, bytes): (usize, usize),
    ) -> Tail {
        let text = "x".repeat(bytes);
        let mut tail = tail;
        for _ in 0..count {
            let next = batch(shard, M, token, &tail, (1, &text));
            assert_eq!(self.append(&next).await, Ok(AppendOutcome::Appended));
            tail = next.tail;
        }
        tail
    }
}

pub(super) async fn embedded() -> Embedded {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EmbeddedLog::open(&folder.path().join("log"))
        .await
        .expect("opens");
    Embedded { folder, log }
}

#[async_trait]
impl Setup for Embedded {
    fn log(&self) -> Arc<dyn ShardLog> {
        Arc::clone(&self.log) as Arc<dyn ShardLog>
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = again(&self.path()).await;
    }
}

/// Opens a log again that was closed here. A process that another test begins at that very moment
/// has the lock for the blink of an eye, until it runs another program.
pub(super) async fn again(path: &Path) -> Arc<EmbeddedLog> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match EmbeddedLog::open(path).await {
            Ok(log) => return log,
            Err(why) if why.contains("another process has it open") && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(why) => panic!("{why}"),
        }
    }
}

/// The segments in a folder, in order.
pub(super) fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn bytes_of(folder: &Path) -> u64 {
    segments(folder)
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum()
}

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

log_conformance!(embedded);

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
async fn without_space_a_batch_is_surely_not_written_and_is_taken_when_there_is_some() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.log.faults().set_no_space(true);
    let large = batch(SHARD, M, token, &Tail::EMPTY, (1, &"x".repeat(2_000_000)));
    for _ in 0..2 {
        let answer = one.append(&large).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Full {
                    in_doubt: false,
                    ..
                })
            ),
            "{answer:?}"
        );
    }
    assert_eq!(
        one.log.control(SHARD).await.unwrap().unwrap().tails[M],
        Tail::EMPTY
    );
    assert_eq!(
        one.log.renew(&[(SHARD, token)]).await,
        [Ok(true)],
        "what needs no further space goes on"
    );

    // The tail in memory did not move either: another batch goes to the same place.
    one.log.faults().set_no_space(false);
    let other = batch(SHARD, M, token, &Tail::EMPTY, (2, "y"));
    assert_eq!(one.append(&other).await, Ok(AppendOutcome::Appended));
}

#[tokio::test]
async fn without_space_for_another_segment_nothing_goes_to_the_former_one_any_more() {
    let mut one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = one.fill((SHARD, token), Tail::EMPTY, (15, 1_000_000)).await;
    one.log.faults().set_no_space(true);
    let large = batch(SHARD, M, token, &tail, (1, &"x".repeat(1_900_000)));
    for next in [&large, &batch(SHARD, M, token, &tail, (1, "small"))] {
        let answer = one.append(next).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Full {
                    in_doubt: false,
                    ..
                })
            ),
            "{answer:?}"
        );
    }

    one.log.faults().set_no_space(false);
    tail = one.fill((SHARD, token), tail, (3, 1_000_000)).await;
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), tail);
}

#[tokio::test]
async fn a_sync_that_fails_is_in_doubt_and_so_is_every_answer_until_the_log_is_mended() {
    let mut one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let before = one.fill((SHARD, token), Tail::EMPTY, (2, 100)).await;
    one.log.faults().set_no_sync(true);
    let doubtful = batch(SHARD, M, token, &before, (1, "x"));
    // A stale token is no exception: who knows what is current.
    let fenced = Batch {
        token: Token {
            nonce: !token.nonce,
            ..token
        },
        ..doubtful.clone()
    };
    for sent in [&doubtful, &doubtful, &fenced] {
        let answer = one.append(sent).await;
        assert!(
            matches!(answer, Err(AppendError::Unanswered(_))),
            "{answer:?}"
        );
    }
    assert!(one.log.renew(&[(SHARD, token)]).await[0].is_err());
    assert!(one.log.trim(SHARD, token, M, Offset(1)).await.is_err());
    assert_eq!(
        one.log.control(SHARD).await.unwrap().unwrap().tails[M],
        before,
        "nobody sees what is in doubt"
    );

    one.log.faults().set_no_sync(false);
    let other = batch(SHARD, M, token, &before, (1, "not what was in doubt"));
    assert_eq!(
        one.append(&other).await,
        Ok(AppendOutcome::Appended),
        "what was in doubt was cut off"
    );
    assert_eq!(one.append(&other).await, Ok(AppendOutcome::AlreadyDone));
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), other.tail);
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever_under_trim() {
    const LIMIT: u64 = 48 * 1024 * 1024;
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = Tail::EMPTY;
    for _ in 0..100 {
        tail = one.fill((SHARD, token), tail, (2, 500_000)).await;
        one.log.trim(SHARD, token, M, tail.offset).await.unwrap();
    }
    let bytes = bytes_of(&one.path());
    assert!(bytes < LIMIT, "{bytes} bytes");
}

#[tokio::test]
async fn an_entry_of_a_quiet_stream_keeps_no_segment_for_ever_and_is_still_there() {
    const LIMIT: u64 = 200 * 1024 * 1024;
    const QUIET: ShardId = ShardId(1);
    let mut one = embedded().await;
    let quiet = claimed(&*one.log, QUIET).await;
    let quiet_tail = one.fill((QUIET, quiet), Tail::EMPTY, (3, 100)).await;
    let token = claimed(&*one.log, SHARD).await;
    let first = segments(&one.path());
    let mut tail = Tail::EMPTY;
    for _ in 0..150 {
        tail = one.fill((SHARD, token), tail, (4, 500_000)).await;
        one.log.trim(SHARD, token, M, tail.offset).await.unwrap();
    }
    let bytes = bytes_of(&one.path());
    assert!(bytes < LIMIT, "{bytes} bytes of 300 million");
    assert!(!first[0].exists(), "where it stood first is gone");
    assert_eq!(linked(&read_all(&*one.log, QUIET, M).await), quiet_tail);

    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, QUIET, M).await), quiet_tail);
    one.fill((QUIET, quiet), quiet_tail, (1, 10)).await;
}

#[tokio::test]
async fn what_was_trimmed_leaves_the_disk_though_nobody_writes_and_what_stands_beside_it_stays() {
    const SECRET: &[u8] = b"nobody may read this";
    const OTHER: ShardId = ShardId(1);
    let mut one = embedded().await;
    let (token, other) = (
        claimed(&*one.log, SHARD).await,
        claimed(&*one.log, OTHER).await,
    );
    let secret = batch(
        SHARD,
        M,
        token,
        &Tail::EMPTY,
        (1, std::str::from_utf8(SECRET).unwrap()),
    );
    assert_eq!(one.append(&secret).await, Ok(AppendOutcome::Appended));
    let tail = one.fill((OTHER, other), Tail::EMPTY, (3, 100)).await;
    let is_there = |folder: &Path| {
        let holds = |path: &PathBuf| {
            std::fs::read(path)
                .unwrap()
                .windows(SECRET.len())
                .any(|bytes| bytes == SECRET)
        };
        segments(folder).iter().any(holds)
    };
    assert!(is_there(&one.path()));
    one.log
        .trim(SHARD, token, M, secret.tail.offset)
        .await
        .unwrap();
    let swept = async || {
        one.log.sweep().await;
        // The first may share the cycle of the sweep, and is answered before it.
        for _ in 0..2 {
            assert_eq!(one.log.renew(&[(OTHER, other)]).await, [Ok(true)]);
        }
    };
    swept().await;
    assert!(
        is_there(&one.path()),
        "a segment is not written anew for each trim"
    );

    one.log.faults().set_hasty(true);
    swept().await;
    assert!(!is_there(&one.path()));
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, OTHER, M).await), tail);
    assert_eq!(
        one.log.read(SHARD, M, Offset(0), 1).await.unwrap(),
        Vec::new()
    );
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
