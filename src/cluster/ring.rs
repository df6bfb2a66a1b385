//! The ring: consistent hashing of shards onto nodes. Pure, and only a *preference*: the assignment
//! makes a table of it, and the token decides who owns.
//!
//! Every node is on the ring with [`VIRTUAL_NODES`] points. The placement is the same in every
//! process and release: it depends on the *set* of nodes alone, and a golden test pins it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use hashring::HashRing;

use crate::ids::{NodeId, ShardId};

/// Points of each node on the ring.
pub(crate) const VIRTUAL_NODES: u16 = 128;

/// Bytes that hash as they stand: one single write, no length, no terminator. The standard `Hash`
/// of texts and slices adds bytes of its own, which no one promises to keep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Raw(Vec<u8>);

impl Hash for Raw {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// One point of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    /// What is hashed: the node's name, a zero byte (no name holds one), the number of the point.
    raw: Raw,
    /// Whose, as an index into the ring's nodes.
    node: usize,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

/// A ring over a set of nodes.
#[derive(Debug)]
pub(crate) struct Ring {
    nodes: Vec<NodeId>,
    ring: HashRing<Point>,
    /// The node of each point, in the order of the ring.
    walk: Vec<usize>,
    /// Where in `walk` a point stands.
    places: HashMap<Raw, usize>,
}

impl Ring {
    /// A ring over these nodes; their order and repetitions do not matter.
    #[must_use]
    pub(crate) fn new<'a>(members: impl IntoIterator<Item = &'a NodeId>) -> Self {
        let distinct: BTreeSet<&NodeId> = members.into_iter().collect();
        let nodes: Vec<NodeId> = distinct.into_iter().cloned().collect();
        let mut points: Vec<Point> = nodes
            .iter()
            .enumerate()
            .flat_map(|(node, id)| points_of(node, id))
            .collect();
        // The crate orders points of equal hash as they were added: add them in an order that
        // depends on the set alone.
        points.sort();

        let mut ring = HashRing::new();
        ring.batch_add(points);
        let order: Vec<Point> = ring.clone().into_iter().collect();
        let walk = order.iter().map(|point| point.node).collect();
        let places = order
            .into_iter()
            .enumerate()
            .map(|(place, point)| (point.raw, place))
            .collect();
        Self {
            nodes,
            ring,
            walk,
            places,
        }
    }

    /// The nodes in the order in which they should have the shard: the preferred owner first. Each
    /// node once, at most `count` of them.
    #[must_use]
    pub(crate) fn preference(&self, shard: ShardId, count: usize) -> Vec<NodeId> {
        let start = self
            .ring
            .get(&key_of(shard))
            .and_then(|point| self.places.get(&point.raw))
            .copied()
            .unwrap_or(0);
        let count = count.min(self.nodes.len());

        let mut seen = vec![false; self.nodes.len()];
        let mut found = Vec::with_capacity(count);
        for &node in self.walk.iter().cycle().skip(start).take(self.walk.len()) {
            if found.len() == count {
                break;
            }
            if let (Some(seen), Some(id)) = (seen.get_mut(node), self.nodes.get(node))
                && !std::mem::replace(seen, true)
            {
                found.push(id.clone());
            }
        }

        found
    }
}

fn points_of(node: usize, id: &NodeId) -> impl Iterator<Item = Point> + '_ {
    (0..VIRTUAL_NODES).map(move |number| {
        let mut raw = id.0.as_bytes().to_vec();
        raw.push(0);
        raw.extend_from_slice(&number.to_be_bytes());
        Point {
            raw: Raw(raw),
            node,
        }
    })
}

fn key_of(shard: ShardId) -> Raw {
    let [high, low] = shard.0.to_be_bytes();
    Raw(vec![b's', high, low])
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use hashring::DefaultHashBuilder;
    use proptest::prelude::*;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from(format!("node-{number}").as_str())
    }

    fn owners(ring: &Ring, shards: u16) -> Vec<NodeId> {
        (0..shards)
            .map(|shard| ring.preference(ShardId(shard), 1).remove(0))
            .collect()
    }

    #[test]
    fn bytes_are_hashed_as_they_stand_by_siphash_2_4_with_a_zero_key() {
        assert_eq!(
            DefaultHashBuilder.hash_one(Raw(b"a".to_vec())),
            0x96c2_0860_cd93_a249
        );
    }

    #[test]
    fn the_placement_is_pinned() {
        let nodes = [node(0), node(1), node(2)];
        let ring = Ring::new(&nodes);
        let line = |shard| {
            let order = ring.preference(ShardId(shard), 3);
            order
                .iter()
                .map(|id| id.0.rsplit('-').next().unwrap().to_owned())
                .collect::<String>()
        };
        let found: Vec<String> = (0..16).map(line).collect();
        assert_eq!(found.join(" "), GOLDEN_PLACEMENT);
    }

    /// Made with a second implementation, in another language. Each word: the nodes of one shard,
    /// owner first.
    const GOLDEN_PLACEMENT: &str =
        "021 102 021 120 021 021 210 210 201 210 210 120 201 102 120 120";

    #[test]
    fn a_ring_without_nodes_prefers_no_one() {
        assert_eq!(
            Ring::new(&[]).preference(ShardId(3), 2),
            Vec::<NodeId>::new()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn each_shard_gets_every_node_once(numbers in prop::collection::btree_set(0_u8..40, 1..12), shard: u16, count in 0_usize..14) {
            let nodes: Vec<NodeId> = numbers.iter().copied().map(node).collect();
            let found = Ring::new(&nodes).preference(ShardId(shard), count);
            prop_assert_eq!(found.len(), count.min(nodes.len()));
            let distinct: BTreeSet<&NodeId> = found.iter().collect();
            prop_assert_eq!(distinct.len(), found.len());
        }

        #[test]
        fn the_order_and_repetition_of_the_nodes_does_not_matter(
            numbers in prop::collection::vec(0_u8..40, 1..12).prop_shuffle(),
        ) {
            let given: Vec<NodeId> = numbers.iter().copied().map(node).collect();
            let sorted: BTreeSet<NodeId> = given.iter().cloned().collect();
            let (left, right) = (Ring::new(&given), Ring::new(&sorted));
            for shard in 0..64 {
                prop_assert_eq!(left.preference(ShardId(shard), 3), right.preference(ShardId(shard), 3));
            }
        }

        #[test]
        fn a_node_that_joins_takes_about_its_share_and_nothing_moves_between_old_nodes(
            numbers in prop::collection::btree_set(0_u8..40, 1..10),
        ) {
            const SHARDS: u16 = 1024;
            let nodes: Vec<NodeId> = numbers.iter().copied().map(node).collect();
            let newcomer = node(99);
            let before = owners(&Ring::new(&nodes), SHARDS);
            let after = owners(&Ring::new(nodes.iter().chain([&newcomer])), SHARDS);
            let moved = before.iter().zip(&after).filter(|(old, new)| old != new).collect::<Vec<_>>();
            prop_assert!(moved.iter().all(|(_, new)| **new == newcomer));
            let ideal = usize::from(SHARDS) / (nodes.len() + 1);
            prop_assert!((ideal / 2..=ideal * 2).contains(&moved.len()), "moved {} of ideally {ideal}", moved.len());
        }
    }
}
