//! What a node's folder says of itself before any shard is opened: `cluster.json`, written at the
//! first start and never again, whose it is; `table.json`, the last table seen, by which a Redis
//! that lost its table gets the same rows back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cluster::table::Table;
use crate::files::write_whole;
use crate::ids::{ClusterId, NodeId};
use crate::log::Identity;

const MARKER: &str = "cluster.json";
const TABLE: &str = "table.json";

/// Whose a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    cluster: ClusterId,
    shards: u32,
    node: NodeId,
}

/// The folder of a node, locked by this process.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    node: NodeId,
    marker: Option<Marker>,
}

impl Folder {
    /// Reads whose it is.
    ///
    /// # Errors
    /// One clear line: it is another node's, or cannot be read.
    pub(crate) fn open(path: &Path, node: &NodeId) -> Result<Self, String> {
        let marker: Option<Marker> = read(&path.join(MARKER))?;
        if let Some(marker) = marker.as_ref().filter(|marker| marker.node != *node) {
            let (folder, owner) = (path.display(), &marker.node);
            return Err(format!(
                "data folder {folder} belongs to {owner}, not to {node}; give --node-id {owner} or \
                 another --data"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            node: node.clone(),
            marker,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster that it belongs to; none before its first start.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.marker.as_ref().map(|marker| Identity {
            cluster: marker.cluster,
            shards: marker.shards,
        })
    }

    /// Compares it with the cluster in Redis.
    ///
    /// # Errors
    /// One clear line: they are not the same.
    pub(crate) fn check(&self, found: Identity) -> Result<(), String> {
        let folder = self.path.display();
        match self.identity() {
            Some(ours) if ours.cluster != found.cluster => Err(format!(
                "data folder {folder} belongs to cluster {}, but Redis holds cluster {}; give the --redis and \
                 --redis-prefix of that cluster, or another --data",
                ours.cluster, found.cluster
            )),
            Some(ours) if ours.shards != found.shards => Err(format!(
                "data folder {folder} was made with {} shards, but cluster {} in Redis has {}",
                ours.shards, found.cluster, found.shards
            )),
            _ => Ok(()),
        }
    }

    /// Marks it as belonging to this cluster for good, on disk when this returns.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(crate) fn mark(&mut self, identity: Identity) -> Result<(), String> {
        if self.marker.is_none() {
            let marker = Marker {
                cluster: identity.cluster,
                shards: identity.shards,
                node: self.node.clone(),
            };
            write(&self.path.join(MARKER), &marker)?;
            self.marker = Some(marker);
        }
        Ok(())
    }

    /// The last table seen of this cluster.
    ///
    /// # Errors
    /// One clear line: it cannot be read.
    pub(crate) fn last_table(&self) -> Result<Option<Table>, String> {
        let table: Option<Table> = read(&self.path.join(TABLE))?;
        Ok(table.filter(|table| Some(table.identity) == self.identity()))
    }

    /// Remembers a table.
    ///
    /// # Errors
    /// One clear line: it cannot be written.
    pub(crate) fn remember(&self, table: &Table) -> Result<(), String> {
        write(&self.path.join(TABLE), table)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| told(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(&error)),
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_vec(value).map_err(|error| format!("{}: {error}", path.display()))?;
    write_whole(path, &text)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::cluster::table::changes::Changes;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId::random(),
            shards: 4,
        }
    }

    fn refused(outcome: Result<impl std::fmt::Debug, String>, says: &str) {
        let line = outcome.expect_err("refused");
        assert!(line.contains(says) && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_folder_belongs_to_the_first_node_and_cluster_that_started_on_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (NodeId::from("node-1"), NodeId::from("node-2"));
        let mut fresh = Folder::open(folder.path(), &one).expect("a fresh one");
        let (ours, theirs) = (identity(), identity());
        assert_eq!(fresh.identity(), None);

        fresh.check(theirs).expect("a fresh one fits any");
        fresh.mark(ours).expect("marked");
        fresh
            .mark(theirs)
            .expect("marked already, and left as it is");
        let again = Folder::open(folder.path(), &one).expect("ours");

        assert_eq!(again.identity(), Some(ours));
        again.check(ours).expect("the same");
        refused(again.check(theirs), "but Redis holds cluster");
        refused(
            again.check(Identity { shards: 8, ..ours }),
            "was made with 4 shards",
        );

        refused(
            Folder::open(folder.path(), &two),
            "belongs to node-1, not to node-2",
        );
    }

    #[test]
    fn a_marker_that_cannot_be_read_is_refused_and_not_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(MARKER), "{").expect("a file");
        refused(Folder::open(folder.path(), &NodeId::from("node-1")), MARKER);
    }

    #[test]
    fn the_last_table_of_another_cluster_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ours = Folder::open(folder.path(), &NodeId::from("node-1")).expect("a fresh one");
        ours.mark(identity()).expect("marked");

        let table = |identity| Table {
            version: 3,
            identity,
            nodes: BTreeMap::new(),
            rows: vec![Vec::new()],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        };

        assert_eq!(ours.last_table(), Ok(None));
        ours.remember(&table(identity())).expect("written");
        assert_eq!(ours.last_table(), Ok(None));

        let good = table(ours.identity().expect("marked"));
        ours.remember(&good).expect("written");
        assert_eq!(ours.last_table(), Ok(Some(good)));
    }
}
