//! Whether the disk has space for the file: found out when a write failed, told until one works.

use std::sync::atomic::Ordering;

use crate::shard::file::store::StoreError;
use crate::shard::file::store::writer::Writer;
use crate::sqlite;
use crate::telemetry::SHARD_FILE_FULL;

impl Writer {
    /// An error with want of space found out, where the code alone does not say it.
    pub(super) async fn on_disk(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Disk(words) if sqlite::is_full(self.connection.path()).await => {
                StoreError::Full(words)
            }
            error => error,
        }
    }

    /// Takes note whether the disk has no space.
    pub(super) fn note_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            SHARD_FILE_FULL.set(
                f64::from(u8::from(full)),
                &[("shard", &self.shard.0.to_string())],
            );
        }
    }
}
