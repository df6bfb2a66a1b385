//! The files of shards in a node's folder.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::ids::ShardId;

/// What SQLite keeps beside a file.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// The file of a shard.
pub(super) fn path_of(folder: &Path, shard: ShardId) -> PathBuf {
    folder.join(format!("{:04}.sqlite", shard.0))
}

/// Shards that have a file here.
pub(super) fn shards_in(folder: &Path) -> BTreeSet<ShardId> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.strip_suffix(".sqlite")?.parse().ok().map(ShardId)).collect()
}

/// Removes a shard's file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for suffix in BESIDE {
        unless_absent(std::fs::remove_file(beside(path, suffix)))?;
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn unless_absent(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_file_leaves_nothing_beside_it_and_others_are_no_shards() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path(), ShardId(12));
        for suffix in BESIDE {
            std::fs::write(beside(&path, suffix), "x").expect("written");
        }
        std::fs::write(beside(&path, ".quarantined-17"), "x").expect("written");
        assert_eq!(shards_in(folder.path()), BTreeSet::from([ShardId(12)]));
        remove(&path).expect("removed");
        remove(&path).expect("removed already");
        assert_eq!(shards_in(folder.path()), BTreeSet::new());
        assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 1);
    }
}
