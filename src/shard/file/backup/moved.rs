//! The rows that go from files of a backup into new files, and how they are told apart there: by
//! conversation, or by user.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::shard::file::store::StoreError;

/// Tables of which a row goes with its conversation; the column with its name.
pub(super) const OF_CONVERSATIONS: [(&str, &str); 15] = [
    // Before those whose rows make rows of it.
    ("retained", "conversation"),
    ("conversations", "name"),
    ("participants", "conversation"),
    ("departures", "conversation"),
    ("messages", "conversation"),
    ("events", "conversation"),
    ("message_keys", "conversation"),
    ("watermarks", "conversation"),
    ("advances", "conversation"),
    ("reactions", "conversation"),
    ("bans", "conversation"),
    ("closings", "conversation"),
    ("pruned", "conversation"),
    (VIEWS, "conversation"),
    ("own_marks", "conversation"),
];

/// Tables of which a row goes with its user.
pub(super) const OF_USERS: [(&str, &str); 3] = [
    ("user_index", "user"),
    ("create_keys", "user"),
    (SEEN, "user"),
];

/// The one of them that an older file lacks. It may have users who are in no conversation.
pub(super) const SEEN: &str = "seen";

/// Own views of participants, which an older file lacks too.
pub(super) const VIEWS: &str = "views";

/// Tables that are not taken: what is delivered by other means, and what belongs to a log that is
/// gone.
#[cfg(test)]
pub(super) const LEFT: [&str; 4] = ["outbox", "outbox_views", "entries", "erasing"];

/// Tables that are made by statements of their own.
#[cfg(test)]
pub(super) const MADE: [&str; 4] = ["index_views", "identity", "progress", "quarantine"];

/// Runs a statement made of names of tables and columns alone. How many rows it changed.
pub(super) async fn execute(
    connection: &mut SqliteConnection,
    statement: String,
) -> Result<u64, StoreError> {
    Ok(sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await?
        .rows_affected())
}

/// One number.
pub(super) async fn number(
    connection: &mut SqliteConnection,
    statement: String,
) -> Result<i64, StoreError> {
    Ok(sqlx::query(AssertSqlSafe(statement))
        .fetch_one(connection)
        .await?
        .try_get(0)?)
}

/// Attaches a file under a name.
pub(super) async fn attach(
    connection: &mut SqliteConnection,
    path: &std::path::Path,
    name: &str,
) -> Result<(), StoreError> {
    let path = path
        .to_str()
        .ok_or_else(|| StoreError::Failed(format!("{}: no text", path.display())))?;
    sqlx::query(AssertSqlSafe(format!("ATTACH ? AS {name}")))
        .bind(path)
        .execute(connection)
        .await?;
    Ok(())
}

/// Detaches it.
pub(super) async fn detach(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<(), StoreError> {
    execute(connection, format!("DETACH {name}"))
        .await
        .map(drop)
}

/// The columns that a table of an attached file has: an older one lacks some, which then have what
/// migrations give them. None when it lacks the table.
pub(super) async fn columns(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<String, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(format!("PRAGMA source.table_info({table})")))
        .fetch_all(connection)
        .await?;
    let names = rows
        .iter()
        .map(|row| row.try_get::<String, _>(1))
        .collect::<Result<Vec<_>, _>>()?;
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    Ok(quoted.join(", "))
}
