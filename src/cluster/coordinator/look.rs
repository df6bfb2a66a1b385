//! The looks of the coordinator: what each of them finds, and which table follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::cluster::assignment::next_table;
use crate::cluster::balance::{Balance, Placed};
use crate::cluster::claimed::Claimed;
use crate::cluster::coordinator::attendance::Attendance;
use crate::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use crate::ids::{NodeId, ShardId};
use crate::log::{Identity, ShardLog};

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the lease holds.
const LEASE: Duration = Duration::from_secs(5);

/// Rows that have a further standby at the same time, to be seeded.
const EXTRA_MAX: usize = 8;

/// What a coordinator works with.
#[derive(Debug)]
pub(crate) struct CoordinatorDeps {
    /// The node that it is a part of.
    pub(crate) node: NodeId,
    /// The cluster whose table is looked after.
    pub(crate) identity: Identity,
    /// Nodes that hold a shard, its owner among them.
    pub(crate) replicas: usize,
    /// Where the table is kept.
    pub(crate) store: Arc<dyn TableStore>,
    /// The log, for its control records.
    pub(crate) log: Arc<dyn ShardLog>,
    /// Shards that were ever claimed, as this node knows: once claimed, always claimed.
    pub(crate) claimed: Claimed,
    /// Whether shards are evened out; a node that drains gives what it has all the same.
    pub(crate) evens: bool,
    /// Told which nodes have been there for a while, as long as this one leads: among them shards
    /// are moved.
    pub(crate) balanced: watch::Sender<Balanced>,
}

/// The nodes among which shards are moved by this node; none while it does not lead.
pub(crate) type Balanced = Option<Arc<BTreeSet<NodeId>>>;

/// The coordinator's part of a node.
#[derive(Debug)]
pub(crate) struct Coordinator {
    node: NodeId,
    identity: Identity,
    replicas: usize,
    store: Arc<dyn TableStore>,
    log: Arc<dyn ShardLog>,
    /// Shards that were ever claimed, as this node knows: once claimed, always claimed.
    claimed: Claimed,
    /// Which nodes have been there for a while.
    attendance: Attendance,
    evens: bool,
    balanced: watch::Sender<Balanced>,
    leads: bool,
}

impl Coordinator {
    /// Leads nobody until it holds the lease.
    pub(crate) fn new(deps: CoordinatorDeps) -> Self {
        let CoordinatorDeps {
            node,
            identity,
            replicas,
            store,
            log,
            claimed,
            evens,
            balanced,
        } = deps;

        Self {
            node,
            identity,
            replicas,
            store,
            log,
            claimed,
            attendance: Attendance::default(),
            evens,
            balanced,
            leads: false,
        }
    }

