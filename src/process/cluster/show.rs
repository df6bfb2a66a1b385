//! A cluster as people read it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ids::NodeId;
use crate::operations::{Cluster, ClusterNode, health};

/// What `status` tells, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    well: bool,
    troubles: Vec<String>,
    table_version: u64,
    shards: usize,
    nodes: &'a BTreeMap<NodeId, ClusterNode>,
}

impl<'a> Status<'a> {
    /// Of a cluster.
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let troubles = health::troubles(cluster);
        let (table_version, shards) = (cluster.table_version, cluster.shards.len());
        Self { well: troubles.is_empty(), troubles, table_version, shards, nodes: &cluster.nodes }
    }
}

/// One screen: is all well, what is not, and the nodes.
pub(super) fn status(cluster: &Cluster) -> String {
    let troubles = health::troubles(cluster);
    let mut text = if troubles.is_empty() { "All is well.\n".to_owned() } else { "Not all is well:\n".to_owned() };
    for trouble in &troubles {
        text.extend(["  - ", trouble, "\n"]);
    }
    let (shards, count, version) = (cluster.shards.len(), cluster.nodes.len(), cluster.table_version);
    text + &format!("{shards} shards on {count} nodes, table {version}.\n\n{}", nodes(cluster))
}

/// The nodes, one a line.
pub(super) fn nodes(cluster: &Cluster) -> String {
    let head = ["node", "ready", "owns", "stands by for", "sessions", "version", "peer port"];
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let rows = cluster.nodes.iter().map(|(id, node)| {
        let owns = cluster.shards.iter().filter(|shard| shard.owner.as_ref() == Some(id)).count();
        let ready = match (node.ready, node.cut_off) {
            (None, _) => "no answer",
            (_, Some(true)) => "cut off",
            (Some(true), _) => "yes",
            (Some(false), _) => "stops",
        };
        let sessions = node.sessions.and_then(|sessions| u64::try_from(sessions).ok());
        let version = node.version.clone().unwrap_or_else(|| "?".to_owned());
        [
            id.0.to_string(),
            ready.to_owned(),
            owns.to_string(),
            number(node.standbys),
            number(sessions),
            version,
            node.peer.clone(),
        ]
    });
    columns(&head, rows)
}

/// The shards, one a line.
pub(super) fn shards(cluster: &Cluster) -> String {
    let head = ["shard", "owner", "epoch", "standbys", "not applied"];
    let rows = cluster.shards.iter().map(|shard| {
        let in_sync = |node: &NodeId| {
            let known = shard.standbys.iter().flatten().find(|standby| standby.node == *node);
            known.is_some_and(|standby| standby.in_sync)
        };
        let standby =
            |node: &NodeId| if in_sync(node) { node.0.to_string() } else { format!("{} (not in sync)", node.0) };
        let standbys: Vec<String> = shard.standby.iter().map(standby).collect();
        [
            shard.shard.to_string(),
            shard.owner.as_ref().map_or_else(|| "nobody".to_owned(), |owner| owner.0.to_string()),
            shard.epoch.map_or_else(|| "not served".to_owned(), |epoch| epoch.to_string()),
            standbys.join(", "),
            shard.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
        ]
    });
    columns(&head, rows)
}

/// Lines of cells below a head, each column as wide as its widest cell.
fn columns<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["node-1", "yes"], ["n", "no answer"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&["node", "ready"], rows.into_iter()), "node    ready\nnode-1  yes\nn       no answer\n");
    }
}
