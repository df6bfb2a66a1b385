//! When users were seen last: a table that is no part of the view of the log. What is lost of it is
//! lost.

use crate::ids::{ShardId, UserId};
use crate::shard::file::store::columns::{int, json, number, user};
use crate::shard::file::store::script::{Multi, Script};
use crate::shard::file::store::writer::{Ask, Writer};
use crate::shard::file::store::{Store, StoreError};
use crate::telemetry::SEEN_WRITTEN;

const SEEN: &str =
    "SELECT s.user, s.at FROM json_each(?1) AS asked CROSS JOIN seen AS s ON s.user = asked.value";
const WRITE: Multi = Multi {
    head: "INSERT INTO seen (user, at)",
    row: "(?, ?)",
    tail: " ON CONFLICT (user) DO UPDATE SET at = max(at, excluded.at)",
};
/// Rows of one transaction, so that nothing else waits long for the writer.
const ROWS_AT_ONCE: usize = 1_024;

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 1] = [SEEN];

impl Store {
    /// When these users were seen last, in unix milliseconds; those of whom that is not known are
    /// left out.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn seen(&self, users: &[UserId]) -> Result<Vec<(UserId, u64)>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .read(
                sqlx::query(SEEN)
                    .bind(json(users)?)
                    .fetch_all(self.readers()),
            )
            .await?;
        rows.iter()
            .map(|row| Ok((user(row, 0)?, number(row, 1)?)))
            .collect()
    }

    /// Writes down when users were seen. What cannot be written is older in the file, and nobody
    /// waits for it.
    pub(crate) async fn write_seen_behind(&self, shard: ShardId, rows: Vec<(UserId, u64)>) {
        if let Err(error) = self.write_seen(rows).await {
            tracing::debug!(%shard, %error, "when users were seen last is not written, and is older now");
        }
    }

    /// Writes down when users were seen, unless it is known that they were seen later.
    ///
    /// # Errors
    /// SQLite refused; a part may be written.
    pub(crate) async fn write_seen(&self, rows: Vec<(UserId, u64)>) -> Result<(), StoreError> {
        for part in rows.chunks(ROWS_AT_ONCE) {
            self.ask(|reply| Ask::Seen(part.to_vec(), reply)).await??;
            SEEN_WRITTEN.add(part.len() as u64, &[]);
        }
        Ok(())
    }
}

impl Writer {
    pub(super) async fn write_seen(&mut self, rows: &[(UserId, u64)]) -> Result<(), StoreError> {
        self.be_certain().await?;
        let mut script = Script::begin();
        script.rows(&WRITE, rows, |query, (user, at)| {
            query.bind(user.as_str()).bind(int(*at))
        });
        let connection = self.connection.get().await?;
        let written = script.commit(connection).await;
        if written.is_err() {
            // Fails when SQLite has rolled back already.
            let _rolled_back = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            self.uncertain = true;
        }
        self.note_write();
        written.map(drop)
    }
}
