//! The `SQLite` file of the embedded log: its schema and every statement on it.
//!
//! ```text
//! log(stream, last_offset, bytes)   one row an entry; stream = 2 × shard + 0 for messages, 1 for receipts
//! control(shard, …)                 one row a shard that was ever claimed
//! cell(name, version, body)         the table store's values
//! opened(times)                     counts the opens: one write, to prove the file before it is trusted
//! ```
//! Numbers that are `u64` in memory stand as the `i64` of the same bits.

use std::num::TryFromIntError;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, QueryBuilder, Sqlite};

use super::cycle::{Cell, Effects, NewEntry, State};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Tail};
use crate::log::{Control, Identity, PerStream, Token};

/// Most entries that one step of a trim deletes; the next step is another transaction.
pub(super) const TRIM_STEP_ENTRIES: u64 = 256;

/// Rows of one multi-row statement.
const ROWS_PER_STATEMENT: usize = 32;
/// Entries that a reading connection fetches ahead of its reader.
const ROWS_AHEAD: usize = 16;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const SCHEMA_VERSION: i64 = 1;
/// Earlier ones may corrupt a file whose WAL is reset while another connection commits.
const SQLITE_VERSION_MIN: [u32; 3] = [3, 51, 3];

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

const CONTROL_COLUMNS: &str = "shard, cluster, shards, epoch, nonce, owner, beat, messages_offset, messages_chain, \
    receipts_offset, receipts_chain";

pub(super) type ControlRow = (i64, Vec<u8>, i64, i64, i64, String, i64, i64, Vec<u8>, i64, Vec<u8>);

/// How the one writing connection opens the file.
fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "16777216")
        .statement_cache_capacity(96)
        .thread_name(|_| "log-writer".to_owned())
}

/// How readers open it.
pub(super) fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .thread_name(|number| format!("log-reader-{number}"))
}

/// Opens the file for writing and proves that what it shows is on disk and that it can be written.
///
/// After a commit that failed, the WAL may hold its pages: visible, but not on disk, or invisible, but found again after
/// a crash. So everything visible is first checkpointed (written and synced anew, into the main file), and then one write
/// is committed over whatever the WAL still holds. Only then is the state loaded.
pub(super) async fn open(path: &Path) -> Result<(SqliteConnection, State), sqlx::Error> {
    let mut connection = writing(path).connect().await?;
    require_version(&mut connection).await?;
    create_schema(&mut connection).await?;
    let (busy, _) = checkpoint(&mut connection, Checkpoint::Truncate).await?;
    if busy {
        return Err(unusable("a reader is in the way of a checkpoint"));
    }
    sqlx::query("INSERT INTO opened VALUES (1, 1) ON CONFLICT DO UPDATE SET times = times + 1")
        .execute(&mut connection)
        .await?;
    let state = load(&mut connection).await?;
    Ok((connection, state))
}

async fn require_version(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let (found,): (String,) = sqlx::query_as("SELECT sqlite_version()").fetch_one(connection).await?;
    let numbers: Vec<u32> = found.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    if numbers.as_slice() >= SQLITE_VERSION_MIN.as_slice() {
        Ok(())
    } else {
        Err(unusable(format!("SQLite {found} is too old, 3.51.3 is the first without the WAL reset bug")))
    }
}

async fn create_schema(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await?;
    match version {
        SCHEMA_VERSION => Ok(()),
        0 => {
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            sqlx::raw_sql(SCHEMA).execute(&mut *connection).await?;
            sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
        }
        other => Err(unusable(format!("it has schema {other}, this program knows {SCHEMA_VERSION}"))),
    }
}

async fn load(connection: &mut SqliteConnection) -> Result<State, sqlx::Error> {
    let mut state = State::default();
    let mut select = QueryBuilder::<Sqlite>::new(format!("SELECT {CONTROL_COLUMNS} FROM control"));
    let rows: Vec<ControlRow> = select.build_query_as().fetch_all(&mut *connection).await?;
    for row in rows {
        let (shard, control) = control_of(row)?;
        state.controls.insert(shard, control);
    }
    let cells: Vec<(String, i64, Vec<u8>)> =
        sqlx::query_as("SELECT name, version, body FROM cell").fetch_all(connection).await?;
    for (name, version, body) in cells {
        state.cells.insert(name, Cell { version: version.cast_unsigned(), body: Bytes::from(body) });
    }
    Ok(state)
}

/// Statement for one control record by its shard.
pub(super) fn select_control(shard: ShardId) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(format!("SELECT {CONTROL_COLUMNS} FROM control WHERE shard = "));
    select.push_bind(i64::from(shard.0));
    select
}

