//! One version of the assignment `shard → [owner, standby…]`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cluster::table::addresses::NodeAddresses;
use crate::cluster::table::changes::Changes;
use crate::ids::{NodeId, ShardId};
use crate::log::Identity;

/// One version of the assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Grows by one with every swap; the first table has version 1.
    pub version: u64,
    /// Of which cluster, with how many shards.
    pub identity: Identity,
    /// Every node that the table names, and how to reach it.
    pub nodes: BTreeMap<NodeId, NodeAddresses>,
    /// One row a shard, in order of shards: the owner first, then its standbys.
    pub rows: Vec<Vec<NodeId>>,
    /// Shards that were ever claimed. Whoever swaps leaves none of them out: such a shard has a
    /// history, whatever its control record says, and its row keeps the nodes that may have it. A
    /// table of an older version names none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<ShardId>,
    /// What is to become different. A table of an older version says nothing of it.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
}

impl Table {
    /// The node that should own a shard.
    #[must_use]
    pub fn owner(&self, shard: ShardId) -> Option<&NodeId> {
        self.rows.get(usize::from(shard.0))?.first()
    }

    /// How to reach a node.
    #[must_use]
    pub fn addresses(&self, node: &NodeId) -> Option<&NodeAddresses> {
        self.nodes.get(node)
    }

    /// Whether a node gives everything to others, and is to get nothing.
    #[must_use]
    pub fn is_draining(&self, node: &NodeId) -> bool {
        self.changes.draining.contains_key(node)
    }

    /// The node of a row whose place a further one takes, if the row has one that is more than it
    /// should have.
    #[must_use]
    pub fn replaced(&self, shard: ShardId) -> Option<&NodeId> {
        self.changes.replaced.get(&shard)
    }

    /// The zone of a node; empty for one that told none.
    #[must_use]
    pub fn zone(&self, node: &NodeId) -> &str {
        self.nodes.get(node).map_or("", |addresses| &addresses.zone)
    }

    /// Every row with the number of its shard.
    pub fn numbered(&self) -> impl Iterator<Item = (ShardId, &Vec<NodeId>)> {
        (0..=u16::MAX).map(ShardId).zip(&self.rows)
    }

    /// Whether some row names the node.
    #[must_use]
    pub fn names(&self, node: &NodeId) -> bool {
        self.rows.iter().any(|row| row.contains(node))
    }

