//! The files of shards in a node's folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::ids::ShardId;
use crate::node::folder::file_of;
use crate::shard::file::snapshot::unsent;

/// The file of a shard.
pub(super) fn path_of(folder: &Path, shard: ShardId) -> PathBuf {
    file_of(folder, shard)
}

/// Shards that have a file here.
pub(super) fn shards_in(folder: &Path) -> BTreeSet<ShardId> {
    let names = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter_map(|name| {
            name.to_str()?
                .strip_suffix(".sqlite")?
                .parse()
                .ok()
                .map(ShardId)
        })
        .collect()
}

/// Files that were put aside with messages that may have to be sent again, each with its shard.
pub(super) fn unsent_in(folder: &Path) -> std::io::Result<Vec<(ShardId, PathBuf)>> {
    let shard_of = |aside: &Path| {
        aside
            .file_name()?
            .to_str()?
            .split_once(".sqlite")?
            .0
            .parse()
            .ok()
            .map(ShardId)
    };
    Ok(unsent(folder)?
        .into_iter()
        .filter_map(|aside| Some((shard_of(&aside)?, aside)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::file::snapshot::drop_file;

    fn beside(path: &Path, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", path.display()))
    }

    #[test]
    fn a_removed_file_leaves_nothing_beside_it_and_others_are_no_shards() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path(), ShardId(12));
        for suffix in ["", "-wal", "-shm"] {
            std::fs::write(beside(&path, suffix), "x").expect("written");
        }

        std::fs::write(beside(&path, ".quarantined-17"), "x").expect("written");
        assert_eq!(shards_in(folder.path()), BTreeSet::from([ShardId(12)]));

        drop_file(&path).expect("removed");
        drop_file(&path).expect("removed already");
        assert_eq!(shards_in(folder.path()), BTreeSet::new());
        assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 1);
        assert_eq!(
            unsent_in(folder.path()).expect("reads"),
            [],
            "nothing was to be sent again"
        );

        for name in [
            ".quarantined-17.orphans",
            ".quarantined-19.orphans",
            ".orphans",
        ] {
            std::fs::write(beside(&path, name), "").expect("written");
        }

        assert_eq!(
            unsent_in(folder.path()).expect("reads"),
            [(ShardId(12), beside(&path, ".quarantined-17"))]
        );
    }
}
