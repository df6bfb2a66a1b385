//! The checkpoint: from when on what is applied survives a loss of power, and how the raw entries
//! go after it.

use std::fs::File;

use sqlx::Row;
use tokio::time::Instant;

use crate::shard::file::store::columns::int;
use crate::shard::file::store::writer::{Looked, Writer};
use crate::shard::file::store::{Progress, StoreError};
use crate::telemetry::CHECKPOINTS;

const DROP_KEPT: &str = "DELETE FROM entries WHERE stream = ? AND last_offset <= ?";

/// Bytes of applied entries after which the length of the WAL is looked at again, and how many
/// transactions.
const LOOK_BYTES: u64 = 64 * 1024;
const LOOK_APPLIES: u32 = 16;
/// A WAL of so many pages (64 MiB) is worth a line in the log: a reader holds it back.
const WAL_PAGES_ALARM: i64 = 16 * 1024;

impl Writer {
    pub(super) async fn is_checkpoint_due(&mut self) -> bool {
        if self.looked.bytes < LOOK_BYTES && self.looked.applies < LOOK_APPLIES {
            return false;
        }

        self.looked = Looked::default();
        let durable = self.progress.borrow().durable;
        let kept: u64 = self
            .kept
            .iter()
            .map(|(stream, kept)| kept.bytes_above(durable[stream].offset))
            .sum();
        // Does no work, tells how long the WAL is.
        let pages = self
            .wal("NOOP")
            .await
            .map_or(0, |wal| wal.pages - wal.checkpointed);
        kept > self.config.raw_bytes_max || pages >= i64::from(self.config.checkpoint_pages)
    }

    /// The checkpoint that nobody waits for.
    pub(super) async fn checkpoint_quietly(&mut self) {
        match self.checkpoint("PASSIVE").await {
            Ok(_) if std::mem::take(&mut self.checkpoint_fails) => {
                tracing::info!(shard = %self.shard, "checkpoints work again");
            }
            Ok(_) => {}
            Err(error) => {
                // Not lost, only later: the next one is due after the same while.
                self.dirty_since = Some(Instant::now());
                if !std::mem::replace(&mut self.checkpoint_fails, true) {
                    tracing::warn!(shard = %self.shard, %error, "a checkpoint failed; it is tried until one works");
                }
            }
        }
    }

    pub(super) async fn checkpoint(&mut self, mode: &'static str) -> Result<Progress, StoreError> {
        self.be_certain().await?;
        let done = match self.drop_kept().await {
            Ok(()) => self.checkpoint_now(mode).await,
            failed => failed,
        };
        if done.is_err() {
            CHECKPOINTS.add(1, &[("result", "failed")]);
        }
        done.map(|()| *self.progress.borrow())
    }

    pub(super) async fn checkpoint_now(&mut self, mode: &'static str) -> Result<(), StoreError> {
        let wal = self.wal(mode).await?;
        if wal.is_complete() {
            self.progress
                .send_modify(|progress| progress.durable = progress.applied);
            self.dirty_since = None;
            CHECKPOINTS.add(1, &[("result", "complete")]);
            return self.erase().await;
        }

        // A reader holds the WAL back; as much as could be was moved. Tried again after the usual
        // while.
        self.dirty_since = Some(Instant::now());
        CHECKPOINTS.add(1, &[("result", "held_back")]);

        // What stays in the WAL is found there after a loss of power, once the WAL itself is on the
        // disk: a long read, such as that of a snapshot, keeps the file's WAL, but not the log.
        self.sync_wal().await?;
        self.progress
            .send_modify(|progress| progress.durable = progress.applied);
        if wal.pages > WAL_PAGES_ALARM {
            tracing::warn!(shard = %self.shard, pages = wal.pages, "a long read keeps the WAL from being checkpointed");
        }
        Ok(())
    }

    /// Brings all that was written to the WAL to the disk.
    async fn sync_wal(&self) -> Result<(), StoreError> {
        let mut path = self.connection.path().as_os_str().to_owned();
        path.push("-wal");
        let sync = move || File::open(path)?.sync_data();
        let synced = tokio::task::spawn_blocking(sync)
            .await
            .unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
        synced.map_err(|error| StoreError::Failed(format!("the WAL is not synced: {error}")))
    }

    /// Drops raw entries that are durable and either old or too many.
    async fn drop_kept(&mut self) -> Result<(), StoreError> {
        let durable = self.progress.borrow().durable;
        for (stream, kept) in self.kept.iter_mut() {
            let (floor, most) = (self.config.raw_floor, self.config.raw_bytes_max);
            let Some(upto) = kept.releasable(
                durable[stream].offset,
                (Instant::now(), floor),
                most,
                usize::MAX,
            ) else {
                continue;
            };
            let connection = self.connection.get().await?;
            sqlx::query(DROP_KEPT)
                .bind(stream.as_str())
                .bind(int(upto.0))
                .execute(connection)
                .await?;
            kept.release(upto);
        }

        Ok(())
    }

    async fn wal(&mut self, mode: &'static str) -> Result<Wal, StoreError> {
        let statement = match mode {
            "NOOP" => "PRAGMA wal_checkpoint(NOOP)",
            "TRUNCATE" => "PRAGMA wal_checkpoint(TRUNCATE)",
            _ => "PRAGMA wal_checkpoint(PASSIVE)",
        };
        let row = sqlx::query(statement)
            .fetch_one(self.connection.get().await?)
            .await?;
        Ok(Wal {
            busy: row.try_get::<i64, _>(0)? != 0,
            pages: row.try_get(1)?,
            checkpointed: row.try_get(2)?,
        })
    }
}

/// What a checkpoint says of the WAL.
struct Wal {
    busy: bool,
    pages: i64,
    checkpointed: i64,
}

impl Wal {
    fn is_complete(&self) -> bool {
        !self.busy && self.pages == self.checkpointed
    }
}
