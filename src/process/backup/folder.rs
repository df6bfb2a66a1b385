//! The folder of a backup: files that come to be whole or not at all, under names of their own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files::sync_folder;
use crate::ids::ShardId;
use crate::operations::hex;
use crate::process::backup::manifest::Manifest;
use crate::shard::file::snapshot::Snapshot;

/// The ending of a file that is not whole yet.
const PART: &str = ".part";

/// The ending of a copy.
const COPY: &str = ".sqlite";

/// A file on its way into the folder.
#[derive(Debug)]
pub(super) struct Incoming {
    file: File,
    path: PathBuf,
    hash: Sha256,
    length: u64,
}

impl Incoming {
    /// Begins one; what a former attempt left of it goes.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(super) fn begin(folder: &Path, shard: ShardId) -> Result<Self, String> {
        let path = folder.join(format!("{:04}{PART}", shard.0));
        let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            file,
            path,
            hash: Sha256::new(),
            length: 0,
        })
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes what came.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.file
            .write_all(bytes)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.hash.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// All of it came: compares it with what was said, brings it to the disk, and gives it its
    /// name. `None` when it is not as was said.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(super) fn finish(self, shard: ShardId, said: &Snapshot) -> Result<Option<String>, String> {
        let Self {
            file,
            path,
            hash,
            length,
        } = self;

        let sha256: [u8; 32] = hash.finalize().into();
        if (length, sha256) != (said.length, said.sha256) {
            return Ok(None);
        }

        let (messages, receipts) = (
            said.applied.messages.offset.0,
            said.applied.receipts.offset.0,
        );

        let digits = hex(sha256.get(..8).unwrap_or(&sha256));
        let name = format!("{:04}-{messages}-{receipts}-{digits}{COPY}", shard.0);
        let put = || {
            file.sync_all()?;
            std::fs::rename(&path, path.with_file_name(&name))
        };
        put().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(name))
    }
}

/// Writes the manifest, with all files that it names on the disk before it, and removes what no
/// manifest names any more.
///
/// # Errors
/// One clear line: the manifest cannot be written; the one of before stands. That something old
/// cannot be removed is no failure.
pub(super) fn seal(folder: &Path, manifest: &Manifest) -> Result<(), String> {
    sync_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    manifest.write(folder)?;

    let named: BTreeSet<&str> = manifest
        .files
        .iter()
        .map(|copy| copy.file.as_str())
        .collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = name.ends_with(PART) || name.ends_with(COPY) && is_copy(name);
        if ours && !named.contains(name) {
            // What stays takes room, and is tried again by the next backup.
            drop(std::fs::remove_file(entry.path()));
        }
    }
    Ok(())
}

/// Whether a file has the name of a copy: somebody else's files are left alone.
fn is_copy(name: &str) -> bool {
    let parts: Vec<&str> = name.trim_end_matches(COPY).split('-').collect();
    matches!(parts[..], [shard, messages, receipts, digits]
        if [shard, messages, receipts].iter().all(|part| part.parse::<u64>().is_ok()) && digits.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;
    use crate::log::record::Tail;
    use crate::log::{Identity, PerStream};

    #[test]
    fn a_file_gets_its_name_when_it_is_as_was_said_and_what_no_manifest_names_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = b"all of it";
        let said = Snapshot {
            length: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
            applied: PerStream::both(Tail::EMPTY),
        };
        let mut wrong = Incoming::begin(folder.path(), ShardId(3)).expect("begun");
        wrong.take(b"other one").expect("taken");
        assert_eq!(wrong.finish(ShardId(3), &said), Ok(None));
        let mut whole = Incoming::begin(folder.path(), ShardId(3)).expect("begun");
        whole.take(&bytes[..4]).expect("taken");
        whole.take(&bytes[4..]).expect("taken");
        assert_eq!(whole.length(), 9);
        let name = whole
            .finish(ShardId(3), &said)
            .expect("written")
            .expect("as was said");
        assert!(name.starts_with("0003-0-0-") && is_copy(&name), "{name}");
        assert_eq!(
            std::fs::read(folder.path().join(&name)).expect("read"),
            bytes
        );

        for other in ["notes.sqlite", "mine.txt", "0001.part"] {
            std::fs::write(folder.path().join(other), "x").expect("written");
        }
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 1,
        };
        seal(folder.path(), &Manifest::new(identity, (1, 2), Vec::new())).expect("written");
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("read")
            .flatten()
            .map(|of| of.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["manifest.json", "mine.txt", "notes.sqlite"]);
    }
}
