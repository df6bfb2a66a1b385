//! What messages said before they were edited or deleted is gone from their rows at once. For a
//! while it stands elsewhere in the file: in the raw entries of those who wrote it, and in pages of
//! the WAL. From the transaction that wrote over it on the file notes up to which entry that is,
//! and is checkpointed until those entries have gone by their floor and the WAL was emptied after
//! that. SQLite writes over what it frees (`secure_delete`).

use sqlx::Row;
use tokio::time::Instant;

use crate::ids::Offset;
use crate::shard::file::apply::changes::Changes;
use crate::shard::file::store::StoreError;
use crate::shard::file::store::columns::{int, offset};
use crate::shard::file::store::script::Script;
use crate::shard::file::store::writer::Writer;

const NOTE: &str = "INSERT OR REPLACE INTO erasing (one, upto) VALUES (1, ?)";
const NOTED: &str = "SELECT upto FROM erasing";
const FORGET: &str = "DELETE FROM erasing";

impl Writer {
    /// Notes in a transaction up to where entries, and the WAL, may hold what it writes over; where
    /// that is, if it writes over anything. Whoever does not know whether the transaction succeeded
    /// asks the file.
    pub(super) fn noted(script: &mut Script, changes: &Changes, upto: Offset) -> Option<Offset> {
        if !changes.erases() {
            return None;
        }
        script.add(NOTE, |query| query.bind(int(upto.0)));
        Some(upto)
    }

    /// Reads what was noted.
    pub(super) async fn look_up_erasing(&mut self) -> Result<(), StoreError> {
        let row = sqlx::query(NOTED)
            .fetch_optional(self.connection.get().await?)
            .await?;
        self.erasing = row.map(|row| offset(&row, 0)).transpose()?;
        Ok(())
    }

    /// After a complete checkpoint: empties the WAL, if no reader is in the way, and forgets the
    /// note when nothing is left. Otherwise the next checkpoint is due after the usual while.
    pub(super) async fn erase(&mut self) -> Result<(), StoreError> {
        let Some(upto) = self.erasing else {
            return Ok(());
        };
        let entries_are_gone = self.kept.messages.bytes_upto(upto) == 0;
        if self.empty_wal().await? && entries_are_gone {
            sqlx::query(FORGET)
                .execute(self.connection.get().await?)
                .await?;
            self.erasing = None;
        }
        self.dirty_since = Some(Instant::now());
        Ok(())
    }

    /// Empties the WAL without waiting for readers: nothing is worth holding up the writes of a
    /// shard. False when one was in the way.
    async fn empty_wal(&mut self) -> Result<bool, StoreError> {
        let connection = self.connection.get().await?;
        sqlx::query("PRAGMA busy_timeout = 0")
            .execute(&mut *connection)
            .await?;
        let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *connection)
            .await;
        sqlx::query("PRAGMA busy_timeout = 2000")
            .execute(connection)
            .await?;
        Ok(emptied?.try_get::<i64, _>(0)? == 0)
    }
}
