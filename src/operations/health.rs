//! What of a cluster is not well, in words. Pure.

use std::collections::BTreeMap;

use crate::operations::Cluster;

/// Shards that are named in one line; of more it is told how many there are.
const NAMED_MAX: usize = 8;

/// One sentence for each thing that is not well, the worst first; none when all is. Of the whole
/// cluster, as its nodes tell it.
#[must_use]
pub(crate) fn troubles(cluster: &Cluster) -> Vec<String> {
    if cluster.shards.is_empty() {
        return vec!["there is no table yet: not enough nodes have registered".to_owned()];
    }
    let mut troubles = Vec::new();
    let shards = |of: &dyn Fn(&crate::operations::ClusterShard) -> bool| -> Vec<u16> {
        cluster
            .shards
            .iter()
            .filter(|shard| of(shard))
            .map(|shard| shard.shard)
            .collect()
    };
    let mut add = |found: Vec<u16>, one: &str, many: &str| match found.as_slice() {
        [] => {}
        [shard] => troubles.push(format!("shard {shard} {one}")),
        several => troubles.push(format!(
            "{} shards {many}: {}",
            several.len(),
            named(several)
        )),
    };
    add(
        shards(&|shard| shard.epoch.is_none()),
        "is served by nobody",
        "are served by nobody",
    );

    add(
        shards(&|shard| shard.refused.is_some()),
        "is refused",
        "are refused",
    );

    let is_alone = |shard: &crate::operations::ClusterShard| {
        shard.standby.is_empty() && cluster.nodes.len() > 1
    };
    add(shards(&is_alone), "has no standby", "have no standby");
    for (node, behind) in behind(cluster) {
        troubles.push(match behind.as_slice() {
            [shard] => format!("{node} is not in sync with shard {shard}"),
            several => format!(
                "{node} is not in sync with {} shards: {}",
                several.len(),
                named(several)
            ),
        });
    }

    for (id, node) in &cluster.nodes {
        // It may be stopped, and soon leaves the table.
        if cluster.draining.contains_key(id) && cluster.left(id).is_nothing() {
            continue;
        }
        match (node.cut_off, node.ready) {
            (Some(true), _) => troubles.push(format!("{id} is cut off from Redis")),
            (_, Some(false)) => troubles.push(format!("{id} is about to stop")),
            (_, None) => troubles.push(format!("{id} does not answer")),
            (_, Some(true)) => {}
        }
    }

    troubles
}

/// The shards with which each standby is not in sync.
fn behind(cluster: &Cluster) -> BTreeMap<&crate::ids::NodeId, Vec<u16>> {
    let mut behind: BTreeMap<_, Vec<u16>> = BTreeMap::new();
    for shard in &cluster.shards {
        for standby in shard
            .standbys
            .iter()
            .flatten()
            .filter(|standby| !standby.in_sync)
        {
            behind.entry(&standby.node).or_default().push(shard.shard);
        }
    }
    behind
}

fn named(shards: &[u16]) -> String {
    let mut names: Vec<String> = shards.iter().take(NAMED_MAX).map(u16::to_string).collect();
    if shards.len() > NAMED_MAX {
        names.push("…".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::table::changes::Drain;
    use crate::ids::NodeId;

    use crate::operations::ClusterNode;
    use crate::operations::ClusterShard;
    use crate::operations::told::ClusterStandby;

    fn cluster() -> Cluster {
        let node = || ClusterNode {
            ready: Some(true),
            cut_off: Some(false),
            ..ClusterNode::at("h:1")
        };

        let shard = |shard| {
            let [owner, standby] = ["node-1", "node-2"].map(NodeId::from);
            let standbys = Some(vec![ClusterStandby {
                node: standby.clone(),
                in_sync: true,
            }]);
            ClusterShard {
                standbys,
                epoch: Some(3),
                ..ClusterShard::of(shard, &[owner, standby], None)
            }
        };

        let nodes = ["node-1", "node-2"]
            .map(|id| (NodeId::from(id), node()))
            .into();
        Cluster {
            table_version: 4,
            nodes,
            shards: (0..12).map(shard).collect(),
            draining: BTreeMap::new(),
        }
    }

    #[test]
    fn a_drained_node_that_is_stopped_is_no_trouble() {
        let mut drained = cluster();
        let gone = NodeId::from("node-3");
        drained.nodes.insert(gone.clone(), ClusterNode::at("h:3"));
        assert_eq!(troubles(&drained), ["node-3 does not answer"]);

        drained.draining.insert(
            gone.clone(),
            Drain {
                since_ms: 1,
                by: "anna@desk".to_owned(),
            },
        );

        assert!(troubles(&drained).is_empty());
        drained.shards[0].standby.push(gone);
        assert_eq!(
            troubles(&drained),
            ["node-3 does not answer"],
            "a row still names it"
        );
    }

    #[test]
    fn what_is_not_well_is_told_in_words_and_nothing_else_is() {
        assert!(troubles(&cluster()).is_empty());
        let mut ill = cluster();
        ill.shards[3].epoch = None;
        ill.shards[4].standby.clear();

        for shard in &mut ill.shards[..10] {
            shard
                .standbys
                .iter_mut()
                .flatten()
                .for_each(|standby| standby.in_sync = false);
        }

        if let Some(node) = ill.nodes.get_mut(&NodeId::from("node-2")) {
            node.ready = None;
        }

        assert_eq!(
            troubles(&ill),
            [
                "shard 3 is served by nobody",
                "shard 4 has no standby",
                "node-2 is not in sync with 10 shards: 0, 1, 2, 3, 4, 5, 6, 7, …",
                "node-2 does not answer",
            ]
        );
        assert_eq!(troubles(&Cluster::of(None, BTreeMap::new(), &[])).len(), 1);
    }
}
