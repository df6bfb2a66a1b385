//! Whether the copy of a shard is what it should be.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::ids::ShardId;
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::shard::file::store::StoreError;
use crate::shard::file::store::open::{name_of, owner_of};
use crate::shard::file::store::progress::applied_in;

/// Receipts of what is not in the file: the streams are applied each by itself.
const AHEAD: &str = "SELECT (SELECT count(*) FROM watermarks AS w JOIN conversations AS c ON c.name = w.conversation \
        WHERE w.delivered > c.last_seq OR w.read > c.last_seq) \
    + (SELECT count(*) FROM reactions AS r WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id = r.message_id))";

/// A table that an older file lacks.
const KNOWS_PRUNED: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'pruned'";

/// How many seqs of a conversation are gone, in a file that has that table.
const PRUNED: &str = "ifnull((SELECT g.up_to FROM pruned AS g WHERE g.conversation = c.name), 0)";

/// Conversations whose changes have a hole, unless records were put aside, which may be what is
/// missing. `gone`: how many seqs have no row.
fn broken_beside(gone: &str) -> String {
    format!(
        "SELECT name FROM conversations AS c WHERE last_seq - {gone} <> \
            (SELECT count(*) FROM messages AS m WHERE m.conversation = c.name) \
            + (SELECT count(*) FROM events AS e WHERE e.conversation = c.name) \
        AND NOT EXISTS (SELECT 1 FROM quarantine) LIMIT 1"
    )
}

/// What is in a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checked {
    /// Conversations.
    pub conversations: u64,
    /// Messages in them.
    pub messages: u64,
    /// Receipts of messages that came after the copy.
    pub ahead: u64,
}

impl Checked {
    /// Adds what is in another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.ahead += other.ahead;
    }
}

/// Reads the whole file: SQLite's own check, whose it is, where it stands, and whether each
/// conversation has all its changes.
///
/// # Errors
/// One sentence: what is not as it should be.
pub(crate) async fn check(
    path: &Path,
    of: (Identity, ShardId),
    tails: PerStream<Tail>,
) -> Result<Checked, String> {
    let mut file = open(path)
        .await
        .map_err(|error| format!("cannot be opened: {error}"))?;
    let checked = look(&mut file, of, tails).await;
    drop(file.close().await);
    checked.unwrap_or_else(|error| Err(format!("cannot be read: {error}")))
}

/// For reading alone: nothing appears beside the file, which may be where nothing can be written.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .foreign_keys(false);
    Ok(options.connect().await?)
}

/// Outside: SQLite refused. Inside: the verdict.
async fn look(
    file: &mut SqliteConnection,
    (identity, shard): (Identity, ShardId),
    tails: PerStream<Tail>,
) -> Result<Result<Checked, String>, StoreError> {
    let verdict: String = sqlx::query("PRAGMA integrity_check(1)")
        .fetch_one(&mut *file)
        .await?
        .try_get(0)?;
    if verdict != "ok" {
        return Ok(Err(format!(
            "is damaged: {}",
            verdict.lines().collect::<Vec<_>>().join(" ")
        )));
    }
    let (found, wanted) = (owner_of(file).await?, name_of(identity, shard));
    if found.as_deref() != Some(wanted.as_str()) {
        return Ok(Err(format!(
            "belongs to {}, not to {wanted}",
            found.as_deref().unwrap_or("nobody")
        )));
    }
    let applied = applied_in(file).await?;
    if applied != tails {
        return Ok(Err(format!(
            "stands at {applied:?}, not at {tails:?} as the manifest says"
        )));
    }
    let knows_pruned: i64 = sqlx::query(KNOWS_PRUNED)
        .fetch_one(&mut *file)
        .await?
        .try_get(0)?;
    let gone = if knows_pruned > 0 { PRUNED } else { "0" };
    let broken: Option<String> = sqlx::query(AssertSqlSafe(broken_beside(gone)))
        .fetch_optional(&mut *file)
        .await?
        .map(|row| row.try_get(0))
        .transpose()?;
    if let Some(broken) = broken {
        return Ok(Err(format!("has not all changes of conversation {broken}")));
    }

    let mut count = async |statement: &'static str| -> Result<u64, StoreError> {
        let counted: i64 = sqlx::query(statement)
            .fetch_one(&mut *file)
            .await?
            .try_get(0)?;
        Ok(u64::try_from(counted).unwrap_or_default())
    };
    let conversations = count("SELECT count(*) FROM conversations").await?;
    let messages = count("SELECT count(*) FROM messages").await?;
    Ok(Ok(Checked {
        conversations,
        messages,
        ahead: count(AHEAD).await?,
    }))
}
