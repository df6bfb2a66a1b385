//! Nodes that are to be taken away for good: the mark in the table, when it may be set, and what
//! such a node still has (ADR 20). Pure.

use std::collections::BTreeSet;

use crate::cluster::table::Table;
use crate::cluster::table::changes::Drain;
use crate::ids::NodeId;

/// What the table gives to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Shards that it owns.
    pub owned: usize,
    /// Shards that it stands by for.
    pub standbys: usize,
}

/// What a node still has.
#[must_use]
pub(crate) fn left(table: &Table, node: &NodeId) -> Left {
    Left {
        owned: table.owned_by(node).count(),
        standbys: table.stood_by_for(node).count(),
    }
}

/// The table in which this node is draining; `None` when it is already. `living` are the nodes that
/// answer and are not about to stop.
///
/// # Errors
/// One sentence that says what to do: no such node, or too few others to hold the copies.
pub(crate) fn with_mark(
    table: &Table,
    node: &NodeId,
    mark: Drain,
    (living, replicas): (&BTreeSet<NodeId>, usize),
) -> Result<Option<Table>, String> {
    if table.is_draining(node) {
        return Ok(None);
    }
    if !table.nodes.contains_key(node) {
        let names = listed(table.nodes.keys());
        return Err(format!(
            "the table knows no node {node}: it has left for good, or was never there; it knows \
             {names}"
        ));
    }

    let stays =
        |other: &&NodeId| *other != node && !table.is_draining(other) && living.contains(*other);
    let takers: Vec<&NodeId> = table.nodes.keys().filter(stays).collect();
    if table.names(node) && takers.len() < replicas {
        return Err(too_few(table, node, &takers, (living, replicas)));
    }
    let mut next = Table {
        version: table.version.saturating_add(1),
        ..table.clone()
    };
    next.changes.draining.insert(node.clone(), mark);
    Ok(Some(next))
}

/// The table in which this node is not draining; `None` when it is not anyway.
#[must_use]
pub(crate) fn without_mark(table: &Table, node: &NodeId) -> Option<Table> {
    let mut next = Table {
        version: table.version.saturating_add(1),
        ..table.clone()
    };
    next.changes.draining.remove(node).map(|_mark| next)
}

fn too_few(
    table: &Table,
    node: &NodeId,
    takers: &[&NodeId],
    (living, replicas): (&BTreeSet<NodeId>, usize),
) -> String {
    let others = table
        .nodes
        .keys()
        .filter(|other| *other != node && !takers.contains(other));
    let excluded = others.map(|other| match living.contains(other) {
        true => format!("{other} is draining"),
        false => format!("{other} does not answer, or is about to stop"),
    });

    let excluded: Vec<String> = excluded.collect();
    let but = if excluded.is_empty() {
        String::new()
    } else {
        format!(" ({})", excluded.join("; "))
    };

    let (copies, be) = if replicas == 1 {
        ("copy", "is")
    } else {
        ("copies", "are")
    };
    let left = if takers.is_empty() {
        "none would be left".to_owned()
    } else {
        format!("only {} would be left", listed(takers.iter().copied()))
    };
    format!(
        "{node} cannot be drained: {replicas} {copies} of each shard {be} to be kept on other nodes (--replicas {replicas}), and {left}{but}. \
         Start another node first, or take back another drain with `rookery cluster undrain`"
    )
}

fn listed<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    let names: Vec<String> = nodes.map(ToString::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::assignment::first_table;
    use crate::cluster::table::NodeAddresses;
    use crate::ids::ClusterId;
    use crate::log::Identity;

    fn node(number: usize) -> NodeId {
        NodeId::from(format!("node-{number}").as_str())
    }

    fn table(count: usize, replicas: usize) -> Table {
        let nodes: BTreeMap<_, _> = (1..=count)
            .map(|number| (node(number), NodeAddresses::default()))
            .collect();
        first_table(
            Identity {
                cluster: ClusterId(uuid::Uuid::nil()),
                shards: 16,
            },
            &nodes,
            replicas,
        )
    }

    fn mark() -> Drain {
        Drain {
            since_ms: 7,
            by: "anna@desk".to_owned(),
        }
    }

    fn marked(
        table: &Table,
        number: usize,
        living: &[usize],
        replicas: usize,
    ) -> Result<Option<Table>, String> {
        let living = living.iter().copied().map(node).collect();
        with_mark(table, &node(number), mark(), (&living, replicas))
    }

    #[test]
    fn a_mark_is_set_once_and_taken_away_once() {
        let table = table(3, 2);
        let drained = marked(&table, 3, &[1, 2, 3], 2)
            .expect("two are left")
            .expect("a change");
        assert_eq!((drained.version, &drained.rows), (2, &table.rows));

        assert_eq!(
            drained.changes.draining,
            BTreeMap::from([(node(3), mark())])
        );
        assert_eq!(
            marked(&drained, 3, &[], 2),
            Ok(None),
            "it is draining already"
        );

        let back = without_mark(&drained, &node(3)).expect("a change");
        assert!(back.version == 3 && back.changes.is_empty());
        assert_eq!(without_mark(&back, &node(3)), None);

        let has = left(&drained, &node(3));
        assert!(has.owned > 0 && has.standbys > 0);
        assert!(
            left(&drained, &node(9))
                == Left {
                    owned: 0,
                    standbys: 0
                }
        );
    }

    #[test]
    fn a_drain_is_refused_when_too_few_nodes_would_keep_the_copies_and_says_what_to_do() {
        let (alone, table) = (table(1, 1), table(3, 2));
        let dead = marked(&table, 3, &[2, 3], 2).expect_err("node-1 does not answer");
        assert_eq!(
            dead,
            "node-3 cannot be drained: 2 copies of each shard are to be kept on other nodes (--replicas 2), and only node-2 \
             would be left (node-1 does not answer, or is about to stop). Start another node first, or take back another \
             drain with `rookery cluster undrain`"
        );

        let drained = marked(&table, 1, &[1, 2, 3], 2)
            .expect("two are left")
            .expect("a change");
        let second = marked(&drained, 2, &[1, 2, 3], 2).expect_err("one would be left");

        assert!(
            second.contains("only node-3 would be left (node-1 is draining)"),
            "{second}"
        );

        let lone = marked(&alone, 1, &[1], 1).expect_err("there is no other");
        assert!(
            lone.contains("1 copy of each shard is to be kept")
                && lone.contains("none would be left."),
            "{lone}"
        );

        let unknown = marked(&table, 9, &[1, 2, 3], 2).expect_err("there is no such node");
        assert!(
            unknown.contains("no node node-9") && unknown.ends_with("node-1, node-2, node-3"),
            "{unknown}"
        );
    }

    #[test]
    fn whoever_has_nothing_and_whoever_is_dead_can_be_drained() {
        let mut table = table(3, 2);
        assert!(
            marked(&table, 3, &[1, 2], 2)
                .expect("two are left")
                .is_some(),
            "it is dead itself"
        );
        table.rows = vec![vec![node(1), node(2)]; 16];
        assert!(
            marked(&table, 3, &[], 2)
                .expect("nothing has to go anywhere")
                .is_some()
        );
    }
}
