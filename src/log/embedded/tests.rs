//! The embedded log passes the suite, and what it promises beyond it: one process, one fsync for many, honest failures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::log::conformance::{Setup, batch, claimed, linked, log_conformance, read_all};
use crate::log::record::Tail;

struct Embedded {
    folder: tempfile::TempDir,
    log: Arc<EmbeddedLog>,
}

impl Embedded {
    fn path(&self) -> PathBuf {
        self.folder.path().join("log.sqlite")
    }

    /// A connection of someone who meddles with the file.
    async fn meddler(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.expect("connects")
    }
}

async fn embedded() -> Embedded {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EmbeddedLog::open(&folder.path().join("log.sqlite")).await.expect("opens");
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

/// Opens a log again that was closed here. A process that another test begins at that very moment has the lock for the
/// blink of an eye, until it runs another program.
async fn again(path: &Path) -> Arc<EmbeddedLog> {
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

log_conformance!(embedded);

const SHARD: ShardId = ShardId(0);
const M: Stream = Stream::Messages;

#[tokio::test]
async fn a_second_opener_is_refused_with_one_line_and_may_open_after_the_close() {
    let one = embedded().await;
    let refused = EmbeddedLog::open(&one.path()).await.unwrap_err();
    assert!(refused.contains("another process has it open") && refused.lines().count() == 1, "{refused}");
    one.log.close().await;
    again(&one.path()).await.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_log_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = EmbeddedLog::open(&folder.path().join("nowhere/log.sqlite")).await.unwrap_err();
    assert_eq!(missing.lines().count(), 1, "{missing}");
    let path = folder.path().join("log.sqlite");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let garbage = EmbeddedLog::open(&path).await.unwrap_err();
    assert!(garbage.contains("log.sqlite") && garbage.lines().count() == 1, "{garbage}");
}

#[tokio::test]
async fn a_file_of_a_later_schema_is_refused() {
    let one = embedded().await;
    one.log.close().await;
    sqlx::raw_sql("PRAGMA user_version = 2").execute(&mut one.meddler().await).await.unwrap();
    let refused = EmbeddedLog::open(&one.path()).await.unwrap_err();
    assert!(refused.contains("schema 2"), "{refused}");
}

#[tokio::test]
async fn a_closed_log_says_in_doubt_and_not_nothing() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.log.close().await;
    let answers = one.log.append(&[batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))]).await;
    assert!(matches!(answers.as_slice(), [Err(AppendError::Unanswered(_))]), "{answers:?}");
    assert!(one.log.control(SHARD).await.is_err());
}

#[tokio::test]
async fn what_waits_together_is_one_transaction() {
    let one = embedded().await;
    let mut batches = Vec::new();
    for shard in (0..40).map(ShardId) {
        let token = claimed(&*one.log, shard).await;
        batches.push(batch(shard, M, token, &Tail::EMPTY, (1, "x")));
    }
    let mut meddler = one.meddler().await;
    // As long as someone else writes, the writer's next transaction waits, and the callers gather behind it.
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut meddler).await.unwrap();
    let callers: Vec<_> = batches
        .into_iter()
        .map(|batch| {
            let log = Arc::clone(&one.log);
            tokio::spawn(async move { log.append(&[batch]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    sqlx::raw_sql(
        "CREATE TABLE seen(entries); CREATE TRIGGER t AFTER UPDATE ON control BEGIN \
        INSERT INTO seen SELECT count(*) FROM log; END; COMMIT",
    )
    .execute(&mut meddler)
    .await
    .unwrap();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), [Ok(AppendOutcome::Appended)]);
    }
    // Each transaction updates its control records after all of its entries are in: as many values as transactions.
    let (transactions,): (i64,) =
        sqlx::query_as("SELECT count(DISTINCT entries) FROM seen").fetch_one(&mut meddler).await.unwrap();
    assert!((1..=4).contains(&transactions), "{transactions} transactions for 40 callers");
}

#[tokio::test]
async fn a_statement_that_is_refused_is_surely_not_written() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut meddler = one.meddler().await;
    sqlx::raw_sql("CREATE TRIGGER t BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(&mut meddler)
        .await
        .unwrap();
    let first = batch(SHARD, M, token, &Tail::EMPTY, (1, "x"));
    let answers = one.log.append(std::slice::from_ref(&first)).await;
    assert!(matches!(answers.as_slice(), [Err(AppendError::NotWritten(_))]), "{answers:?}");
    assert_eq!(one.log.control(SHARD).await.unwrap().unwrap().tails[M], Tail::EMPTY);
    sqlx::raw_sql("DROP TRIGGER t").execute(&mut meddler).await.unwrap();
    // The tail in memory did not move either: another batch goes to the same place.
    let other = batch(SHARD, M, token, &Tail::EMPTY, (2, "y"));
    assert_eq!(one.log.append(&[other]).await, [Ok(AppendOutcome::Appended)]);
}

#[tokio::test]
async fn a_file_that_may_not_grow_says_that_there_is_no_space_and_takes_the_batch_when_there_is() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.log.execute("PRAGMA max_page_count = 1").await;
    let large = batch(SHARD, M, token, &Tail::EMPTY, (1, &"x".repeat(100_000)));
    for _ in 0..2 {
        let answers = one.log.append(std::slice::from_ref(&large)).await;
        assert!(matches!(answers.as_slice(), [Err(AppendError::Full { in_doubt: false, .. })]), "{answers:?}");
    }
    assert_eq!(one.log.renew(&[(SHARD, token)]).await, [Ok(true)], "what needs no space goes on");
    one.log.execute("PRAGMA max_page_count = 1000000").await;
    assert_eq!(one.log.append(&[large]).await, [Ok(AppendOutcome::Appended)]);
}

