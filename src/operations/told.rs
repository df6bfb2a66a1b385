//! What `/cluster` tells: the table, and what is known of its nodes and shards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::table::Table;
use crate::cluster::table::changes::Drain;
use crate::ids::{NodeId, Offset, ShardId};
use crate::log::PerStream;
use crate::node::link::handing::NodeStanding;
use crate::shard::ShardStatus;

/// Body of `/cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Version of the table, 0 before the first.
    pub table_version: u64,
    /// Every node that the table names.
    pub nodes: BTreeMap<NodeId, ClusterNode>,
    /// Every shard, in order.
    pub shards: Vec<ClusterShard>,
    /// Nodes that give everything to others and get nothing, also when they are gone; since when
    /// (milliseconds since 1970), and who asked for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draining: BTreeMap<NodeId, Drain>,
}

/// A node in `/cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterNode {
    /// Its peer port.
    pub peer: String,
    /// Live sessions, if it is a node of this process.
    pub sessions: Option<usize>,
    /// Started, not draining and not cut off, if it is a node of this process.
    pub ready: Option<bool>,
    /// Cut off from the log while others reach it, if it is a node of this process.
    pub cut_off: Option<bool>,
    /// Of its program, where the whole cluster is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Shards that it stands by for, where the whole cluster is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standbys: Option<u64>,
    /// The zone that it stands in; absent where it told none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Files of shards in its folder, where the whole cluster is told: one that is drained has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Since when it gives everything to others and gets nothing, and who asked for it; absent of
    /// one that does not drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Drain>,
}

impl ClusterNode {
    /// One of which nothing is known but where its peer port is.
    #[must_use]
    pub(crate) fn at(peer: &str) -> Self {
        let (sessions, ready, cut_off, version, standbys, files) =
            (None, None, None, None, None, None);
        let (zone, draining) = (String::new(), None);
        Self {
            peer: peer.to_owned(),
            sessions,
            ready,
            cut_off,
            version,
            standbys,
            zone,
            files,
            draining,
        }
    }
}

/// A shard in `/cluster`. What is told by its owner is null unless the owner is in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterShard {
    /// Number of the shard.
    pub shard: u16,
    /// Who should own it by the table.
    pub owner: Option<NodeId>,
    /// Its standbys by the table.
    pub standby: Vec<NodeId>,
    /// Its standbys as the owner knows them, and whether each is in sync.
    pub standbys: Option<Vec<ClusterStandby>>,
    /// Epoch under which it is owned.
    pub epoch: Option<u64>,
    /// Offsets of the tails, which are what is committed unless an append is in doubt.
    pub tails: Option<Offsets>,
    /// Committed offsets.
    pub committed: Option<Offsets>,
    /// Applied offsets.
    pub applied: Option<Offsets>,
    /// Durable offsets.
    pub durable: Option<Offsets>,
    /// Records committed but not yet applied.
    pub lag: Option<u64>,
    /// Why it is refused in this process, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A standby in `/cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterStandby {
    /// Which node.
    pub node: NodeId,
    /// It was heard of lately, follows, and lacks little.
    pub in_sync: bool,
}

/// One offset for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offsets {
    /// Of messages.
    pub messages: u64,
    /// Of receipts.
    pub receipts: u64,
}

impl Cluster {
    /// Joins the table with what the owners in this process tell.
    #[must_use]
    pub(crate) fn of(
        table: Option<&Table>,
        mut nodes: BTreeMap<NodeId, ClusterNode>,
        statuses: &[ShardStatus],
    ) -> Self {
        let Some(table) = table else {
            return Self {
                table_version: 0,
                nodes,
                shards: Vec::new(),
                draining: BTreeMap::new(),
            };
        };

        for (id, addresses) in &table.nodes {
            let node = nodes
                .entry(id.clone())
                .or_insert_with(|| ClusterNode::at(&addresses.peer));
            node.zone.clone_from(&addresses.zone);
            node.draining = table.changes.draining.get(id).cloned();
        }

        let shards = (0..=u16::MAX).zip(&table.rows).map(|(shard, row)| {
            let status = statuses.iter().find(|status| status.shard.0 == shard);
            ClusterShard::of(shard, row, status)
        });

        let draining = table.changes.draining.clone();
        Self {
            table_version: table.version,
            shards: shards.collect(),
            nodes,
            draining,
        }
    }