    /// The version of records that every node reads which the table names.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.nodes
            .values()
            .map(|node| node.records.max(1))
            .min()
            .unwrap_or(1)
    }

    /// The shards whose first node is this one.
    pub fn owned_by<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = ShardId> + 'a {
        let numbered = (0..=u16::MAX).map(ShardId).zip(&self.rows);
        numbered
            .filter(move |(_, row)| row.first() == Some(node))
            .map(|(shard, _)| shard)
    }

    /// The shards whose row has this node in another place than the first.
    pub fn stood_by_for<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = ShardId> + 'a {
        let numbered = (0..=u16::MAX).map(ShardId).zip(&self.rows);
        numbered
            .filter(move |(_, row)| row.iter().skip(1).any(|of| of == node))
            .map(|(shard, _)| shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;
    use crate::log::record::RECORDS_VERSION;

    #[test]
    fn what_all_nodes_read_is_what_the_oldest_reads() {
        let written = serde_json::json!({"http": "", "peer": "h:1"});
        let old: NodeAddresses = serde_json::from_value(written.clone()).expect("it is read");
        assert_eq!(
            (old.records, serde_json::to_value(&old).expect("JSON")),
            (0, written),
            "as an older version wrote it"
        );

        let identity = Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards: 1,
        };
        let new = NodeAddresses::of_peer("h:2".to_owned());
        let table = |nodes: &[&NodeAddresses]| {
            let named = (0..).zip(nodes).map(|(number, node)| {
                (NodeId::from(format!("n{number}").as_str()), (*node).clone())
            });
            Table {
                version: 1,
                identity,
                nodes: named.collect(),
                rows: Vec::new(),
                claimed: BTreeSet::new(),
                changes: Changes::default(),
            }
        };

        assert_eq!(table(&[&new, &new]).records(), RECORDS_VERSION);
        assert_eq!(table(&[&new, &old]).records(), 1);
        assert_eq!(table(&[]).records(), 1, "nobody is known");
    }

    #[test]
    fn a_table_of_an_older_version_is_read_and_names_no_claimed_shard() {
        let identity = Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards: 1,
        };
        let rows = vec![vec![NodeId::from("a")]];
        let (nodes, changes) = (BTreeMap::new(), Changes::default());
        let table = Table {
            version: 7,
            identity,
            nodes,
            rows,
            claimed: BTreeSet::new(),
            changes,
        };
        let written = serde_json::to_value(&table).expect("JSON");

        assert!(
            written.get("claimed").is_none(),
            "as an older version wrote it: {written}"
        );
        assert!(written.get("changes").is_none(), "likewise: {written}");
        assert_eq!(
            serde_json::from_value::<Table>(written).expect("it is read"),
            table
        );

        let claimed = Table {
            claimed: BTreeSet::from([ShardId(0)]),
            ..table
        };
        let later = serde_json::to_vec(&claimed).expect("JSON");

        assert_eq!(
            serde_json::from_slice::<Table>(&later).expect("it is read"),
            claimed
        );
    }

    /// A table as the version before zones and drains wrote it. Never change it: it may stand in
    /// somebody's Redis.
    const BEFORE: &str = r#"{"version":7,"identity":{"cluster":"00000000-0000-0000-0000-000000000000","shards":1},"nodes":{"a":{"http":"","peer":"h:1"},"b":{"http":"","peer":"h:2"}},"rows":[["a","b"]],"claimed":[0]}"#;

    #[test]
    fn a_table_of_the_version_before_is_read_and_written_as_it_was_and_reads_one_with_marks() {
        let table: Table = serde_json::from_str(BEFORE).expect("it is read");
        assert_eq!(
            (table.zone(&NodeId::from("a")), table.changes.is_empty()),
            ("", true)
        );
        assert_eq!(
            serde_json::to_string(&table).expect("JSON"),
            BEFORE,
            "byte by byte: nodes compare it by its bytes"
        );

        // What the version before knows of a table, as it skips what it does not know.
        #[derive(Deserialize)]
        struct Former {
            version: u64,
            nodes: BTreeMap<NodeId, FormerAddresses>,
            rows: Vec<Vec<NodeId>>,
            claimed: BTreeSet<ShardId>,
        }
        #[derive(Deserialize)]
        struct FormerAddresses {
            http: String,
            peer: String,
        }
        let [a, b] = ["a", "b"].map(NodeId::from);
        let drain = crate::cluster::table::changes::Drain {
            since_ms: 5,
            by: "anna@desk".to_owned(),
        };
        let mut marked = table.clone();
        marked.changes.draining.insert(b.clone(), drain);
        marked.changes.replaced.insert(ShardId(0), b.clone());
        marked
            .nodes
            .entry(a.clone())
            .and_modify(|addresses| addresses.zone = "east".to_owned());
        let text = serde_json::to_string(&marked).expect("JSON");
        assert!(text.ends_with(
            r#""changes":{"draining":{"b":{"since_ms":5,"by":"anna@desk"}},"replaced":{"0":"b"}}}"#
        ));
        let former: Former = serde_json::from_str(&text).expect("the version before reads it");
        assert_eq!(
            (former.version, former.rows, former.claimed),
            (7, table.rows, table.claimed)
        );
        assert_eq!(
            (&*former.nodes[&a].http, &*former.nodes[&a].peer),
            ("", "h:1")
        );
        let read: Table = serde_json::from_str(&text).expect("it is read");
        assert!(read == marked && read.is_draining(&b) && !read.is_draining(&a));
        assert_eq!(
            (read.replaced(ShardId(0)), read.zone(&a), read.zone(&b)),
            (Some(&b), "east", "")
        );
    }
}