    /// Looks after the table for ever. An outage of its store is told by others.
    pub(crate) async fn run(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if self.look().await.is_err() {
                // Who leads now is not known.
                self.balance_among(None);
            }
        }
    }

    /// One look, and what follows from it.
    async fn look(&mut self) -> Result<(), TableError> {
        let leads = self.store.lead(&self.node, LEASE).await?;
        self.note_lease(leads);
        if !leads {
            self.balance_among(None);
            return Ok(());
        }
        let Some(table) = self.store.load().await? else {
            return Ok(());
        };
        if table.identity != self.identity {
            return Ok(());
        }

        self.claimed.add(table.claimed.iter().copied());
        let registered = self.store.nodes().await?;
        let doubtful = self.doubtful().await;
        let steady = self.attendance.steady(&registered, Instant::now());
        let nodes = self.attendance.counted(&table, registered, Instant::now());
        let next = self.next(&table, &nodes, &doubtful);
        // One change after the other: what is to be filled or taken out comes first.
        let placed = if next.is_none() {
            self.placed(&table, &steady)
        } else {
            None
        };

        self.balance_among(next.is_none().then(|| Arc::new(steady)));
        match next.map(|next| (next, Vec::new())).or(placed) {
            Some((next, placed)) => self.swap(table.version, next, placed).await,
            None => Ok(()),
        }
    }

    /// Swaps the table, and tells what was placed by that.
    async fn swap(
        &self,
        expected: u64,
        next: Table,
        placed: Vec<Placed>,
    ) -> Result<(), TableError> {
        let (node, version, nodes) = (&self.node, next.version, next.nodes.len());
        if !self.store.swap(expected, next).await? {
            return Ok(());
        }
        tracing::info!(%node, version, nodes, "the table is changed");
        for Placed {
            shard,
            node: to,
            instead_of,
            why,
        } in placed
        {
            tracing::info!(%node, %shard, %to, %instead_of, why, "a row gets a further node");
        }
        Ok(())
    }

    fn note_lease(&mut self, leads: bool) {
        if std::mem::replace(&mut self.leads, leads) != leads {
            if leads {
                tracing::info!(node = %self.node, "this node coordinates from now on");
            } else {
                tracing::info!(node = %self.node, "this node coordinates no more");
            }
            // What another one saw meanwhile is not known here.
            self.attendance.forget();
        }
    }

    /// The table that should follow, in which every shard is claimed that is known to be.
    fn next(
        &self,
        table: &Table,
        nodes: &BTreeMap<NodeId, NodeAddresses>,
        doubtful: &BTreeSet<ShardId>,
    ) -> Option<Table> {
        let known = Table {
            claimed: self.claimed.all(),
            ..table.clone()
        };
        let recorded = || Table {
            version: table.version.saturating_add(1),
            ..known.clone()
        };
        let next = next_table(&known, nodes, self.replicas, doubtful);
        next.or_else(|| (known.claimed != table.claimed).then(recorded))
    }

    /// The table in which places of nodes that drain go to others, and in which nodes that have too
    /// few get some, if that is to be.
    fn placed(&self, table: &Table, steady: &BTreeSet<NodeId>) -> Option<(Table, Vec<Placed>)> {
        let resting = BTreeSet::new();
        let balance = Balance {
            table,
            nodes: steady,
            replicas: self.replicas,
            resting: &resting,
        };
        balance.next_places(EXTRA_MAX, self.evens)
    }

    /// Tells whoever moves shards among which nodes.
    fn balance_among(&self, nodes: Balanced) {
        self.balanced
            .send_if_modified(|known| std::mem::replace(known, nodes.clone()) != nodes);
    }

    /// Looks at the control records of shards that are not known to be claimed. Those that have one
    /// are from now on; those that do not answer, which are returned, count as claimed this time.
    async fn doubtful(&self) -> BTreeSet<ShardId> {
        let (count, claimed) = (
            u16::try_from(self.identity.shards.saturating_sub(1)).unwrap_or(u16::MAX),
            self.claimed.all(),
        );
        let unknown: Vec<ShardId> = (0..=count)
            .map(ShardId)
            .filter(|shard| !claimed.contains(shard))
            .collect();
        let mut doubtful = BTreeSet::new();
        if unknown.is_empty() {
            return doubtful;
        }

        for (shard, seen) in unknown.iter().zip(self.log.observe(&unknown).await) {
            match seen {
                Ok(seen) if seen.control.is_none() => {}
                Ok(_) => self.claimed.add([*shard]),
                Err(_) => drop(doubtful.insert(*shard)),
            }
        }

        doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::assignment::first_table;
    use crate::cluster::coordinator::attendance::{MISSED, STEADY};
    use crate::cluster::table::changes::Drain;
    use crate::cluster::table::embedded::EmbeddedTable;
    use crate::ids::ClusterId;
    use crate::log::embedded::EmbeddedLog;
    use crate::log::record::Tail;
    use crate::log::{Claim, PerStream, Token};

    struct Bench {
        folder: tempfile::TempDir,
        log: Arc<EmbeddedLog>,
        store: Arc<dyn TableStore>,
        identity: Identity,
    }

    fn addresses(of: &str) -> NodeAddresses {
        NodeAddresses {
            http: format!("{of}:1"),
            peer: format!("{of}:2"),
            ..NodeAddresses::default()
        }
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
                .await
                .expect("opens");
            let store: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
            let identity = Identity {
                cluster: ClusterId::random(),
                shards: 16,
            };
            Self {
                folder,
                log,
                store,
                identity,
            }
        }

        fn coordinator(&self, node: &str) -> Coordinator {
            Coordinator {
                node: NodeId::from(node),
                identity: self.identity,
                replicas: 2,
                store: Arc::clone(&self.store),
                log: Arc::clone(&self.log) as Arc<dyn ShardLog>,
                claimed: Claimed::default(),
                attendance: Attendance::default(),
                evens: false,
                balanced: watch::channel(None).0,
                leads: false,
            }
        }

        async fn register(&self, node: &str) {
            self.store
                .register(&NodeId::from(node), &addresses(node))
                .await
                .expect("registers");
        }

        /// The first table of these nodes, all of whose shards but the last are claimed.
        async fn begin(&self, nodes: &[&str]) -> Table {
            for node in nodes {
                self.register(node).await;
            }

            let table = first_table(
                self.identity,
                &self.store.nodes().await.expect("answers"),
                2,
            );
            assert_eq!(self.store.swap(0, table.clone()).await, Ok(true));

            for shard in (0..15).map(ShardId) {
                let claim = Claim {
                    shard,
                    expected: None,
                    token: Token::new(crate::ids::Epoch(1)),
                    owner: table.owner(shard).expect("named").clone(),
                    identity: self.identity,
                    begin_at: PerStream::both(Tail::EMPTY),
                    ends_at: None,
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
        assert_eq!(
            (one.leads, two.leads, bench.table().await),
            (true, false, first.clone())
        );

        bench.register("c").await;
        one.look().await.expect("answers");

        let next = bench.table().await;
        assert_eq!((next.version, next.nodes.len()), (2, 3));
        assert_eq!(
            next.claimed,
            (0..15).map(ShardId).collect(),
            "those that have a control record, for good"
        );
        assert_eq!(next.rows[..15], first.rows[..15]);

        one.look().await.expect("answers");
        assert_eq!(bench.table().await, next, "it stands");
    }

    #[tokio::test]
    async fn a_new_coordinator_leaves_claimed_shards_where_they_are_when_redis_lost_their_control_records()
     {
        let bench = Bench::new().await;
        let mut first = bench.begin(&["a", "b", "c"]).await;
        // Owners and standbys as no ring would put them.
        first.rows.iter_mut().for_each(|row| row.reverse());
        assert_eq!(
            bench
                .store
                .swap(
                    1,
                    Table {
                        version: 2,
                        ..first.clone()
                    }
                )
                .await,
            Ok(true)
        );
        bench.coordinator("a").look().await.expect("answers");
        let recorded = bench.table().await;
        assert_eq!(recorded.claimed.len(), 15);

        // Another log: it knows no shard.
        let empty = EmbeddedLog::open(&bench.folder.path().join("empty.sqlite"))
            .await
            .expect("opens");
        let mut coordinator = Coordinator {
            log: empty,
            ..bench.coordinator("a")
        };
        bench.register("d").await;
        coordinator.look().await.expect("answers");
        let next = bench.table().await;
        assert!(next.nodes.contains_key(&NodeId::from("d")));
        assert_eq!(
            (&next.claimed, &next.rows[..15]),
            (&recorded.claimed, &first.rows[..15])
        );

        // What the table has forgotten is remembered here, and told it again.
        let forgot = Table {
            version: next.version + 1,
            claimed: BTreeSet::new(),
            ..next.clone()
        };
        assert_eq!(bench.store.swap(next.version, forgot).await, Ok(true));
        coordinator.look().await.expect("answers");
        assert_eq!(bench.table().await.claimed, recorded.claimed);
    }

    #[tokio::test]
    async fn places_of_a_draining_node_go_to_others_though_nothing_is_evened_out_and_by_any_coordinator()
     {
        let bench = Bench::new().await;
        let mut coordinator = bench.coordinator("a");
        bench.begin(&["a", "b", "c"]).await;
        coordinator.look().await.expect("answers");
        let whole = bench.table().await;
        let drained = NodeId::from("c");
        let mut marked = Table {
            version: whole.version + 1,
            ..whole.clone()
        };
        marked.changes.draining.insert(
            drained.clone(),
            Drain {
                since_ms: 1,
                by: "a test".to_owned(),
            },
        );
        assert_eq!(
            bench.store.swap(whole.version, marked.clone()).await,
            Ok(true)
        );

        // The coordinator has died, and the next one knows nodes only when it has seen them for a
        // while.
        let mut second = bench.coordinator("a");
        second.look().await.expect("answers");
        let freed = bench.table().await;
        assert!(
            !freed.rows[15].contains(&drained),
            "what was never claimed goes at once"
        );
        assert_eq!(freed.rows[..15], whole.rows[..15]);
        let long_ago = Instant::now()
            .checked_sub(STEADY)
            .expect("this machine runs for longer");
        second
            .attendance
            .there
            .values_mut()
            .for_each(|since| *since = long_ago);
        second.look().await.expect("answers");
        let placed = bench.table().await;
        let further: Vec<_> = placed.rows.iter().filter(|row| row.len() == 3).collect();
        assert!(!further.is_empty() && further.len() <= EXTRA_MAX);
        assert!(
            further.iter().all(|row| row[2] == drained),
            "it goes last: {further:?}"
        );
        assert_eq!(placed.changes.replaced.len(), further.len());
        second.look().await.expect("answers");
        assert_eq!(
            bench.table().await,
            placed,
            "as many as may be are under way"
        );
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

        assert!(
            coordinator
                .attendance
                .counted(&table, registered.clone(), begun)
                .contains_key(&gone)
        );

        let late = begun + MISSED;
        assert!(
            coordinator
                .attendance
                .counted(&table, registered.clone(), late - Duration::from_millis(1))
                .contains_key(&gone)
        );
        assert!(
            !coordinator
                .attendance
                .counted(&table, registered.clone(), late)
                .contains_key(&gone)
        );

        // It came back, and is missed again.
        let mut back = registered.clone();
        back.insert(gone.clone(), addresses("gone"));

        assert!(
            coordinator
                .attendance
                .counted(&table, back, late)
                .contains_key(&gone)
        );
        assert!(
            coordinator
                .attendance
                .counted(&table, registered, late)
                .contains_key(&gone)
        );
    }
}
