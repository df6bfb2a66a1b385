//! How many shards each node owns and stands by for.

use std::collections::BTreeMap;

use crate::ids::NodeId;

/// How many shards each node owns and stands by for.
#[derive(Debug, Default)]
pub(super) struct Load {
    owned: BTreeMap<NodeId, usize>,
    standing: BTreeMap<NodeId, usize>,
    /// Standing by for shards of an owner.
    pairs: BTreeMap<(NodeId, NodeId), usize>,
}

impl Load {
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Vec<NodeId>>) -> Self {
        let mut load = Self::default();
        for row in rows {
            let Some((owner, standbys)) = row.split_first() else {
                continue;
            };
            load.add_owner(owner);
            standbys
                .iter()
                .for_each(|standby| load.add_standby(owner, standby));
        }
        load
    }

    pub(super) fn owned(&self, node: &NodeId) -> usize {
        self.owned.get(node).copied().unwrap_or(0)
    }

    pub(super) fn standing(&self, owner: &NodeId, node: &NodeId) -> (usize, usize) {
        let pair = self.pairs.get(&(owner.clone(), node.clone()));
        (
            self.standing.get(node).copied().unwrap_or(0),
            pair.copied().unwrap_or(0),
        )
    }

    pub(super) fn add_owner(&mut self, node: &NodeId) {
        *self.owned.entry(node.clone()).or_default() += 1;
    }

    pub(super) fn add_standby(&mut self, owner: &NodeId, node: &NodeId) {
        *self.standing.entry(node.clone()).or_default() += 1;
        *self.pairs.entry((owner.clone(), node.clone())).or_default() += 1;
    }
}
