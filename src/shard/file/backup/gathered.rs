//! What must be known of a whole backup before the first file is made of it: where each
//! conversation and user goes, who is in which conversation, and which creations may be repeated.
//! Kept in a file, for it may be large; dropped with the restore.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::cluster::map::ShardMap;
use crate::ids::{ShardId, Slot};
use crate::shard::file::backup::moved::{SEEN, VIEWS, attach, columns, detach, execute, number};
use crate::shard::file::snapshot::drop_file;
use crate::shard::file::store::StoreError;

/// Names written by one statement, two parameters each.
const NAMES: usize = 400;

/// Keys of creations are kept for a day and an hour.
const KEY_MS: u64 = 25 * 60 * 60 * 1000;

const TABLES: [&str; 5] = [
    "CREATE TABLE names (name TEXT PRIMARY KEY, shard INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE users (name TEXT PRIMARY KEY, shard INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE members (shard INTEGER, user TEXT, conversation TEXT, seq INTEGER, joined INTEGER, at INTEGER, \
        PRIMARY KEY (shard, user, conversation)) STRICT, WITHOUT ROWID",
    "CREATE TABLE views (shard INTEGER, user TEXT, conversation TEXT, joined_seq INTEGER, revision INTEGER, \
        pinned INTEGER, archived INTEGER, PRIMARY KEY (shard, user, conversation)) STRICT, WITHOUT ROWID",
    "CREATE TABLE creations (shard INTEGER, user TEXT, key TEXT, name TEXT, fingerprint BLOB, \
        PRIMARY KEY (shard, user, key)) STRICT, WITHOUT ROWID",
];

const ALL_USERS: &str = "SELECT participant FROM source.participants UNION SELECT participant FROM source.departures \
    UNION SELECT created_by FROM source.conversations UNION SELECT user FROM source.user_index \
    UNION SELECT user FROM source.create_keys";

const SEEN_USERS: &str = "SELECT user FROM source.seen";

const JOINED: &str = "INSERT INTO members SELECT u.shard, p.participant, p.conversation, p.joined_seq, 1, ifnull(e.created, 0) \
    FROM source.participants AS p JOIN users AS u ON u.name = p.participant \
    LEFT JOIN source.events AS e ON e.conversation = p.conversation AND e.seq = p.joined_seq";

/// Whoever is in again stands there already.
const LEFT: &str = "INSERT OR IGNORE INTO members SELECT u.shard, d.participant, d.conversation, d.left_seq, 0, ifnull(e.created, 0) \
    FROM source.departures AS d JOIN users AS u ON u.name = d.participant \
    LEFT JOIN source.events AS e ON e.conversation = d.conversation AND e.seq = d.left_seq";

const VIEWED: &str = "INSERT INTO views SELECT u.shard, v.participant, v.conversation, p.joined_seq, v.revision, \
    v.pinned, v.archived FROM source.views AS v \
    JOIN source.participants AS p ON p.conversation = v.conversation AND p.participant = v.participant \
    JOIN users AS u ON u.name = v.participant";

const CREATED: &str = "INSERT OR IGNORE INTO creations SELECT u.shard, c.created_by, c.create_key, c.name, \
    c.create_fingerprint FROM source.conversations AS c JOIN users AS u ON u.name = c.created_by \
    WHERE c.create_key IS NOT NULL AND c.create_key_stamped = 0 AND c.created >= ?";

/// What is known of a backup.
#[derive(Debug)]
pub(crate) struct Gathered {
    connection: SqliteConnection,
    path: PathBuf,
    /// Slots to shards, in the backup and in what is restored.
    maps: (ShardMap, ShardMap),
    /// Since when creations may be repeated, unix milliseconds.
    keys_since: u64,
}

/// One sentence.
fn told(error: StoreError) -> String {
    error.to_string()
}

impl Gathered {
    /// Nothing yet, in a new file at `path`. `begun_ms` is when the backup began.
    ///
    /// # Errors
    /// One sentence: it cannot be written.
    pub(crate) async fn begin(
        path: &Path,
        maps: (ShardMap, ShardMap),
        begun_ms: u64,
    ) -> Result<Self, String> {
        drop_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false);
        let connection = options
            .connect()
            .await
            .map_err(|error| told(error.into()))?;
        let keys_since = begun_ms.saturating_sub(KEY_MS);

