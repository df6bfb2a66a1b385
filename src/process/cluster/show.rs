//! A cluster as people read it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::balance::What;
use crate::cluster::table::changes::Drain;
use crate::ids::NodeId;
use crate::node::link::handing::BalancePlan;
use crate::operations::{Cluster, ClusterNode, health};

/// What `status` tells, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    well: bool,
    troubles: Vec<String>,
    table_version: u64,
    shards: usize,
    nodes: &'a BTreeMap<NodeId, ClusterNode>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    draining: &'a BTreeMap<NodeId, Drain>,
}

impl<'a> Status<'a> {
    /// Of a cluster.
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let troubles = health::troubles(cluster);
        let (table_version, shards) = (cluster.table_version, cluster.shards.len());
        let Cluster {
            nodes, draining, ..
        } = cluster;
        Self {
            well: troubles.is_empty(),
            troubles,
            table_version,
            shards,
            nodes,
            draining,
        }
    }
}

/// One screen: is all well, what is not, the nodes, and which of them are to go.
pub(super) fn status(cluster: &Cluster, now_ms: u64) -> String {
    let troubles = health::troubles(cluster);
    let mut text = if troubles.is_empty() {
        "All is well.\n".to_owned()
    } else {
        "Not all is well:\n".to_owned()
    };
    for trouble in &troubles {
        text.extend(["  - ", trouble, "\n"]);
    }

    let (shards, count, version) = (
        cluster.shards.len(),
        cluster.nodes.len(),
        cluster.table_version,
    );
    text += &format!("{shards} shards on {count} nodes, table {version}.\n");
    for (node, mark) in &cluster.draining {
        text += &format!("{}\n", drained(cluster, node, mark, now_ms));
    }

    text + &format!("\n{}", nodes(cluster))
}

/// One sentence of a node that is to be taken away for good.
fn drained(cluster: &Cluster, node: &NodeId, mark: &Drain, now_ms: u64) -> String {
    let (by, ago) = (&mark.by, ago(now_ms.saturating_sub(mark.since_ms)));
    let left = cluster.left(node);
    if !left.is_nothing() {
        let (owned, standbys) = (left.owned, left.standbys);
        return format!(
            "{node} is draining: it owns {owned} shards, stands by for {standbys} ({by} asked for \
             it {ago} ago)."
        );
    }

    if cluster.nodes.contains_key(node) {
        return format!(
            "{node} is drained and may be stopped, and its folder deleted ({by} asked for it {ago} \
             ago)."
        );
    }

    format!(
        "{node} is drained and gone ({by} asked for it {ago} ago). Before a node of this name is started again: `rookery \
         cluster undrain {node}`."
    )
}

