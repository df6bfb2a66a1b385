//! Files of the version before this one.

use std::path::Path;

use sqlx::Connection;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;

use crate::shard::file::store::migrations::up_to;

/// Makes a file as the version before this one did, with these rows.
pub(crate) async fn file_of_the_version_before(path: &Path, rows: &'static str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut old = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("opens");
    Migrator::with_migrations(up_to(2))
        .run_direct(None, &mut old, false)
        .await
        .expect("migrates");
    sqlx::raw_sql(rows).execute(&mut old).await.expect("writes");
    old.close().await.expect("closes");
}
