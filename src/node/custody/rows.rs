//! The rows of the shards that are open here: whoever owns a shard is the first of its row. After a
//! takeover the owner puts itself there, by compare-and-set on the table's version, without waiting
//! for the coordinator; all its shards at once. The same swap records that they were claimed, if
//! the table does not say so yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::cluster::balance;
use crate::cluster::table::{NodeAddresses, Table, TableStore};
use crate::ids::{NodeId, ShardId};
use crate::node::context::Setup;
use crate::node::custody::shards::Shards;
use crate::shard::ShardHandle;

/// Without a change it is looked at this often; also the pause after a failure.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause after another one was faster.
const AGAIN: Duration = Duration::from_millis(5);

/// Shards that are opened at about the same moment are told in one swap.
const GATHER: Duration = Duration::from_millis(20);

/// What was swapped here is seen by the follower within this time, or it was lost again with its
/// master of Redis.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// One call to the store is given up after this long.
const CALL_MAX: Duration = Duration::from_secs(2);

/// Shards that are proven to be owned here, each with how its row is to be made shorter, if it is.
type Owned = BTreeMap<ShardId, Option<Shorter>>;

/// A row as it was looked at, and who stays in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shorter {
    row: Vec<NodeId>,
    stays: Vec<NodeId>,
}

/// Looks after the rows of a node's open shards.
#[derive(Debug)]
pub(in crate::node) struct Rows {
    node: NodeId,
    addresses: NodeAddresses,
    store: Arc<dyn TableStore>,
    shards: Shards,
    table: watch::Receiver<Arc<Table>>,
    /// How many nodes a row should have; `None`: as many as it has.
    replicas: Option<usize>,
}

impl Rows {
    pub(in crate::node) fn new(
        setup: &Setup,
        addresses: NodeAddresses,
        shards: Shards,
        table: watch::Receiver<Arc<Table>>,
    ) -> Self {
        let (node, store, replicas) = (
            setup.id.clone(),
            Arc::clone(&setup.table),
            setup.config.replicas,
        );
        Self {
            node,
            addresses,
            store,
            shards,
            table,
            replicas,
        }
    }

