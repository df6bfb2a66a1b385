//! The log of a former version, one `SQLite` file, is taken over whole, also after the attempt was
//! broken off.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};

use super::former::take_over;
use super::tests::{Embedded, M, SHARD, again, embedded, segments};
use crate::log::ShardLog as _;
use crate::log::conformance::{claimed, read_all};
use crate::log::record::{Entry, Tail};

const SCHEMA: &str = "
    CREATE TABLE log(
        stream INTEGER NOT NULL, last_offset INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (stream, last_offset)) STRICT;
    CREATE TABLE control(
        shard INTEGER PRIMARY KEY, cluster BLOB NOT NULL, shards INTEGER NOT NULL, epoch INTEGER NOT NULL,
        nonce INTEGER NOT NULL, owner TEXT NOT NULL, beat INTEGER NOT NULL,
        messages_offset INTEGER NOT NULL, messages_chain BLOB NOT NULL,
        receipts_offset INTEGER NOT NULL, receipts_chain BLOB NOT NULL) STRICT;
    CREATE TABLE cell(name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE opened(one INTEGER PRIMARY KEY CHECK (one = 1), times INTEGER NOT NULL) STRICT;
    PRAGMA user_version = 1;";

/// A file as the former version left it when it was killed, with what one shard has in a log of
/// today; and that log.
async fn left(folder: &Path) -> (PathBuf, Embedded, SqliteConnection) {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.fill((SHARD, token), Tail::EMPTY, (30, 400_000)).await;
    assert!(
        one.log
            .swap_cell("table", 0, Bytes::from_static(b"rows"))
            .await
            .unwrap()
    );

    let file = folder.join("log.sqlite");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut connection = options
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(SCHEMA)
        .execute(&mut connection)
        .await
        .unwrap();
    for entry in read_all(&*one.log, SHARD, M).await {
        let insert =
            sqlx::query("INSERT INTO log VALUES (0, ?, ?)").bind(entry.last.0.cast_signed());
        insert
            .bind(entry.bytes.to_vec())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let control = one.log.control(SHARD).await.unwrap().unwrap();
    sqlx::query("INSERT INTO control VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(control.identity.cluster.0.as_bytes().to_vec())
        .bind(i64::from(control.identity.shards))
        .bind(control.token.epoch.0.cast_signed())
        .bind(control.token.nonce.cast_signed())
        .bind(control.owner.to_string())
        .bind(control.beat.cast_signed())
        .bind(control.tails.messages.offset.0.cast_signed())
        .bind(control.tails.messages.chain.0.to_vec())
        .bind(control.tails.receipts.offset.0.cast_signed())
        .bind(control.tails.receipts.chain.0.to_vec())
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO cell VALUES ('table', 1, x'726f7773')")
        .execute(&mut connection)
        .await
        .unwrap();
    (file, one, connection)
}

/// Everything of the shard and the cell is as it was in the log that the file was made from.
async fn check(log: &Path, one: &Embedded) {
    let opened = again(log).await;
    assert_eq!(opened.control(SHARD).await, one.log.control(SHARD).await);
    let entries = read_all(&*opened, SHARD, M).await;
    assert_eq!(entries, read_all(&*one.log, SHARD, M).await);
    assert!(Entry::decode_after(&Tail::EMPTY, &entries[0].bytes).is_ok());
    assert_eq!(opened.cell("table"), one.log.cell("table"));
    opened.close().await;
}

#[tokio::test]
async fn what_the_former_log_holds_is_in_the_new_one_and_its_files_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    assert_eq!(
        take_over(&folder.path().join("log.sqlite"), &log).await,
        Ok(false),
        "there is none"
    );

    // The connection that wrote it is still open, so its last writes stand in the file beside it.
    let (file, one, _connection) = left(folder.path()).await;
    assert_eq!(take_over(&file, &log).await, Ok(true));

    check(&log, &one).await;
    let names: Vec<PathBuf> = segments(folder.path());
    assert!(
        names
            .iter()
            .all(|path| !path.to_str().unwrap().contains("sqlite")),
        "{names:?}"
    );
    assert_eq!(take_over(&file, &log).await, Ok(false));
}

#[tokio::test]
async fn a_take_over_that_was_broken_off_begins_again_or_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (file, one, connection) = left(folder.path()).await;
    drop(connection);
    // Broken off while it wrote.
    let new = folder.path().join("log.new");
    std::fs::create_dir(&new).unwrap();
    std::fs::write(new.join("0000000001.segment"), b"half").unwrap();
    let kept = std::fs::read(&file).unwrap();
    assert_eq!(take_over(&file, &log).await, Ok(true));
    check(&log, &one).await;

    // Broken off before the former file was removed.
    std::fs::write(&file, kept).unwrap();
    assert_eq!(take_over(&file, &log).await, Ok(true));
    assert!(!file.exists());
    check(&log, &one).await;
}

#[tokio::test]
async fn a_file_that_is_no_log_is_refused_with_one_line_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.sqlite");
    std::fs::write(&file, [b'x'; 8192]).unwrap();
    let refused = take_over(&file, &folder.path().join("log"))
        .await
        .unwrap_err();
    assert!(
        refused.contains("log.sqlite") && refused.lines().count() == 1,
        "{refused}"
    );
    assert!(file.exists() && !folder.path().join("log").exists());
}