/// A control record as it stands in the file.
pub(super) fn control_of(row: ControlRow) -> Result<(ShardId, Control), sqlx::Error> {
    let (shard, cluster, shards, epoch, nonce, owner, beat, m_offset, m_chain, r_offset, r_chain) = row;
    let malformed = |error: TryFromIntError| unusable(format!("a control record is malformed: {error}"));
    let tail = |offset: i64, chain: &Vec<u8>| -> Result<Tail, sqlx::Error> {
        let chain = <[u8; 16]>::try_from(chain.as_slice())
            .map(Chain)
            .map_err(|error| unusable(format!("a control record is malformed: {error}")))?;
        Ok(Tail { offset: Offset(offset.cast_unsigned()), chain })
    };
    let control = Control {
        identity: Identity {
            cluster: ClusterId(uuid::Uuid::from_slice(&cluster).map_err(|error| unusable(error.to_string()))?),
            shards: u32::try_from(shards).map_err(malformed)?,
        },
        token: Token { epoch: Epoch(epoch.cast_unsigned()), nonce: nonce.cast_unsigned() },
        owner: NodeId::from(owner.as_str()),
        beat: beat.cast_unsigned(),
        tails: PerStream { messages: tail(m_offset, &m_chain)?, receipts: tail(r_offset, &r_chain)? },
    };
    Ok((ShardId(u16::try_from(shard).map_err(malformed)?), control))
}

/// Writes the effects inside a transaction that the caller began. How many entries each trim step deleted.
pub(super) async fn write(connection: &mut SqliteConnection, effects: &Effects) -> Result<Vec<u64>, sqlx::Error> {
    for entries in effects.entries.chunks(ROWS_PER_STATEMENT) {
        insert_entries(connection, entries).await?;
    }
    let mut trimmed = Vec::with_capacity(effects.trims.len());
    for step in &effects.trims {
        let deleted = sqlx::query(
            "DELETE FROM log WHERE rowid IN \
             (SELECT rowid FROM log WHERE stream = ? AND last_offset <= ? ORDER BY last_offset LIMIT ?)",
        )
        .bind(step.stream)
        .bind(step.upto.0.cast_signed())
        .bind(TRIM_STEP_ENTRIES.cast_signed())
        .execute(&mut *connection)
        .await?;
        trimmed.push(deleted.rows_affected());
    }
    let controls: Vec<(&ShardId, &Control)> = effects.controls.iter().collect();
    for chunk in controls.chunks(ROWS_PER_STATEMENT) {
        upsert_controls(connection, chunk).await?;
    }
    for (name, cell) in &effects.cells {
        sqlx::query(
            "INSERT INTO cell VALUES (?, ?, ?) \
             ON CONFLICT DO UPDATE SET version = excluded.version, body = excluded.body",
        )
        .bind(name.as_str())
        .bind(cell.version.cast_signed())
        .bind(cell.body.as_ref())
        .execute(&mut *connection)
        .await?;
    }
    Ok(trimmed)
}

async fn insert_entries(connection: &mut SqliteConnection, entries: &[NewEntry]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO log (stream, last_offset, bytes) ");
    insert.push_values(entries, |mut row, entry| {
        row.push_bind(entry.stream).push_bind(entry.last.0.cast_signed()).push_bind(entry.bytes.as_ref());
    });
    insert.build().execute(connection).await.map(drop)
}

async fn upsert_controls(
    connection: &mut SqliteConnection,
    controls: &[(&ShardId, &Control)],
) -> Result<(), sqlx::Error> {
    let mut upsert = QueryBuilder::<Sqlite>::new(format!("INSERT INTO control ({CONTROL_COLUMNS}) "));
    upsert.push_values(controls, |mut row, (shard, control)| {
        row.push_bind(i64::from(shard.0))
            .push_bind(control.identity.cluster.0.as_bytes().to_vec())
            .push_bind(i64::from(control.identity.shards))
            .push_bind(control.token.epoch.0.cast_signed())
            .push_bind(control.token.nonce.cast_signed())
            .push_bind(control.owner.to_string())
            .push_bind(control.beat.cast_signed());
        for (_, tail) in control.tails {
            row.push_bind(tail.offset.0.cast_signed()).push_bind(tail.chain.0.to_vec());
        }
    });
    upsert.push(
        " ON CONFLICT DO UPDATE SET epoch = excluded.epoch, nonce = excluded.nonce, owner = excluded.owner, \
         beat = excluded.beat, messages_offset = excluded.messages_offset, messages_chain = excluded.messages_chain, \
         receipts_offset = excluded.receipts_offset, receipts_chain = excluded.receipts_chain",
    );
    upsert.build().execute(connection).await.map(drop)
}

/// How hard a checkpoint tries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Checkpoint {
    /// Moves what no reader is in the way of.
    Passive,
    /// Waits for readers, moves everything, empties the WAL.
    Truncate,
}

/// Moves pages from the WAL to the main file. Whether readers were in the way, and how many pages the WAL holds.
pub(super) async fn checkpoint(connection: &mut SqliteConnection, how: Checkpoint) -> Result<(bool, i64), sqlx::Error> {
    let pragma = match how {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let (busy, pages, _moved): (i64, i64, i64) = sqlx::query_as(pragma).fetch_one(connection).await?;
    Ok((busy != 0, pages))
}

fn unusable(reason: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Configuration(reason.into().into())
}
