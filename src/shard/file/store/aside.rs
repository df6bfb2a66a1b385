//! Reading a file that was put aside: its raw entries, for what only it has.

use std::path::Path;

use bytes::Bytes;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use crate::shard::file::store::StoreError;

const RAW: &str = "SELECT bytes FROM entries WHERE stream = 'messages' ORDER BY last_offset";

/// All raw entries of the messages stream, in order. Nothing is written to the file.
///
/// # Errors
/// SQLite refused.
pub(in crate::shard) async fn raw_messages(path: &Path) -> Result<Vec<Bytes>, StoreError> {
    let mut file = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .connect()
        .await?;
    let rows = sqlx::query(RAW).fetch_all(&mut file).await;
    file.close().await?;
    rows?
        .iter()
        .map(|row| Ok(Bytes::from(row.try_get::<Vec<u8>, _>(0)?)))
        .collect()
}