#[tokio::test]
async fn a_commit_that_fails_is_in_doubt_and_the_file_decides() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut meddler = one.meddler().await;
    sqlx::raw_sql(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY); \
         CREATE TABLE child(id REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER t AFTER INSERT ON log BEGIN INSERT INTO child VALUES (1); END",
    )
    .execute(&mut meddler)
    .await
    .unwrap();
    let doubtful = batch(SHARD, M, token, &Tail::EMPTY, (1, "x"));
    for _ in 0..2 {
        let answers = one.log.append(std::slice::from_ref(&doubtful)).await;
        assert!(matches!(answers.as_slice(), [Err(AppendError::Unanswered(_))]), "{answers:?}");
    }
    // The connection was opened anew each time, and what has nothing to do with it works.
    assert_eq!(one.log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    let (times,): (i64,) = sqlx::query_as("SELECT times FROM opened").fetch_one(&mut meddler).await.unwrap();
    assert_eq!(times, 3);
    sqlx::raw_sql("DROP TRIGGER t").execute(&mut meddler).await.unwrap();
    assert_eq!(one.log.append(std::slice::from_ref(&doubtful)).await, [Ok(AppendOutcome::Appended)]);
    assert_eq!(one.log.append(&[doubtful]).await, [Ok(AppendOutcome::AlreadyDone)]);
}

#[tokio::test]
async fn until_the_file_is_proven_again_every_answer_is_in_doubt() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut meddler = one.meddler().await;
    sqlx::raw_sql(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY); \
         CREATE TABLE child(id REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER t AFTER INSERT ON log BEGIN INSERT INTO child VALUES (1); END; \
         PRAGMA user_version = 2",
    )
    .execute(&mut meddler)
    .await
    .unwrap();
    let doubtful = batch(SHARD, M, token, &Tail::EMPTY, (1, "x"));
    // First the commit fails, then the file cannot be opened. A stale token is no exception: who knows what is current.
    let fenced = Batch { token: Token { nonce: !token.nonce, ..token }, ..doubtful.clone() };
    for sent in [&doubtful, &doubtful, &fenced] {
        let answers = one.log.append(std::slice::from_ref(sent)).await;
        assert!(matches!(answers.as_slice(), [Err(AppendError::Unanswered(_))]), "{answers:?}");
    }
    assert!(one.log.renew(&[(SHARD, token)]).await[0].is_err());
    assert!(one.log.trim(SHARD, token, M, Offset(1)).await.is_err());
    sqlx::raw_sql("DROP TRIGGER t; PRAGMA user_version = 1").execute(&mut meddler).await.unwrap();
    let answers = one.log.append(&[doubtful]).await;
    assert_eq!(answers, [Ok(AppendOutcome::Appended)]);
}

#[tokio::test]
async fn neither_the_file_nor_its_wal_grow_for_ever_under_trim() {
    const LIMIT: u64 = 48 * 1024 * 1024;
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = Tail::EMPTY;
    let text = "x".repeat(500_000);
    for _ in 0..200 {
        let next = batch(SHARD, M, token, &tail, (1, &text));
        assert_eq!(one.log.append(std::slice::from_ref(&next)).await, [Ok(AppendOutcome::Appended)]);
        tail = next.tail;
        one.log.trim(SHARD, token, M, tail.offset).await.unwrap();
    }
    let size = |suffix: &str| std::fs::metadata(format!("{}{suffix}", one.path().display())).unwrap().len();
    assert!(size("") < LIMIT && size("-wal") < LIMIT, "{} and {} bytes", size(""), size("-wal"));
}

#[tokio::test]
async fn a_reader_sees_an_append_as_soon_as_it_is_answered() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = Tail::EMPTY;
    for _ in 0..50 {
        let next = batch(SHARD, M, token, &tail, (1, "x"));
        assert_eq!(one.log.append(std::slice::from_ref(&next)).await, [Ok(AppendOutcome::Appended)]);
        let read = one.log.read(SHARD, M, tail.offset, 1).await.unwrap();
        assert_eq!(read.len(), 1);
        tail = next.tail;
    }
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), tail);
}
