//! The manifest of a backup: which files it has, what is in each, and a hash over all that. Written
//! last, in one step: a backup without one is none, and one of before stands until then with all
//! its files.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::files::write_whole;
use crate::ids::{ClusterId, ShardId};
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::operations::{AppliedTail, hex};

/// Its name in the folder of a backup.
pub(super) const FILE: &str = "manifest.json";

/// The version of what is written here.
const FORMAT: u32 = 1;

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::process) struct Manifest {
    /// Version of the manifest.
    pub(in crate::process) format: u32,
    /// Version of the program that wrote it.
    pub(in crate::process) program: String,
    /// The cluster that was copied.
    pub(in crate::process) cluster: ClusterId,
    /// Its number of shards.
    pub(in crate::process) shards: u32,
    /// Unix milliseconds before the first question: everything that was acknowledged before is in
    /// the backup.
    pub(in crate::process) begun_ms: u64,
    /// Unix milliseconds after the last one.
    pub(in crate::process) ended_ms: u64,
    /// One for each shard, in order.
    pub(in crate::process) files: Vec<ShardCopy>,
}

/// The copy of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::process) struct ShardCopy {
    /// Number of the shard.
    pub(in crate::process) shard: u16,
    /// Name of the file, beside the manifest.
    pub(in crate::process) file: String,
    /// Its length.
    pub(in crate::process) bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub(in crate::process) sha256: String,
    /// Where the messages stream stands in it.
    pub(in crate::process) messages: AppliedTail,
    /// Where the receipts stream stands in it.
    pub(in crate::process) receipts: AppliedTail,
    /// Unix milliseconds when it was copied.
    pub(in crate::process) copied_ms: u64,
}

impl ShardCopy {
    /// Where both streams stand in it; `None` when what is written there is no tail.
    pub(in crate::process) fn tails(&self) -> Option<PerStream<Tail>> {
        Some(PerStream {
            messages: self.messages.tail()?,
            receipts: self.receipts.tail()?,
        })
    }
}

impl Manifest {
    /// The manifest of a finished backup.
    pub(super) fn new(
        identity: Identity,
        (begun_ms, ended_ms): (u64, u64),
        files: Vec<ShardCopy>,
    ) -> Self {
        let (cluster, shards) = (identity.cluster, identity.shards);
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            format: FORMAT,
            program,
            cluster,
            shards,
            begun_ms,
            ended_ms,
            files,
        }
    }

    /// The cluster that was copied.
    pub(in crate::process) fn identity(&self) -> Identity {
        Identity {
            cluster: self.cluster,
            shards: self.shards,
        }
    }

    /// The copy of a shard.
    pub(in crate::process) fn copy_of(&self, shard: ShardId) -> Option<&ShardCopy> {
        self.files.iter().find(|copy| copy.shard == shard.0)
    }

    /// Reads the manifest of a folder; `None` when there is none.
    ///
    /// # Errors
    /// One clear line: it cannot be read, is not as it was written, or was written by a newer
    /// version.
    pub(in crate::process) fn read(folder: &Path) -> Result<Option<Self>, String> {
        let path = folder.join(FILE);
        let failed = |why: &str| format!("{}: {why}", path.display());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error.to_string())),
        };

        let sealed: Value = serde_json::from_slice(&text)
            .map_err(|error| failed(&format!("is damaged: {error}")))?;
        let manifest = sealed
            .get("manifest")
            .ok_or_else(|| failed("is no manifest of a backup"))?;
        if manifest
            .get("format")
            .and_then(Value::as_u64)
            .is_some_and(|format| format > u64::from(FORMAT))
        {
            return Err(failed(
                "was written by a newer version of rookery; use that one",
            ));
        }
        if sealed.get("sha256").and_then(Value::as_str) != Some(hash_of(manifest).as_str()) {
            return Err(failed("is damaged: it has not the hash that stands in it"));
        }

        let read: Self =
            serde_json::from_value(manifest.clone()).map_err(|error| failed(&error.to_string()))?;
        read.check().map_err(|why| failed(&why))?;
        Ok(Some(read))
    }

    /// Writes it, on disk when this returns, in the place of the one of before.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join(FILE);
        let failed = |error: serde_json::Error| format!("{}: {error}", path.display());
        let manifest = serde_json::to_value(self).map_err(failed)?;
        let sealed = serde_json::json!({ "sha256": hash_of(&manifest), "manifest": manifest });
        write_whole(
            &path,
            serde_json::to_string_pretty(&sealed)
                .map_err(failed)?
                .as_bytes(),
        )
    }

    /// Whether it names each shard once, by a file beside it.
    fn check(&self) -> Result<(), String> {
        let shards: BTreeSet<u32> = self
            .files
            .iter()
            .map(|copy| u32::from(copy.shard))
            .collect();
        if shards.len() != self.files.len() || !shards.iter().copied().eq(0..self.shards) {
            return Err(format!(
                "does not name each of the {} shards once",
                self.shards
            ));
        }

        for copy in &self.files {
            let mut parts = Path::new(&copy.file).components();
            if !matches!(
                (parts.next(), parts.next()),
                (Some(Component::Normal(_)), None)
            ) {
                return Err(format!("names a file that is not beside it: {}", copy.file));
            }
            if copy.tails().is_none() {
                return Err(format!(
                    "does not tell where the streams of shard {} stand",
                    copy.shard
                ));
            }
        }

        Ok(())
    }
}

/// Over its values, however they are set out: its names are in order.
fn hash_of(manifest: &Value) -> String {
    hex(&Sha256::digest(manifest.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let tail = || AppliedTail::of(&Tail::EMPTY);
        let copy = |shard: u16| ShardCopy {
            shard,
            file: format!("{shard:04}-1-1-abcd.sqlite"),
            bytes: 4096,
            sha256: hex(&[0xab; 32]),
            messages: tail(),
            receipts: tail(),
            copied_ms: 3,
        };
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 2,
        };
        Manifest::new(identity, (1, 5), vec![copy(0), copy(1)])
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_not_when_a_byte_of_it_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Manifest::read(folder.path()), Ok(None));

        let written = manifest();
        written.write(folder.path()).expect("written");
        assert_eq!(Manifest::read(folder.path()), Ok(Some(written)));

        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).expect("read");
        for (from, to) in [
            ("4096", "4097"),
            ("\"manifest\"", "\"manifold\""),
            ("{", ""),
            ("\"format\": 1", "\"format\": 2"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
            let line = Manifest::read(folder.path()).expect_err("another one");
            assert!(line.contains(FILE) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_manifest_names_each_shard_once_and_files_beside_it_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut wrong = manifest();
            change(&mut wrong);
            wrong.write(folder.path()).expect("written");
            Manifest::read(folder.path()).expect_err("refused")
        };

        assert!(refused(&|wrong| drop(wrong.files.pop())).contains("each of the 2 shards once"));
        assert!(refused(&|wrong| wrong.files[1].shard = 0).contains("each of the 2 shards once"));

        for outside in ["../0001.sqlite", "/etc/passwd", "a/b", ""] {
            assert!(
                refused(&|wrong| wrong.files[0].file = outside.to_owned())
                    .contains("not beside it"),
                "{outside}"
            );
        }

        assert!(
            refused(&|wrong| wrong.files[0].messages.chain = "ab".to_owned())
                .contains("where the streams")
        );
    }
}