    /// Joins the table with what each of its nodes tells of itself, if it answered.
    #[must_use]
    pub(crate) fn whole(table: &Table, standings: BTreeMap<NodeId, Option<NodeStanding>>) -> Self {
        let (mut nodes, mut statuses) = (BTreeMap::new(), Vec::new());
        for (id, standing) in standings {
            let Some(standing) = standing else { continue };
            let peer = table
                .addresses(&id)
                .map(|addresses| addresses.peer.clone())
                .unwrap_or_default();
            let told = ClusterNode {
                peer,
                sessions: usize::try_from(standing.sessions).ok(),
                ready: Some(standing.ready),
                cut_off: Some(standing.cut_off),
                version: Some(standing.version),
                standbys: Some(standing.standbys),
                files: standing.files,
                ..ClusterNode::at("")
            };
            nodes.insert(id, told);
            statuses.extend(standing.shards);
        }

        // One that does not know yet that it has lost a shard tells of it as well.
        statuses.sort_by_key(|status: &ShardStatus| std::cmp::Reverse(status.epoch));
        Self::of(Some(table), nodes, &statuses)
    }

    /// The same, with the shards that are refused in this process.
    #[must_use]
    pub(crate) fn with_refused(mut self, mut refused: BTreeMap<ShardId, String>) -> Self {
        for of in &mut self.shards {
            of.refused = refused.remove(&ShardId(of.shard));
        }
        self
    }
}

impl Cluster {
    /// What the cluster still has of a node.
    #[must_use]
    pub(crate) fn left(&self, node: &NodeId) -> ClusterLeft {
        let owned = self
            .shards
            .iter()
            .filter(|shard| shard.owner.as_ref() == Some(node))
            .count();
        let standbys = self
            .shards
            .iter()
            .filter(|shard| shard.standby.contains(node))
            .count();
        let files = self.nodes.get(node).and_then(|node| node.files);
        ClusterLeft {
            owned,
            standbys,
            files,
        }
    }
}

/// What a node still has that others do not have instead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterLeft {
    /// Shards that it owns.
    pub owned: usize,
    /// Shards that it stands by for.
    pub standbys: usize,
    /// Files of shards in its folder; null when it does not answer.
    pub files: Option<u64>,
}

impl ClusterLeft {
    /// Whether it has nothing, as far as can be known: of one that does not answer, what the table
    /// says.
    #[must_use]
    pub(crate) fn is_nothing(self) -> bool {
        self.owned == 0 && self.standbys == 0 && self.files.unwrap_or(0) == 0
    }
}

impl ClusterShard {
    pub(super) fn of(shard: u16, row: &[NodeId], status: Option<&ShardStatus>) -> Self {
        let offsets = |pick: fn(&ShardStatus) -> PerStream<Offset>| {
            let PerStream { messages, receipts } = pick(status?);
            Some(Offsets {
                messages: messages.0,
                receipts: receipts.0,
            })
        };

        Self {
            shard,
            owner: row.first().cloned(),
            standby: row.iter().skip(1).cloned().collect(),
            standbys: status.map(|status| standbys_of(&status.standbys)),
            epoch: status.map(|status| status.epoch.0),
            tails: offsets(|of| of.committed),
            committed: offsets(|of| of.committed),
            applied: offsets(|of| of.applied),
            durable: offsets(|of| of.durable),
            lag: status.map(|status| status.lag),
            refused: None,
        }
    }
}

fn standbys_of(told: &[(NodeId, bool)]) -> Vec<ClusterStandby> {
    told.iter()
        .map(|(node, in_sync)| ClusterStandby {
            node: node.clone(),
            in_sync: *in_sync,
        })
        .collect()
}
