//! Looks after the table as a whole, for as long as this node holds the coordinator's lease: rows keep their nodes, places
//! that are free are filled, a node that is gone for good loses its places.
//!
//! Any node may do this, several at once too: the compare-and-set on the table's version is what is safe, the lease only
//! avoids work. Ownership is not moved here: a shard that was ever claimed changes its owner by failover alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::ids::{NodeId, ShardId};
use crate::node::Setup;
use crate::node::assignment::next_table;
use crate::node::table::{NodeAddresses, Table, TableError, TableStore};
use crate::shard::log::{Identity, ShardLog};

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the lease holds.
const LEASE: Duration = Duration::from_secs(5);

/// A node loses its places only when it has been seen missing for so long: a Redis that lost the registrations, or has
/// just failed over, gets them back within seconds.
const MISSED: Duration = Duration::from_secs(10);

/// The coordinator's part of a node.
#[derive(Debug)]
pub(super) struct Coordinator {
    node: NodeId,
    identity: Identity,
    replicas: usize,
    store: Arc<dyn TableStore>,
    log: Arc<dyn ShardLog>,
    /// Shards that have a control record: once claimed, always claimed.
    claimed: BTreeSet<ShardId>,
    /// Nodes that the table names and that are not registered, since when.
    missing: BTreeMap<NodeId, Instant>,
    leads: bool,
}

impl Coordinator {
    /// `None` where the table is looked after by whoever starts the nodes.
    pub(super) fn of(setup: &Setup) -> Option<Self> {
        Some(Self {
            node: setup.id.clone(),
            identity: setup.identity,
            replicas: setup.config.replicas?,
            store: Arc::clone(&setup.table),
            log: Arc::clone(&setup.log),
            claimed: BTreeSet::new(),
            missing: BTreeMap::new(),
            leads: false,
        })
    }

