//! Where shards are that have just changed hands (ADR 19): known before the table says so, from the
//! node that gave them away.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};

/// A hint is of use for so long at most: the new owner tells the table within some tens of
/// milliseconds.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// What is known of shards beyond the table. At most one for each shard.
#[derive(Debug, Default)]
pub(super) struct Hints(ArcSwap<HashMap<ShardId, Hint>>);

/// Where one shard is.
#[derive(Debug, Clone)]
struct Hint {
    at: NodeId,
    /// Whom the table named when the hint came: when it names another, the table knows better.
    instead_of: Option<NodeId>,
    until: Instant,
}

impl Hint {
    fn holds(&self, shard: ShardId, table: &Table, now: Instant) -> bool {
        now < self.until && table.owner(shard) == self.instead_of.as_ref()
    }
}

impl Hints {
    /// A shard is at that node, whatever this table says.
    pub(super) fn note(&self, shard: ShardId, at: NodeId, table: &Table) {
        let now = Instant::now();
        let hint = Hint {
            at,
            instead_of: table.owner(shard).cloned(),
            until: now + KEPT_FOR,
        };
        self.0.rcu(|hints| {
            let mut hints = HashMap::clone(hints);
            hints.retain(|of, known| known.holds(*of, table, now));
            hints.insert(shard, hint.clone());
            hints
        });
    }

    /// Where a shard is, if more is known than the table says.
    pub(super) fn of(&self, shard: ShardId, table: &Table) -> Option<NodeId> {
        let hints = self.0.load();
        let hint = hints.get(&shard)?;
        hint.holds(shard, table, Instant::now())
            .then(|| hint.at.clone())
    }

    /// Nothing is known beyond the table, as far as a glance tells.
    pub(super) fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::owners::testing::table;

    #[test]
    fn a_hint_holds_until_the_table_names_another_owner() {
        let (hints, one, two) = (Hints::default(), ShardId(1), ShardId(2));
        let named = |version, owner: &str| table(version, &[(owner, String::new())]);
        assert!(hints.is_empty());

        hints.note(one, NodeId::from("b"), &named(1, "a"));
        assert_eq!(hints.of(one, &named(1, "a")), Some(NodeId::from("b")));
        assert_eq!(
            hints.of(one, &named(7, "a")),
            Some(NodeId::from("b")),
            "the table moved for another reason"
        );
        assert_eq!(hints.of(two, &named(1, "a")), None);
        assert_eq!(
            hints.of(one, &named(8, "c")),
            None,
            "the table knows better"
        );

        // One that is of no use any more goes when the next comes.
        hints.note(two, NodeId::from("c"), &named(8, "b"));
        assert_eq!(
            (hints.0.load().len(), hints.of(two, &named(8, "b"))),
            (1, Some(NodeId::from("c")))
        );
    }
}
