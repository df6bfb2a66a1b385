//! A folder that only one process, and in it only one owner, uses: made if absent, locked while the
//! lock is held. The operating system gives the lock free when the process dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::ids::ShardId;

/// Name of the file that carries the lock.
pub(crate) const LOCK_FILE: &str = "lock";

/// Stands in a folder while a restore writes it: nothing starts there meanwhile.
pub(crate) const RESTORING: &str = "restoring.json";

/// The folder of a node's shards, in its own.
#[must_use]
pub(crate) fn shards_of(folder: &Path) -> PathBuf {
    folder.join("shards")
}

/// The file of a shard, in the folder of a node's shards.
#[must_use]
pub(crate) fn file_of(shards: &Path, shard: ShardId) -> PathBuf {
    shards.join(format!("{:04}.sqlite", shard.0))
}

/// The exclusive lock of a folder.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    path: PathBuf,
}

impl FolderLock {
    /// Makes the folder if it is absent, and locks it.
    ///
    /// # Errors
    /// One clear line: it cannot be made or written, or it is in use.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let lock = Self::take_unfinished(folder)?;
        if folder.join(RESTORING).exists() {
            return Err(format!(
                "data folder {} holds a restore that was not finished; run `rookery restore` \
                 again, or give another --data",
                folder.display()
            ));
        }
        Ok(lock)
    }

    /// The same of a folder that a restore may have begun to write.
    ///
    /// # Errors
    /// One clear line: it cannot be made or written, or it is in use.
    pub fn take_unfinished(folder: &Path) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("data folder {}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(told)?;

        let path = folder.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(told)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "data folder {} is in use by another process",
                folder.display()
            )),
            Err(TryLockError::Error(error)) => Err(told(error)),
        }
    }

    /// Gives the folder free.
    pub fn release(&self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "a data folder could not be given free");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_in_one_line_until_it_is_given_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data/node-1");
        let held = FolderLock::take(&data).expect("free");
        let refused = FolderLock::take(&data).expect_err("held");
        assert!(
            refused.contains("is in use by another process") && !refused.contains('\n'),
            "{refused}"
        );
        held.release();
        FolderLock::take(&data).expect("free again").release();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_in_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("a file");
        let refused = FolderLock::take(&file.join("data")).expect_err("below a file");
        assert!(
            refused.starts_with("data folder ") && !refused.contains('\n'),
            "{refused}"
        );
    }
}