    /// Looks after the table for ever. Of an outage of its store others tell.
    pub(super) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            drop(self.look().await);
        }
    }

    /// One look, and what follows from it.
    async fn look(&mut self) -> Result<(), TableError> {
        let leads = self.store.lead(&self.node, LEASE).await?;
        if std::mem::replace(&mut self.leads, leads) != leads {
            tracing::info!(node = %self.node, leads, "the coordinator's lease");
            // What another one saw meanwhile is not known here.
            self.missing.clear();
        }
        if !leads {
            return Ok(());
        }
        let Some(table) = self.store.load().await? else { return Ok(()) };
        if table.identity != self.identity {
            return Ok(());
        }
        let registered = self.store.nodes().await?;
        let claimed = self.claimed().await;
        let nodes = self.counted(&table, registered, Instant::now());
        let Some(next) = next_table(&table, &nodes, self.replicas, &claimed) else { return Ok(()) };
        let (version, count) = (next.version, next.nodes.len());
        if self.store.swap(table.version, next).await? {
            tracing::info!(node = %self.node, version, nodes = count, "the table is changed");
        }
        Ok(())
    }

    /// The shards that have a control record; those that had none so far are asked for. What does not answer counts as
    /// claimed, this time.
    async fn claimed(&mut self) -> BTreeSet<ShardId> {
        let count = u16::try_from(self.identity.shards.saturating_sub(1)).unwrap_or(u16::MAX);
        let unknown: Vec<ShardId> = (0..=count).map(ShardId).filter(|shard| !self.claimed.contains(shard)).collect();
        if unknown.is_empty() {
            return self.claimed.clone();
        }
        let mut doubtful = BTreeSet::new();
        for (shard, seen) in unknown.iter().zip(self.log.observe(&unknown).await) {
            match seen {
                Ok(seen) if seen.control.is_none() => {}
                Ok(_) => drop(self.claimed.insert(*shard)),
                Err(_) => drop(doubtful.insert(*shard)),
            }
        }
        &self.claimed | &doubtful
    }

    /// The nodes that keep their places: those registered, and those that were until a moment ago.
    fn counted(
        &mut self,
        table: &Table,
        registered: BTreeMap<NodeId, NodeAddresses>,
        now: Instant,
    ) -> BTreeMap<NodeId, NodeAddresses> {
        self.missing.retain(|node, _| !registered.contains_key(node) && table.nodes.contains_key(node));
        let mut counted = registered;
        for (node, addresses) in &table.nodes {
            if counted.contains_key(node) {
                continue;
            }
            let since = *self.missing.entry(node.clone()).or_insert(now);
            if now.duration_since(since) < MISSED {
                counted.insert(node.clone(), addresses.clone());
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;
    use crate::node::assignment::first_table;
    use crate::node::table::embedded::EmbeddedTable;
    use crate::shard::log::embedded::EmbeddedLog;
    use crate::shard::log::record::Tail;
    use crate::shard::log::{Claim, Token};

    struct Bench {
        _folder: tempfile::TempDir,
        log: Arc<EmbeddedLog>,
        store: Arc<dyn TableStore>,
        identity: Identity,
    }

    fn addresses(of: &str) -> NodeAddresses {
        NodeAddresses { http: format!("{of}:1"), peer: format!("{of}:2") }
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let log = EmbeddedLog::open(&folder.path().join("log.sqlite")).await.expect("opens");
            let store: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
            let identity = Identity { cluster: ClusterId::random(), shards: 16 };
            Self { _folder: folder, log, store, identity }
        }

        fn coordinator(&self, node: &str) -> Coordinator {
            Coordinator {
                node: NodeId::from(node),
                identity: self.identity,
                replicas: 2,
                store: Arc::clone(&self.store),
                log: Arc::clone(&self.log) as Arc<dyn ShardLog>,
                claimed: BTreeSet::new(),
                missing: BTreeMap::new(),
                leads: false,
            }
        }

        async fn register(&self, node: &str) {
            self.store.register(&NodeId::from(node), &addresses(node)).await.expect("registers");
        }

        /// The first table of these nodes, all of whose shards but the last are claimed.
        async fn begin(&self, nodes: &[&str]) -> Table {
            for node in nodes {
                self.register(node).await;
            }
            let table = first_table(self.identity, &self.store.nodes().await.expect("answers"), 2);
            assert_eq!(self.store.swap(0, table.clone()).await, Ok(true));
            for shard in (0..15).map(ShardId) {
                let claim = Claim {
                    shard,
                    expected: None,
                    token: Token::new(crate::ids::Epoch(1)),
                    owner: table.owner(shard).expect("named").clone(),
                    identity: self.identity,
                    begin_at: [Tail::EMPTY; 2],
                };
                self.log.claim(claim).await.expect("claims");
            }
            table
        }

        async fn table(&self) -> Table {
            self.store.load().await.expect("answers").expect("a table")
        }
    }

    #[tokio::test]
    async fn one_of_several_looks_after_the_table_and_claimed_shards_keep_their_owners() {
        let bench = Bench::new().await;
        let (mut one, mut two) = (bench.coordinator("a"), bench.coordinator("b"));
        one.look().await.expect("no table yet");
        let first = bench.begin(&["a", "b"]).await;
        two.look().await.expect("does nothing");
        assert_eq!((one.leads, two.leads, bench.table().await), (true, false, first.clone()));
        bench.register("c").await;
        one.look().await.expect("answers");
        let next = bench.table().await;
        assert_eq!((next.version, next.nodes.len()), (2, 3));
        assert_eq!(next.rows[..15], first.rows[..15]);
        one.look().await.expect("answers");
        assert_eq!(bench.table().await, next, "it stands");
    }

    #[tokio::test]
    async fn a_node_loses_its_places_only_when_it_is_missing_for_a_while() {
        let bench = Bench::new().await;
        let mut coordinator = bench.coordinator("a");
        let mut table = bench.begin(&["a", "b"]).await;
        table.nodes.insert(NodeId::from("gone"), addresses("gone"));
        let registered = bench.store.nodes().await.expect("answers");
        let begun = Instant::now();
        let gone = NodeId::from("gone");
        assert!(coordinator.counted(&table, registered.clone(), begun).contains_key(&gone));
        let late = begun + MISSED;
        assert!(coordinator.counted(&table, registered.clone(), late - Duration::from_millis(1)).contains_key(&gone));
        assert!(!coordinator.counted(&table, registered.clone(), late).contains_key(&gone));
        // It came back, and is missed again.
        let mut back = registered.clone();
        back.insert(gone.clone(), addresses("gone"));
        assert!(coordinator.counted(&table, back, late).contains_key(&gone));
        assert!(coordinator.counted(&table, registered, late).contains_key(&gone));
    }
}
