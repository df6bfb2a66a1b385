//! The files of shards in a node's folder: where they are, and what becomes of those that are of no use any more.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::ids::ShardId;

/// What a quarantined file's name has after the shard's.
const QUARANTINED: &str = ".quarantined-";

/// Quarantined files of a shard that are kept; the oldest go.
const QUARANTINED_MAX: usize = 3;

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

/// Puts a shard's file aside for a person to look at, under a name with the time.
pub(super) fn quarantine(path: &Path, now_ms: u64) -> io::Result<PathBuf> {
    let aside = beside(path, &format!("{QUARANTINED}{now_ms}"));
    // The main file last: without it the others mean nothing.
    for suffix in BESIDE.iter().rev() {
        unless_absent(std::fs::rename(beside(path, suffix), beside(&aside, suffix)))?;
    }
    drop_old(path)?;
    Ok(aside)
}

/// Puts a complete file in the place of a shard's.
pub(super) fn replace(path: &Path, by: &Path) -> io::Result<()> {
    remove(path)?;
    std::fs::rename(by, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

fn drop_old(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let prefix = format!("{name}{QUARANTINED}");
    let names = std::fs::read_dir(folder)?.flatten().map(|entry| entry.file_name());
    let mut times: Vec<u64> = names.filter_map(|name| name.to_str()?.strip_prefix(&prefix)?.parse().ok()).collect();
    times.sort_unstable();
    for time in times.iter().rev().skip(QUARANTINED_MAX) {
        remove(&folder.join(format!("{prefix}{time}")))?;
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
    fn a_quarantined_file_is_kept_with_all_of_it_and_of_several_the_last_three() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path(), ShardId(12));
        for time in [9, 10, 11, 12, 8] {
            std::fs::write(&path, time.to_string()).expect("written");
            std::fs::write(beside(&path, "-wal"), "wal").expect("written");
            assert_eq!(shards_in(folder.path()), BTreeSet::from([ShardId(12)]));
            quarantine(&path, time).expect("moved");
            assert_eq!(shards_in(folder.path()), BTreeSet::new());
        }
        let entries = std::fs::read_dir(folder.path()).expect("reads");
        let mut left: Vec<_> =
            entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
        left.sort();
        let expected = ["10", "10-wal", "11", "11-wal", "12", "12-wal"];
        assert_eq!(left, expected.map(|end| format!("0012.sqlite.quarantined-{end}")));
    }

    #[test]
    fn a_file_is_replaced_with_nothing_of_the_old_one_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, new) = (path_of(folder.path(), ShardId(3)), folder.path().join("new"));
        std::fs::write(beside(&path, "-wal"), "old").expect("written");
        std::fs::write(&new, "new").expect("written");
        replace(&path, &new).expect("replaced");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "new");
        assert!(!beside(&path, "-wal").exists() && !new.exists());
        remove(&path).expect("removed");
        remove(&path).expect("removed already");
        assert_eq!(shards_in(folder.path()), BTreeSet::new());
    }
}