/// A time in its largest whole unit.
fn ago(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// What is to be moved, one step a line; `dry`: nothing was asked for.
pub(super) fn plan(plan: &BalancePlan, dry: bool) -> String {
    let BalancePlan {
        leader,
        evens,
        resting,
        steps,
    } = plan;

    let mut text = if dry {
        format!("{leader} coordinates.\n")
    } else {
        format!("{leader} coordinates, and looks now.\n")
    };
    if !evens {
        text += "Nothing is evened out: --balance is off there. Only what draining nodes have is moved.\n";
    }

    if *resting > 0 && dry {
        text += &format!(
            "{resting} shards rest, which were moved, or could not be, a moment ago; they are left \
             out.\n"
        );
    }

    if steps.is_empty() {
        return text + "Nothing is to be moved.\n";
    }
    let lines = steps.iter().map(|step| {
        let what = match step.what {
            What::Owner => "ownership",
            What::Copy => "copy",
        };
        [
            what.to_owned(),
            step.shard.to_string(),
            step.from.0.to_string(),
            step.to.0.to_string(),
            step.why.clone(),
        ]
    });
    text + &columns(&["moves", "shard", "from", "to", "why"], lines)
}

/// The nodes, one a line.
pub(super) fn nodes(cluster: &Cluster) -> String {
    let head = [
        "node",
        "ready",
        "owns",
        "stands by for",
        "sessions",
        "version",
        "peer port",
        "zone",
    ];

    let number =
        |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let rows = cluster.nodes.iter().map(|(id, node)| {
        let owns = cluster
            .shards
            .iter()
            .filter(|shard| shard.owner.as_ref() == Some(id))
            .count();
        let ready = match (node.ready, node.cut_off) {
            (None, _) => "no answer",
            (_, Some(true)) => "cut off",
            (Some(true), _) if cluster.draining.contains_key(id) => {
                if cluster.left(id).is_nothing() {
                    "drained"
                } else {
                    "draining"
                }
            }
            (Some(true), _) => "yes",
            (Some(false), _) => "stops",
        };
        let sessions = node
            .sessions
            .and_then(|sessions| u64::try_from(sessions).ok());
        let version = node.version.clone().unwrap_or_else(|| "?".to_owned());
        [
            id.0.to_string(),
            ready.to_owned(),
            owns.to_string(),
            number(node.standbys),
            number(sessions),
            version,
            node.peer.clone(),
            node.zone.clone(),
        ]
    });
    columns(&head, rows)
}

/// The shards, one a line.
pub(super) fn shards(cluster: &Cluster) -> String {
    let head = ["shard", "owner", "epoch", "standbys", "not applied"];
    let rows = cluster.shards.iter().map(|shard| {
        let in_sync = |node: &NodeId| {
            let known = shard
                .standbys
                .iter()
                .flatten()
                .find(|standby| standby.node == *node);
            known.is_some_and(|standby| standby.in_sync)
        };
        let standby = |node: &NodeId| {
            if in_sync(node) {
                node.0.to_string()
            } else {
                format!("{} (not in sync)", node.0)
            }
        };
        let standbys: Vec<String> = shard.standby.iter().map(standby).collect();
        [
            shard.shard.to_string(),
            shard
                .owner
                .as_ref()
                .map_or_else(|| "nobody".to_owned(), |owner| owner.0.to_string()),
            shard
                .epoch
                .map_or_else(|| "not served".to_owned(), |epoch| epoch.to_string()),
            standbys.join(", "),
            shard
                .lag
                .map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
        ]
    });
    columns(&head, rows)
}

/// Lines of cells below a head, each column as wide as its widest cell.
fn columns<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    });

    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }

    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::balance::Step;
    use crate::ids::ShardId;

    #[test]
    fn draining_nodes_and_zones_are_told() {
        let [one, two, gone] = ["node-1", "node-2", "node-9"].map(NodeId::from);
        let node = || ClusterNode {
            ready: Some(true),
            zone: "east".to_owned(),
            ..ClusterNode::at("h:1")
        };
        let mut cluster = Cluster::of(None, [(one.clone(), node()), (two, node())].into(), &[]);
        let mark = |since_ms| Drain {
            since_ms,
            by: "anna@desk".to_owned(),
        };
        cluster.draining = [(one, mark(60_000)), (gone, mark(0))].into();

        let text = status(&cluster, 150_000);
        assert!(text.contains(
            "node-1 is drained and may be stopped, and its folder deleted (anna@desk asked for it \
             90 s ago).\n"
        ));
        assert!(
            text.contains("node-9 is drained and gone (anna@desk asked for it 2 min ago)."),
            "{text}"
        );
        assert!(
            text.contains("node-1  drained  0") && text.contains("node-2  yes      0"),
            "{text}"
        );
        assert!(text.trim_end().ends_with("h:1        east"), "{text}");
        assert_eq!([7_200_000, 86_400_000 * 2].map(ago), ["2 h", "2 days"]);
    }

    #[test]
    fn a_plan_says_what_moves_and_why_or_that_nothing_does() {
        let step = Step {
            what: What::Copy,
            shard: ShardId(3),
            from: NodeId::from("node-1"),
            to: NodeId::from("node-2"),
            why: "node-1 is draining".to_owned(),
        };
        let full = BalancePlan {
            leader: NodeId::from("node-3"),
            evens: false,
            resting: 2,
            steps: vec![step],
        };
        let text = plan(&full, true);

        assert!(
            text.starts_with("node-3 coordinates.\nNothing is evened out")
                && text.contains("2 shards rest"),
            "{text}"
        );
        assert!(
            text.ends_with("copy   s3     node-1  node-2  node-1 is draining\n"),
            "{text}"
        );

        let empty = BalancePlan {
            evens: true,
            steps: Vec::new(),
            ..full
        };

        assert_eq!(
            plan(&empty, false),
            "node-3 coordinates, and looks now.\nNothing is to be moved.\n"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["node-1", "yes"], ["n", "no answer"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            columns(&["node", "ready"], rows.into_iter()),
            "node    ready\nnode-1  yes\nn       no answer\n"
        );
    }
}
