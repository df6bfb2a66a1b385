//! What SQLite's result codes mean. Whoever decides something because of a failure decides by its
//! kind, never by its words.

use std::path::Path;

use crate::files::{folder_of, room_in};

/// What kind of failure a result code tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The file will not mend: it is damaged, or no file of SQLite.
    Damaged,
    /// Another connection is in the way, or every reader is taken; passes by itself.
    Busy,
    /// The disk, or a quota, has no space left.
    Full,
    /// The statement surely had no effect and the file stands as it stood: a constraint, a value
    /// that is too large, a file that must not be written.
    Refused,
    /// The disk failed; whether for want of space, [`is_full`] finds out.
    Disk,
    /// The connections are closed.
    Closed,
    /// Anything else.
    Failed,
}

/// Primary result codes; the low byte of every extended one.
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const TOOBIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const NOTADB: u32 = 26;
/// The shared memory beside the file could not grow: an extended code of [`IOERR`] that a full disk
/// has.
const IOERR_SHMSIZE: u32 = IOERR | 19 << 8;

/// A disk with less than this is full: SQLite writes whole pages, and several for one row.
const SPACE_MIN: u64 = 64 * 1024;

/// Returns what kind of failure an error is.
pub(crate) fn kind(error: &sqlx::Error) -> Kind {
    let code = match error {
        sqlx::Error::PoolTimedOut => return Kind::Busy,
        sqlx::Error::PoolClosed => return Kind::Closed,
        error => error
            .as_database_error()
            .and_then(|told| told.code())
            .and_then(|code| code.parse().ok()),
    };
    match code.unwrap_or_default() {
        IOERR_SHMSIZE => Kind::Full,
        code => match code & 0xff {
            BUSY | LOCKED => Kind::Busy,
            CORRUPT | NOTADB => Kind::Damaged,
            FULL => Kind::Full,
            READONLY | TOOBIG | CONSTRAINT => Kind::Refused,
            IOERR | CANTOPEN => Kind::Disk,
            _ => Kind::Failed,
        },
    }
}

/// Returns whether the disk of a file has no space left. Only `ENOSPC` has a code of its own; a
/// quota, or a file that cannot be made for want of space, has that of any other failure
/// ([`Kind::Disk`]).
pub(crate) async fn is_full(path: &Path) -> bool {
    let folder = folder_of(path).to_owned();
    // On a thread of its own: a disk that hangs holds up nothing else.
    let asked = tokio::task::spawn_blocking(move || room_in(&folder)).await;
    asked.is_ok_and(|room| room.is_ok_and(|room| room < SPACE_MIN))
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection, Executor};

    use super::*;

    /// The error of a statement, after others, on a file of its own.
    async fn refused(before: &[&'static str], statement: &'static str) -> sqlx::Error {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("f"))
            .create_if_missing(true);
        let mut connection = options.connect().await.expect("opens");
        for earlier in before {
            connection.execute(*earlier).await.expect("works");
        }
        let error = connection.execute(statement).await.expect_err("refused");
        connection.close().await.expect("closes");
        error
    }

    #[tokio::test]
    async fn a_file_that_may_not_grow_is_full_and_one_that_breaks_a_rule_is_not() {
        const TABLE: &str = "CREATE TABLE t(bytes BLOB NOT NULL)";
        const LARGE: &str = "INSERT INTO t VALUES (zeroblob(100000))";

        assert_eq!(
            kind(&refused(&[TABLE, "PRAGMA max_page_count = 4"], LARGE).await),
            Kind::Full
        );
        assert_eq!(
            kind(&refused(&[TABLE], "INSERT INTO t VALUES (NULL)").await),
            Kind::Refused
        );
        assert_eq!(
            kind(&refused(&[TABLE, "PRAGMA query_only = 1"], LARGE).await),
            Kind::Refused
        );
        assert_eq!(
            kind(&refused(&[], "SELECT nothing FROM nowhere").await),
            Kind::Failed
        );
    }

    #[tokio::test]
    async fn what_is_no_file_of_sqlite_is_damaged_whatever_words_it_is_told_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, [b'x'; 8192]).expect("written");

        let mut connection = SqliteConnectOptions::new()
            .filename(&path)
            .connect()
            .await
            .expect("opens lazily");
        let error = connection
            .execute("SELECT * FROM sqlite_master")
            .await
            .expect_err("no file of SQLite");
        assert_eq!(kind(&error), Kind::Damaged);

        let absent = SqliteConnectOptions::new()
            .filename(folder.path().join("absent/f"))
            .connect()
            .await;
        assert_eq!(kind(&absent.expect_err("no folder")), Kind::Disk);
        assert!(!is_full(&path).await, "this disk has space");
    }
}