        let mut gathered = Self {
            connection,
            path: path.to_owned(),
            maps,
            keys_since,
        };

        for table in TABLES {
            execute(&mut gathered.connection, table.to_owned())
                .await
                .map_err(told)?;
        }

        Ok(gathered)
    }

    /// Takes in the file of a shard of the backup.
    ///
    /// # Errors
    /// One sentence: it cannot be read, or has what does not belong into it.
    pub(crate) async fn take(&mut self, shard: ShardId, file: &Path) -> Result<(), String> {
        attach(&mut self.connection, file, "source")
            .await
            .map_err(told)?;
        let taken = self.take_attached(shard).await;
        let detached = detach(&mut self.connection, "source").await.map_err(told);
        taken?;
        detached
    }

    async fn take_attached(&mut self, shard: ShardId) -> Result<(), String> {
        execute(&mut self.connection, "BEGIN".to_owned())
            .await
            .map_err(told)?;
        let names = self.texts("SELECT name FROM source.conversations").await?;
        if let Some(stray) = names
            .iter()
            .find(|name| self.maps.0.shard_of(Slot::of(name.as_bytes())) != shard)
        {
            return Err(format!(
                "has conversation {stray}, which belongs to another shard"
            ));
        }
        self.place("names", &names).await?;
        let users = self.texts(ALL_USERS).await?;
        self.place("users", &users).await?;
        if !columns(&mut self.connection, SEEN)
            .await
            .map_err(told)?
            .is_empty()
        {
            let seen = self.texts(SEEN_USERS).await?;
            self.place("users", &seen).await?;
        }

        for statement in [JOINED, LEFT] {
            execute(&mut self.connection, statement.to_owned())
                .await
                .map_err(told)?;
        }
        self.take_views().await?;
        let since = i64::try_from(self.keys_since).unwrap_or_default();
        let created = sqlx::query(CREATED)
            .bind(since)
            .execute(&mut self.connection)
            .await;
        created.map_err(|error| told(error.into()))?;
        // What has no conversation would be left behind without a word.
        for table in ["messages", "events", "participants", "message_keys"] {
            let count = format!(
                "SELECT count(*) FROM source.{table} AS t WHERE NOT EXISTS (SELECT 1 FROM names \
                 WHERE name = t.conversation)"
            );
            let lost = number(&mut self.connection, count).await.map_err(told)?;
            if lost > 0 {
                return Err(format!(
                    "has {lost} rows in {table} of conversations that are not there"
                ));
            }
        }
        execute(&mut self.connection, "COMMIT".to_owned())
            .await
            .map_err(told)
            .map(drop)
    }

    /// What participants set for themselves alone, which an older file has nothing of.
    async fn take_views(&mut self) -> Result<(), String> {
        let columns = columns(&mut self.connection, VIEWS).await;
        if !columns.map_err(told)?.is_empty() {
            let taken = execute(&mut self.connection, VIEWED.to_owned()).await;
            taken.map_err(told)?;
        }
        Ok(())
    }

    async fn texts(&mut self, statement: &'static str) -> Result<Vec<String>, String> {
        let rows = sqlx::query(statement)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| told(error.into()))?;
        let texts = rows
            .iter()
            .map(|row| row.try_get::<String, _>(0))
            .collect::<Result<_, _>>();
        texts.map_err(|error| told(error.into()))
    }

    /// Notes in which shard of what is restored each of these is.
    async fn place(&mut self, table: &'static str, names: &[String]) -> Result<(), String> {
        for chunk in names.chunks(NAMES) {
            let rows = vec!["(?, ?)"; chunk.len()].join(", ");
            let statement = format!("INSERT OR IGNORE INTO {table} (name, shard) VALUES {rows}");
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for name in chunk {
                query = query
                    .bind(name.as_str())
                    .bind(self.maps.1.shard_of(Slot::of(name.as_bytes())).0);
            }
            query
                .execute(&mut self.connection)
                .await
                .map_err(|error| told(error.into()))?;
        }
        Ok(())
    }

    /// All of it is taken in: closes the file, and answers where it is.
    ///
    /// # Errors
    /// One sentence: it cannot be written.
    pub(crate) async fn finish(self) -> Result<PathBuf, String> {
        self.connection
            .close()
            .await
            .map_err(|error| told(error.into()))?;
        Ok(self.path)
    }
}
