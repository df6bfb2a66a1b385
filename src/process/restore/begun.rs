//! The folder that a restore writes: taken when it is empty, or when a former restore was not
//! finished there; marked until all is written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{sync_folder, write_whole};
use crate::ids::ClusterId;
use crate::node::folder::{FolderLock, LOCK_FILE, RESTORING};

/// What a new file system has of its own.
const LOST_AND_FOUND: &str = "lost+found";

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The cluster that is made.
    cluster: ClusterId,
}

/// A folder that is being written.
#[derive(Debug)]
pub(super) struct Begun {
    folder: PathBuf,
    lock: FolderLock,
    /// The cluster that is made.
    pub(super) cluster: ClusterId,
}

impl Begun {
    /// Takes the folder and marks it. What an unfinished restore left is removed; its cluster
    /// stays, unless another is given.
    ///
    /// # Errors
    /// One clear line: it is not empty, in use, or cannot be written.
    pub(super) fn begin(folder: &Path, given: Option<ClusterId>) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("data folder {}: {error}", folder.display());
        let lock = FolderLock::take_unfinished(folder)?;
        let mark = folder.join(RESTORING);
        let former: Option<Mark> = match std::fs::read(&mark) {
            Ok(text) => Some(
                serde_json::from_slice(&text)
                    .map_err(|error| format!("{}: {error}", mark.display()))?,
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let found = others(folder).map_err(failed)?;
        if let (None, Some(first)) = (&former, found.first()) {
            return Err(format!(
                "data folder {} is not empty (it has {}): a restore writes a new one; give another --data, or move away what \
                 is there",
                folder.display(),
                first.file_name().unwrap_or_default().display()
            ));
        }

        let cluster = given
            .or_else(|| former.map(|former| former.cluster))
            .unwrap_or_else(ClusterId::random);
        let text = serde_json::to_vec(&Mark { cluster }).map_err(|error| error.to_string())?;
        write_whole(&mark, &text)?;
        for path in found {
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(failed)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            lock,
            cluster,
        })
    }

    /// Everything is written: the mark goes.
    ///
    /// # Errors
    /// One clear line: it cannot be removed.
    pub(super) fn finish(self) -> Result<(), String> {
        let failed =
            |error: std::io::Error| format!("data folder {}: {error}", self.folder.display());
        sync_folder(&self.folder).map_err(failed)?;
        std::fs::remove_file(self.folder.join(RESTORING)).map_err(failed)?;
        sync_folder(&self.folder).map_err(failed)?;
        self.lock.release();
        Ok(())
    }
}

/// What is in a folder beside its lock and the mark.
fn others(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if ![LOCK_FILE, RESTORING, LOST_AND_FOUND]
            .iter()
            .any(|known| entry.file_name() == *known)
        {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_anything_in_it_is_refused_and_an_unfinished_one_begun_anew_under_the_same_id()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let first = Begun::begin(&data, None).expect("it is not there yet");
        let (cluster, half) = (first.cluster, data.join("shards"));
        std::fs::create_dir(&half).expect("made");
        assert!(
            Begun::begin(&data, None)
                .expect_err("held")
                .contains("in use by another process")
        );
        // As if the process had died.
        first.lock.release();
        drop(first);
        let refused = FolderLock::take(&data).expect_err("half a folder");
        assert!(
            refused.contains("restore that was not finished") && !refused.contains('\n'),
            "{refused}"
        );

        let again = Begun::begin(&data, None).expect("unfinished");
        assert_eq!(again.cluster, cluster);
        assert!(!half.exists(), "what was half made is gone");
        std::fs::create_dir(&half).expect("made");
        again.finish().expect("finished");
        let taken = Begun::begin(&data, None).expect_err("it is a folder with something in it");
        assert!(
            taken.contains("is not empty (it has shards)") && !taken.contains('\n'),
            "{taken}"
        );
        FolderLock::take(&data).expect("finished").release();
    }
}
