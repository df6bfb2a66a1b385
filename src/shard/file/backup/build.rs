//! The file of a shard of a new cluster, made of those files of a backup that have its slots.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use crate::ids::{Epoch, ShardId};
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::shard::file::backup::moved::{
    OF_CONVERSATIONS, OF_USERS, attach, columns, detach, execute,
};
use crate::shard::file::snapshot::drop_file;
use crate::shard::file::store::StoreError;
use crate::shard::file::store::open::{claim, migrate};
use crate::shard::file::store::progress::applied_in;

/// Where a new file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Built {
    /// Where its log is to begin.
    pub tails: PerStream<Tail>,
    /// Highest epoch of what is in it.
    pub max_epoch: Epoch,
}

/// Where the streams stand: the highest of what goes into the file. The time of the shard is the
/// lowest, so that no key is forgotten early. A file that never had a record has none.
const PROGRESS: &str = "UPDATE main.progress SET \
    chain = CASE WHEN s.applied > main.progress.applied THEN s.chain ELSE main.progress.chain END, \
    applied = max(main.progress.applied, s.applied), max_epoch = max(main.progress.max_epoch, s.max_epoch), \
    newest_ts = CASE WHEN main.progress.newest_ts = 0 THEN s.newest_ts WHEN s.newest_ts = 0 THEN main.progress.newest_ts \
        ELSE min(main.progress.newest_ts, s.newest_ts) END \
    FROM source.progress AS s WHERE s.stream = main.progress.stream";

/// Records put aside are for a person to read: with the first of the files that their shard
/// becomes, numbered anew.
const QUARANTINE: &str = "INSERT INTO main.quarantine SELECT q.stream, \
    ifnull((SELECT max(k.\"offset\") FROM main.quarantine AS k WHERE k.stream = q.stream), 0) \
        + row_number() OVER (PARTITION BY q.stream ORDER BY q.\"offset\"), \
    'at ' || q.\"offset\" || ' of a shard of the backup: ' || q.reason, q.bytes FROM source.quarantine AS q";

/// Receipts end where their conversation does: the two streams were not applied to one moment.
const RECEIPTS: [&str; 6] = [
    "INSERT OR IGNORE INTO advances SELECT a.conversation, a.participant, a.kind, c.last_seq, a.ts FROM advances AS a \
        JOIN conversations AS c ON c.name = a.conversation WHERE a.upto_seq > c.last_seq ORDER BY a.upto_seq",
    "DELETE FROM advances WHERE upto_seq > (SELECT c.last_seq FROM conversations AS c WHERE c.name \
     = conversation)",
    "UPDATE watermarks SET delivered = min(delivered, c.last_seq), read = min(read, c.last_seq) FROM conversations AS c \
        WHERE c.name = watermarks.conversation AND (delivered > c.last_seq OR read > c.last_seq)",
    "UPDATE own_marks SET read_up_to = min(read_up_to, c.last_seq) FROM conversations AS c \
        WHERE c.name = own_marks.conversation AND read_up_to > c.last_seq",
    "DELETE FROM reactions WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id = \
     reactions.message_id)",
    // A mark that a new epoch is not measured from.
    "UPDATE progress SET mark_ts = 0",
];

/// What the requests under keys were is hashed with a secret of the cluster, which may be another
/// one now: a repeat is known by its key alone.
const FORGET_REQUESTS: &str = "UPDATE message_keys SET fingerprint = zeroblob(16)";

/// A list has what its user's memberships say, and nothing else. Each version stands once in it,
/// above all of before.
const DROP_FROM_LISTS: &str = "DELETE FROM user_index WHERE NOT EXISTS (SELECT 1 FROM gathered.members AS m \
    WHERE m.shard = ?1 AND m.user = user_index.user AND m.conversation = user_index.conversation)";
const MEND_LISTS: &str = "INSERT INTO user_index (user, conversation, seq, joined, version, at) \
    SELECT m.user, m.conversation, m.seq, m.joined, p.applied + row_number() OVER (ORDER BY m.user, m.conversation), m.at \
    FROM gathered.members AS m JOIN progress AS p ON p.stream = 'messages' \
    LEFT JOIN user_index AS i ON i.user = m.user AND i.conversation = m.conversation \
    WHERE m.shard = ?1 AND (i.user IS NULL OR i.seq <> m.seq OR i.joined <> m.joined) \
    ON CONFLICT (user, conversation) DO UPDATE SET seq = excluded.seq, joined = excluded.joined, \
        version = excluded.version, at = excluded.at";
const PAST_LISTS: &str = "UPDATE progress SET applied = max(applied, (SELECT ifnull(max(version), 0) FROM user_index)) \
    WHERE stream = 'messages'";