    /// Looks after them for ever.
    pub(in crate::node) async fn run(mut self) {
        // What was swapped here and is not followed yet, and when.
        let mut ahead: Option<(Arc<Table>, Instant)> = None;
        loop {
            let followed = Arc::clone(&self.table.borrow_and_update());
            ahead = ahead
                .filter(|(ahead, at)| ahead.version > followed.version && at.elapsed() < AHEAD_MAX);
            let table = ahead
                .as_ref()
                .map_or(followed, |(ahead, _)| Arc::clone(ahead));
            let handles = self.shards.open();
            for handle in &handles {
                let row = table
                    .rows
                    .get(usize::from(handle.id().0))
                    .map_or(&[][..], Vec::as_slice);
                handle.set_standbys(standbys(&self.node, row));
            }
            // One that was taken meanwhile, and does not know it yet, must not be put back.
            let proven = handles.iter().filter(|handle| handle.is_proven());
            let owned: Owned = proven
                .map(|handle| (handle.id(), self.shorter(handle, &table)))
                .collect();
            if with_owner_first(&table, (&self.node, &self.addresses), &owned).is_some() {
                ahead = self
                    .swap(&table, &owned)
                    .await
                    .map(|swapped| (Arc::new(swapped), Instant::now()));
            }
            tokio::select! {
                () = self.shards.changed() => tokio::time::sleep(GATHER).await,
                changed = self.table.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The row of a shard without those who are more than it should have, when all that stay are in
    /// sync.
    fn shorter(&self, handle: &ShardHandle, table: &Table) -> Option<Shorter> {
        let row = table.rows.get(usize::from(handle.id().0))?;
        let replicas = self
            .replicas
            .filter(|replicas| row.len() > *replicas && row.first() == Some(&self.node))?;
        let in_sync = handle.standbys_in_sync().into_iter().collect();
        let stays = balance::without_surplus(table, handle.id(), replicas, &in_sync)?;
        Some(Shorter {
            row: row.clone(),
            stays,
        })
    }

    /// Swaps until the rows are as they should be, or the store does not answer. The table that
    /// stands then, if known.
    async fn swap(&self, followed: &Table, owned: &Owned) -> Option<Table> {
        let mut table = followed.clone();
        loop {
            let Some(next) = with_owner_first(&table, (&self.node, &self.addresses), owned) else {
                return Some(table);
            };
            // Whoever follows the table tells of its outage.
            if timeout(CALL_MAX, self.store.swap(table.version, next.clone()))
                .await
                .ok()?
                .ok()?
            {
                self.tell(&table, owned, next.version);
                return Some(next);
            }
            tokio::time::sleep(AGAIN).await;
            let fresh = timeout(CALL_MAX, self.store.load()).await.ok()?.ok()??;
            if fresh.identity != followed.identity {
                return None;
            }
            table = fresh;
        }
    }

    /// One line for each node whose shards were taken, or which gave them.
    fn tell(&self, before: &Table, owned: &Owned, version: u64) {
        let mut taken: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for owner in owned
            .keys()
            .filter_map(|shard| before.owner(*shard))
            .filter(|owner| **owner != self.node)
        {
            *taken.entry(owner).or_default() += 1;
        }
        for (from, shards) in taken {
            tracing::info!(node = %self.node, %from, shards, version, "the table names this node for shards of another");
        }
    }
}

/// The standbys of a row whose shard `node` owns.
pub(in crate::node) fn standbys(node: &NodeId, row: &[NodeId]) -> Vec<NodeId> {
    row.iter().filter(|of| *of != node).cloned().collect()
}

/// The next table, in which this node is the first of the rows of these shards, the former first
/// ones are the last, the shards are claimed, and rows are as short as they are to be; `None` when
/// it is so.
fn with_owner_first(
    table: &Table,
    (node, addresses): (&NodeId, &NodeAddresses),
    owned: &Owned,
) -> Option<Table> {
    let behind: Vec<ShardId> = owned
        .keys()
        .copied()
        .filter(|shard| table.owner(*shard) != Some(node))
        .collect();
    let mut next = Table {
        version: table.version.saturating_add(1),
        ..table.clone()
    };

    let mut shortened = false;
    for (shard, shorter) in owned {
        // Only the row that was looked at: somebody may have changed it since.
        if let (Some(shorter), Some(row)) = (shorter, next.rows.get_mut(usize::from(shard.0)))
            && *row == shorter.row
        {
            row.clone_from(&shorter.stays);
            next.changes.replaced.remove(shard);
            shortened = true;
        }
    }

    if behind.is_empty() && !shortened && owned.keys().all(|shard| table.claimed.contains(shard)) {
        return None;
    }
    for shard in behind {
        let Some(row) = next.rows.get_mut(usize::from(shard.0)) else {
            continue;
        };
        let (former, others) = row
            .split_first()
            .map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        let others = others.iter().filter(|of| *of != node);
        *row = std::iter::once(node)
            .chain(others)
            .chain(former)
            .cloned()
            .collect();
    }

    next.claimed.extend(owned.keys());
    next.nodes
        .entry(node.clone())
        .or_insert_with(|| addresses.clone());
    Some(next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::cluster::table::embedded::EmbeddedTable;
    use crate::ids::ClusterId;
    use crate::log::Identity;
    use crate::log::embedded::EmbeddedLog;

    fn addresses() -> NodeAddresses {
        NodeAddresses {
            http: "h:1".to_owned(),
            peer: "h:2".to_owned(),
            ..NodeAddresses::default()
        }
    }

    fn table(version: u64, rows: &[&[&str]]) -> Table {
        let identity = Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards: 4,
        };
        let rows: Vec<Vec<NodeId>> = rows
            .iter()
            .map(|row| row.iter().map(|&of| NodeId::from(of)).collect())
            .collect();
        let nodes = rows
            .iter()
            .flatten()
            .map(|node| (node.clone(), addresses()))
            .collect();
        Table {
            version,
            identity,
            nodes,
            rows,
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        }
    }

    fn first(table: &Table, owned: &[u16]) -> Option<Table> {
        let owned = owned.iter().map(|shard| (ShardId(*shard), None)).collect();
        with_owner_first(table, (&NodeId::from("b"), &addresses()), &owned)
    }

    #[test]
    fn the_owner_becomes_the_first_of_its_rows_and_the_former_one_the_last() {
        let before = table(
            4,
            &[&["a", "b", "c"], &["b", "a"], &["a", "c"], &["a", "b"]],
        );
        let after = first(&before, &[0, 1, 2]).expect("a change");

        assert_eq!(
            after.rows,
            table(
                5,
                &[&["b", "c", "a"], &["b", "a"], &["b", "c", "a"], &["a", "b"]]
            )
            .rows
        );
        assert_eq!(after.version, 5);
        assert_eq!(first(&after, &[0, 1, 2]), None);
        assert_eq!(after.claimed, [0, 1, 2].map(ShardId).into());

        let recorded = first(&before, &[1]).expect("that it was claimed");
        assert_eq!(
            (&recorded.rows, &recorded.claimed),
            (&before.rows, &BTreeSet::from([ShardId(1)]))
        );
        assert_eq!(first(&recorded, &[1]), None);

        let strange = table(1, &[&["a"], &[]]);
        assert_eq!(
            first(&strange, &[1, 7]).expect("a change").nodes.len(),
            2,
            "it can be reached"
        );
    }

    #[test]
    fn whoever_is_more_than_a_row_should_have_goes_from_the_row_that_was_looked_at() {
        let mut before = table(4, &[&["b", "a", "c"], &["b", "a"], &["b", "d", "a"]]);
        let [b, a] = ["b", "a"].map(NodeId::from);
        before.changes.replaced = [0, 2].map(|shard| (ShardId(shard), a.clone())).into();

        let nodes = |of: &[&str]| of.iter().map(|&of| NodeId::from(of)).collect::<Vec<_>>();
        let shorter = || {
            Some(Shorter {
                row: nodes(&["b", "a", "c"]),
                stays: nodes(&["b", "c"]),
            })
        };
        let owned = Owned::from([0, 2].map(|shard| (ShardId(shard), shorter())));
        let after = with_owner_first(&before, (&b, &addresses()), &owned).expect("a change");

        assert_eq!(
            after.rows,
            table(5, &[&["b", "c"], &["b", "a"], &["b", "d", "a"]]).rows
        );
        assert_eq!(after.changes.replaced, [(ShardId(2), a)].into());
    }

    #[test]
    fn the_standbys_are_the_others_of_the_row() {
        let row = ["a", "b", "c"].map(NodeId::from);
        assert_eq!(standbys(&row[1], &row), [row[0].clone(), row[2].clone()]);
        assert!(standbys(&row[1], &[]).is_empty());
    }

    #[tokio::test]
    async fn a_swap_that_lost_is_made_again_on_the_table_that_won() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
            .await
            .expect("opens");
        let store: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(log));
        let old = table(1, &[&["a", "b"], &["a", "b"]]);
        assert_eq!(store.swap(0, old.clone()).await, Ok(true));
        assert_eq!(
            store.swap(1, table(2, &[&["a", "b"], &["c", "b"]])).await,
            Ok(true)
        );

        let rows = Rows {
            node: NodeId::from("b"),
            addresses: addresses(),
            store: Arc::clone(&store),
            shards: Shards::default(),
            table: watch::channel(Arc::new(old.clone())).1,
            replicas: None,
        };

        let swapped = rows.swap(&old, &BTreeMap::from([(ShardId(1), None)])).await;
        let stands = store.load().await.expect("answers").expect("a table");
        assert_eq!(swapped.as_ref(), Some(&stands));
        assert_eq!(
            (stands.version, stands.rows),
            (3, table(3, &[&["a", "b"], &["b", "c"]]).rows)
        );
    }
}
