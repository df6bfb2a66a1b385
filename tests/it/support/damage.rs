//! Files of shards that are changed behind the back of processes that do not run.
#![allow(
    dead_code,
    reason = "compiled for every test target; not each of them damages files"
)]

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// The files of all shards under a data folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|of| of == "sqlite") {
            found.push(path);
        }
    }
    found
}

async fn opened(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.unwrap()
}

/// Does this in every file. Returns how many rows it changed.
pub(crate) async fn change_rows(folder: &Path, statement: &str) -> u64 {
    let mut changed = 0;
    for path in files(folder) {
        let mut file = opened(&path).await;
        let done = sqlx::query(AssertSqlSafe(statement))
            .execute(&mut file)
            .await;
        changed += done.unwrap().rows_affected();
        file.close().await.unwrap();
    }
    changed
}

/// Likewise; in exactly one of them it changes a row.
pub(crate) async fn change_a_row(folder: &Path, statement: &str) {
    assert_eq!(change_rows(folder, statement).await, 1, "{statement}");
}