/// And what those whose list it is set of it.
const VIEW_LISTS: &str = "INSERT INTO index_views (user, conversation, joined_seq, version, revision, pinned, archived) \
    SELECT v.user, v.conversation, i.seq, i.version, v.revision, v.pinned, v.archived FROM gathered.views AS v \
    JOIN user_index AS i ON i.user = v.user AND i.conversation = v.conversation \
    WHERE v.shard = ?1 AND i.joined = 1 AND i.seq = v.joined_seq";

const DROP_KEYS: &str = "DELETE FROM create_keys WHERE NOT EXISTS (SELECT 1 FROM gathered.names AS n WHERE n.name = create_keys.name)";
const ADD_KEYS: &str = "INSERT OR IGNORE INTO create_keys (user, key, name, fingerprint, ts) \
    SELECT c.user, c.key, c.name, c.fingerprint, p.newest_ts FROM gathered.creations AS c \
    JOIN progress AS p ON p.stream = 'messages' WHERE c.shard = ?1";

/// Makes the file of a shard at `to`, on the disk when this returns: what stands there is dropped.
/// `sources` are the files of the backup that have its slots, with whether it is the first of the
/// shards that each becomes; `gathered` is what [`super::gathered::Gathered`] has of all.
///
/// # Errors
/// One sentence: it cannot be read or written.
pub(crate) async fn build(
    (identity, shard): (Identity, ShardId),
    sources: &[(PathBuf, bool)],
    gathered: &Path,
    to: &Path,
) -> Result<Built, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", to.display());
    drop_file(to).map_err(|error| failed(&error))?;
    let options = SqliteConnectOptions::new()
        .filename(to)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false);
    let connected = options.connect().await.map_err(StoreError::from);
    let mut file = connected.map_err(|error| failed(&error))?;
    migrate(to, &mut file)
        .await
        .map_err(|error| error.to_string())?;

    let built = fill(&mut file, (identity, shard), sources, gathered)
        .await
        .map_err(|error| failed(&error))?;
    file.close().await.map_err(|error| failed(&error))?;
    File::open(to)
        .and_then(|written| written.sync_all())
        .map_err(|error| failed(&error))?;
    Ok(built)
}

async fn fill(
    file: &mut SqliteConnection,
    (identity, shard): (Identity, ShardId),
    sources: &[(PathBuf, bool)],
    gathered: &Path,
) -> Result<Built, StoreError> {
    attach(file, gathered, "gathered").await?;
    for (source, is_first) in sources {
        attach(file, source, "source").await?;
        execute(file, "BEGIN".to_owned()).await?;
        copy(file, shard, *is_first).await?;
        execute(file, "COMMIT".to_owned()).await?;
        detach(file, "source").await?;
    }

    execute(file, "BEGIN".to_owned()).await?;
    claim(file, identity, shard).await?;
    for statement in RECEIPTS.into_iter().chain([FORGET_REQUESTS]) {
        execute(file, statement.to_owned()).await?;
    }
    for statement in [
        DROP_FROM_LISTS,
        MEND_LISTS,
        VIEW_LISTS,
        PAST_LISTS,
        DROP_KEYS,
        ADD_KEYS,
    ] {
        let mut query = sqlx::query(statement);
        if statement.contains("?1") {
            query = query.bind(shard.0);
        }
        query.execute(&mut *file).await?;
    }
    execute(file, "COMMIT".to_owned()).await?;
    detach(file, "gathered").await?;

    let tails = applied_in(file).await?;
    let epoch: i64 = sqlx::query("SELECT max(max_epoch) FROM progress")
        .fetch_one(file)
        .await?
        .try_get(0)?;
    Ok(Built {
        tails,
        max_epoch: Epoch(u64::try_from(epoch).unwrap_or_default()),
    })
}

/// The rows of one file of the backup that belong into this one.
async fn copy(
    file: &mut SqliteConnection,
    shard: ShardId,
    is_first: bool,
) -> Result<(), StoreError> {
    for (tables, places) in [(&OF_CONVERSATIONS[..], "names"), (&OF_USERS[..], "users")] {
        for (table, by) in tables {
            let columns = columns(file, table).await?;
            if columns.is_empty() {
                continue;
            }
            let statement = format!(
                "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM source.{table} AS t \
                 WHERE EXISTS (SELECT 1 FROM gathered.{places} AS g WHERE g.name = t.{by} AND g.shard = {})",
                shard.0
            );
            execute(file, statement).await?;
        }
    }

    execute(file, PROGRESS.to_owned()).await?;
    if is_first {
        execute(file, QUARANTINE.to_owned()).await?;
    }

    Ok(())
}
