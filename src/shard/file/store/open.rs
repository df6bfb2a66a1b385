//! Opening a shard's file: the settings of its connections, whose it is, migrations.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};

use crate::ids::ShardId;
use crate::log::Identity;
use crate::shard::file::store::at_rest::OnDemand;
use crate::shard::file::store::migrations::{ADDITIONS, MIGRATIONS};
use crate::shard::file::store::writer::shown;
use crate::shard::file::store::{Config, OpenError, StoreError};

/// The first SQLite without the WAL-reset corruption.
const SQLITE_MIN: [u32; 3] = [3, 51, 3];
/// A read waits so long for a free reader, then fails.
const READER_WAIT: Duration = Duration::from_secs(2);

/// The writer's connection, to a file that is ours and migrated.
pub(super) async fn open_writer(
    path: &Path,
    identity: Identity,
    shard: ShardId,
    config: &Config,
) -> Result<OnDemand, OpenError> {
    let refused = |error: StoreError| refused(path, error);
    let unclean = was_not_closed(path);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(2))
        .statement_cache_capacity(128)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "16777216")
        .pragma("cache_size", "-512")
        .pragma("temp_store", "MEMORY")
        // What is deleted is gone, and not only unreachable.
        .pragma("secure_delete", "ON")
        .thread_name(move |_| format!("sqlite-{shard}"));
    let mut connection = options
        .connect()
        .await
        .map_err(StoreError::from)
        .map_err(refused)?;
    let version = sqlite_version(&mut connection).await.map_err(refused)?;

    if !is_new_enough(&version) {
        return Err(OpenError::OldSqlite(version));
    }

    if unclean {
        quick_check(path, &mut connection).await?;
    }

    if let Some(found) = owner_of(&mut connection).await.map_err(refused)? {
        belongs(path, &found, &name_of(identity, shard))?;
    }

    migrate(path, &mut connection).await?;
    claim(&mut connection, identity, shard)
        .await
        .map_err(refused)?;
    Ok(OnDemand::new(connection, options, config.rest_after))
}

/// Brings a file of this or an older version to the schema of this one; an empty one gets all of
/// it.
///
/// # Errors
/// Unusable: it is of a newer version, or half made. Else SQLite refused.
pub(in crate::shard) async fn migrate(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(), OpenError> {
    // `run` is generic over how a connection is had; named here, the future around it is provably
    // `Send`.
    let migrated = MIGRATIONS.run_direct(None, connection, false).await;
    migrated.map_err(|error| unmigrated(path, error))?;
    for addition in ADDITIONS {
        let added = sqlx::raw_sql(addition).execute(&mut *connection).await;
        added.map_err(|error| refused(path, error.into()))?;
    }
    Ok(())
}

/// The readers, opened when needed.
pub(super) fn open_readers(path: &Path, shard: ShardId, config: &Config) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(2))
        .statement_cache_capacity(64)
        .pragma("cache_size", "-512")
        .pragma("temp_store", "MEMORY")
        .thread_name(move |reader| format!("sqlite-{shard}-r{reader}"));
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(config.readers_max.max(1))
        .idle_timeout(config.rest_after)
        .max_lifetime(None)
        .acquire_timeout(READER_WAIT)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

/// How a connection for one long read is made, which takes none of the readers.
pub(super) fn apart(path: &Path, shard: ShardId) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(2))
        .pragma("cache_size", "-512")
        .pragma("temp_store", "MEMORY")
        .thread_name(move |_| format!("sqlite-{shard}-long"))
}

/// What SQLite said of a file that cannot be opened.
pub(super) fn refused(path: &Path, error: StoreError) -> OpenError {
    let path = shown(path);
    match error {
        StoreError::Damaged(error) => OpenError::Damaged { path, error },
        error => OpenError::Sqlite { path, error },
    }
}

/// A WAL that has something means that whoever wrote it did not close the file: when it was killed,
/// or the power went.
fn was_not_closed(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0)
}

/// Reads the whole file and looks whether its pages and rows hang together.
///
/// # Errors
/// [`OpenError::Damaged`] with the first thing that does not.
pub(in crate::shard) async fn quick_check(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(), OpenError> {
    let checked = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(StoreError::from);
    let found = checked
        .and_then(|row| Ok(row.try_get::<String, _>(0)?))
        .map_err(|error| refused(path, error))?;
    if found == "ok" {
        return Ok(());
    }
    // It says where on a line of its own.
    Err(OpenError::Damaged {
        path: shown(path),
        error: found.lines().collect::<Vec<_>>().join(" "),
    })
}

fn unmigrated(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(_)
        | MigrateError::VersionMismatch(_)
        | MigrateError::Dirty(_) => OpenError::Unusable {
            path: shown(path),
            error: error.to_string(),
        },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            refused(path, error.into())
        }
        error => refused(path, StoreError::Failed(error.to_string())),
    }
}

/// Whose file this is; `None` for a new one. A file of something else has a name that is nobody's.
pub(in crate::shard) async fn owner_of(
    connection: &mut SqliteConnection,
) -> Result<Option<String>, StoreError> {
    let tables = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await?;
    let names = tables
        .iter()
        .map(|row| row.try_get::<&str, _>(0))
        .collect::<Result<Vec<_>, _>>()?;
    if !names.contains(&"identity") {
        // A first start may have ended after it had made the table of migrations.
        let foreign = names
            .iter()
            .any(|name| !name.starts_with("_sqlx") && !name.starts_with("sqlite_"));
        return Ok(foreign.then(|| "another program".to_owned()));
    }

    let row = sqlx::query("SELECT cluster, shards, shard FROM identity")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (shards, shard): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Some(named(row.try_get(0)?, shards, shard)))
}

fn belongs(path: &Path, found: &str, wanted: &str) -> Result<(), OpenError> {
    if found == wanted {
        return Ok(());
    }
    Err(OpenError::Foreign {
        path: shown(path),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
    })
}

pub(in crate::shard) async fn claim(
    connection: &mut SqliteConnection,
    identity: Identity,
    shard: ShardId,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO identity SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM identity)")
        .bind(identity.cluster.to_string())
        .bind(identity.shards)
        .bind(shard.0)
        .execute(connection)
        .await?;
    Ok(())
}

pub(in crate::shard) fn name_of(identity: Identity, shard: ShardId) -> String {
    named(
        &identity.cluster.to_string(),
        i64::from(identity.shards),
        i64::from(shard.0),
    )
}

fn named(cluster: &str, shards: i64, shard: i64) -> String {
    format!("shard s{shard} of the {shards} of cluster {cluster}")
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or_default());
    let found = [(); 3].map(|()| numbers.next().unwrap_or_default());
    found >= SQLITE_MIN
}

/// Version of SQLite, as three numbers and as text.
async fn sqlite_version(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    let row = sqlx::query("SELECT sqlite_version()")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_can_corrupt_a_wal_is_refused() {
        for old in ["3.40.1", "3.51.2", "3.9.9", "2.8.17", ""] {
            assert!(!is_new_enough(old), "{old}");
        }
        for good in ["3.51.3", "3.52.0", "3.100.1", "4.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
    }
}
