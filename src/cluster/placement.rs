//! A node's part in the table, by compare-and-set, for as long as the node lives: the first table
//! when enough nodes have registered, and always the node's own present addresses and the claimed
//! shards that it knows of. A table that Redis has lost is written again, as this node saw it last.
//! No rows are moved here: who owns what stays as it is.
//!
//! Whoever swaps writes the same from the same registrations; of several one wins, and the others
//! find its table.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::assignment::first_table;
use crate::cluster::claimed::Claimed;
use crate::cluster::folder::Folder;
use crate::cluster::table::{NodeAddresses, Polled, Table, TableError, TableStore};
use crate::cluster::waiting::Waiting;
use crate::ids::NodeId;
use crate::log::Identity;

/// How often the table is looked at until it names this node, and afterwards.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));

/// What a node brings to the table.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Where the table is.
    pub(crate) store: Arc<dyn TableStore>,
    /// Of which cluster.
    pub(crate) identity: Identity,
    /// Which node.
    pub(crate) node: NodeId,
    /// How it is reached.
    pub(crate) addresses: NodeAddresses,
    /// Registered nodes that the first table waits for.
    pub(crate) expected: usize,
    /// Nodes that hold each shard.
    pub(crate) replicas: usize,
    /// Keeps the last table seen.
    pub(crate) folder: Folder,
    /// Shards that were ever claimed, as this node knows.
    pub(crate) claimed: Claimed,
    /// Told what is waited for.
    pub(crate) waiting: Waiting,
}

impl Placement {
    /// Looks after the table, for ever. A store that does not answer is asked again; of its outage
    /// others tell.
    pub(crate) async fn run(self) {
        let mut seen = None;
        loop {
            let placed = self.look(&mut seen).await.unwrap_or(false);
            let (until, after) = LOOK;
            tokio::time::sleep(if placed { after } else { until }).await;
        }
    }

    /// One look, and what follows from it. True when the table names this node as it is.
    async fn look(&self, seen: &mut Option<Table>) -> Result<bool, TableError> {
        match self.store.load_unless(seen.as_ref()).await? {
            Polled::Changed(table) => {
                if table.identity != self.identity {
                    let details = format!("Redis holds one of {}", table.identity.cluster);
                    self.waiting.change("this cluster's table", details);
                    return Ok(false);
                }
                *seen = Some(self.remember(table));
            }
            Polled::Unchanged => {}
            // Before the first one, or lost: also while this node runs.
            Polled::Gone => return self.first(seen.take()).await.map(|()| false),
        }
        let Some(table) = seen else { return Ok(false) };

        let mut next = Table {
            version: table.version.saturating_add(1),
            ..table.clone()
        };
        next.nodes.insert(self.node.clone(), self.addresses.clone());
        next.claimed.extend(self.claimed.all());
        if (&next.nodes, &next.claimed) == (&table.nodes, &table.claimed) {
            return Ok(true);
        }
        tracing::info!(
            version = next.version,
            peer = self.addresses.peer,
            "telling the table what it lacks of this node"
        );
        self.store.swap(table.version, next).await?;
        // Whether it was ours or another's: the next look shows what stands now.
        Ok(false)
    }

    /// Keeps a table in the folder, with every claimed shard that was known before. Gives it back
    /// as it was read.
    fn remember(&self, table: Table) -> Table {
        self.claimed.add(table.claimed.iter().copied());
        let kept = Table {
            claimed: self.claimed.all(),
            ..table.clone()
        };
        if let Err(error) = self.folder.remember(&kept) {
            tracing::warn!(error, "the table cannot be remembered");
        }
        table
    }

    /// Writes the table that there was, if there was one, else the first one when it is time.
    /// `seen` is the last one that this process saw.
    async fn first(&self, seen: Option<Table>) -> Result<(), TableError> {
        let last = match seen.map_or_else(|| self.folder.last_table(), |seen| Ok(Some(seen))) {
            Ok(last) => last,
            Err(why) => {
                // It may say who owns what: not to be guessed anew.
                self.waiting.change("the last table seen", why);
                return Ok(());
            }
        };
        if let Some(table) = last {
            return self.again(table).await;
        }

        let registered = self.store.nodes().await?;
        if registered.len() < self.expected {
            let names: Vec<String> = registered.keys().map(ToString::to_string).collect();
            let (count, expected) = (names.len(), self.expected);
            let details = format!(
                "{count} of {expected} have registered (--expect-nodes): {}",
                names.join(", ")
            );
            self.waiting.change("nodes", details);
            return Ok(());
        }

        let mut table = first_table(self.identity, &registered, self.replicas);
        table.claimed.extend(self.claimed.all());
        if self.store.swap(0, table).await? {
            tracing::info!(
                nodes = registered.len(),
                shards = self.identity.shards,
                "the first table is written"
            );
        }

        Ok(())
    }

    /// Writes a table again that Redis has lost, and the identity of the cluster with it: nobody
    /// who starts now may take this Redis for a new one.
    async fn again(&self, lost: Table) -> Result<(), TableError> {
        let holds = self.store.create(self.identity).await?;
        if holds != self.identity {
            self.waiting.change(
                "this cluster's identity",
                format!("Redis holds cluster {}", holds.cluster),
            );
            return Ok(());
        }

        // A restore writes one that never stood (ADR 21).
        let restored = lost.version == 0;
        let mut next = Table {
            version: lost.version.saturating_add(1),
            ..lost
        };
        next.claimed.extend(self.claimed.all());
        let version = next.version;
        if !self.store.swap(0, next).await? {
            return Ok(());
        }

        if restored {
            tracing::info!(version, "the table of a restored folder is written");
        } else {
            tracing::error!(
                version,
                "redis has lost the table; the last one seen is written again"
            );
        }

        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::cluster::table::embedded::EmbeddedTable;
    use crate::ids::{ClusterId, ShardId};
    use crate::log::embedded::EmbeddedLog;

    struct Bench {
        folder: tempfile::TempDir,
        store: Arc<dyn TableStore>,
        identity: Identity,
    }

    async fn bench() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
            .await
            .expect("opens");
        let store: Arc<dyn TableStore> = Arc::new(EmbeddedTable::new(log));
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 16,
        };
        Bench {
            folder,
            store,
            identity,
        }
    }

    fn addresses(port: u16) -> NodeAddresses {
        NodeAddresses {
            http: format!("h:{port}"),
            peer: format!("p:{port}"),
            ..NodeAddresses::default()
        }
    }

    impl Bench {
        /// A registered node's part.
        async fn node(&self, name: &str, port: u16) -> Placement {
            let node = NodeId::from(name);
            self.store
                .register(&node, &addresses(port))
                .await
                .expect("registers");
            let path = self.folder.path().join(name);

            std::fs::create_dir_all(&path).expect("a folder");
            let mut folder = Folder::open(&path, &node).expect("its own");
            folder.mark(self.identity).expect("marked");

            Placement {
                store: Arc::clone(&self.store),
                identity: self.identity,
                node,
                addresses: addresses(port),
                expected: 3,
                replicas: 2,
                folder,
                claimed: Claimed::default(),
                waiting: Waiting::on("a table"),
            }
        }

        async fn table(&self) -> Option<Table> {
            self.store.load().await.expect("answers")
        }
    }

    /// Looks until the table names the node as it is: a few looks at most.
    async fn settle(node: &Placement, seen: &mut Option<Table>) {
        for _ in 0..5 {
            if node.look(seen).await == Ok(true) {
                return;
            }
        }
        panic!("the table does not name {}: {seen:?}", node.node);
    }

    #[tokio::test]
    async fn the_first_table_waits_for_the_expected_nodes_in_any_order() {
        let bench = bench().await;
        let (three, one) = (bench.node("node-3", 3).await, bench.node("node-1", 1).await);
        assert_eq!(one.look(&mut None).await, Ok(false));
        assert_eq!(bench.table().await, None);
        assert_eq!(
            one.waiting.sentence(),
            "waiting for nodes: 2 of 3 have registered (--expect-nodes): node-1, node-3"
        );

        let two = bench.node("node-2", 2).await;
        let (mut seen, mut late) = (None, None);
        assert_eq!(two.look(&mut seen).await, Ok(false));
        assert_eq!(two.look(&mut seen).await, Ok(true));
        assert_eq!(three.look(&mut late).await, Ok(true));

        let table = bench.table().await.expect("written");
        assert_eq!(
            (table.version, table.nodes.len(), table.rows.len()),
            (1, 3, 16)
        );

        for node in [&one, &two, &three] {
            assert!(
                table.owned_by(&node.node).next().is_some(),
                "{} owns nothing",
                node.node
            );
        }
    }

    #[tokio::test]
    async fn nodes_that_write_the_first_table_at_once_agree() {
        let bench = bench().await;
        let nodes = [
            bench.node("a", 1).await,
            bench.node("b", 2).await,
            bench.node("c", 3).await,
        ];

        let running: Vec<_> = nodes
            .into_iter()
            .map(|node| tokio::spawn(node.run()))
            .collect();
        let written = async {
            while bench.table().await.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };

        tokio::time::timeout(Duration::from_secs(30), written)
            .await
            .expect("a table");
        tokio::time::sleep(LOOK.0 * 3).await;

        assert_eq!(bench.table().await.map(|table| table.version), Some(1));
        running.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_node_that_moved_or_came_later_tells_where_it_is_and_moves_no_rows() {
        let bench = bench().await;
        let first = [
            bench.node("a", 1).await,
            bench.node("b", 2).await,
            bench.node("c", 3).await,
        ];
        let mut seen = None;
        first[0].look(&mut seen).await.expect("writes");

        let rows = bench.table().await.expect("written").rows;
        for (name, port) in [("b", 22), ("late", 4)] {
            let (node, mut its) = (bench.node(name, port).await, None);
            assert_eq!(node.look(&mut its).await, Ok(false));
            assert_eq!(node.look(&mut its).await, Ok(true));
            let table = bench.table().await.expect("written");
            assert_eq!(table.addresses(&node.node), Some(&addresses(port)));
            assert_eq!(table.rows, rows);
        }

        assert_eq!(bench.table().await.expect("written").version, 3);

        // One that did not see the others' changes loses its swap, and wins the next.
        let (moved, mut old) = (bench.node("a", 11).await, seen);
        settle(&moved, &mut old).await;

        assert_eq!(
            bench.table().await.expect("written").addresses(&moved.node),
            Some(&addresses(11))
        );
    }

    #[tokio::test]
    async fn a_last_table_that_cannot_be_read_is_not_guessed_anew() {
        let bench = bench().await;
        let nodes = [
            bench.node("a", 1).await,
            bench.node("b", 2).await,
            bench.node("c", 3).await,
        ];
        std::fs::write(nodes[0].folder.path().join("table.json"), "{").expect("a file");
        assert_eq!(nodes[0].look(&mut None).await, Ok(false));
        assert_eq!(bench.table().await, None);
        assert!(
            nodes[0].waiting.sentence().contains("table.json"),
            "{}",
            nodes[0].waiting.sentence()
        );
    }

    #[tokio::test]
    async fn a_lost_table_comes_back_with_the_rows_that_it_had() {
        let bench = bench().await;
        let node = bench.node("a", 1).await;
        // Rows that no ring would give.
        let rows = vec![vec![NodeId::from("elsewhere")]; 16];
        let nodes = std::collections::BTreeMap::from([(NodeId::from("elsewhere"), addresses(9))]);
        let claimed = BTreeSet::from([ShardId(3)]);
        let lost = Table {
            version: 0,
            identity: bench.identity,
            nodes,
            rows: rows.clone(),
            claimed: claimed.clone(),
            changes: Changes::default(),
        };

        node.folder.remember(&lost).expect("written");
        settle(&node, &mut None).await;

        let table = bench.table().await.expect("written");
        assert_eq!((&table.rows, &table.claimed), (&rows, &claimed));
        assert_eq!(table.addresses(&node.node), Some(&addresses(1)));
        assert_eq!(
            bench.store.identity().await,
            Ok(Some(bench.identity)),
            "it went with the table"
        );
    }

    #[tokio::test]
    async fn a_table_that_is_lost_under_a_running_node_is_written_again_by_it() {
        let bench = bench().await;
        let node = bench.node("a", 1).await;
        let rows = vec![vec![NodeId::from("elsewhere")]; 16];
        let nodes = std::collections::BTreeMap::from([(NodeId::from("elsewhere"), addresses(9))]);
        let stood = Table {
            version: 0,
            identity: bench.identity,
            nodes,
            rows,
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        };

        // The store answers that there is none; a table of an earlier run that differs is not what
        // this process saw.
        node.folder
            .remember(&Table {
                rows: vec![Vec::new(); 16],
                ..stood.clone()
            })
            .expect("written");
        let mut seen = Some(stood.clone());

        settle(&node, &mut seen).await;
        assert_eq!(bench.table().await.expect("written").rows, stood.rows);
    }

    #[tokio::test]
    async fn what_a_node_knows_of_claimed_shards_is_told_to_the_table_and_kept_for_good() {
        let bench = bench().await;
        let nodes = [
            bench.node("a", 1).await,
            bench.node("b", 2).await,
            bench.node("c", 3).await,
        ];
        let mut seen = None;
        settle(&nodes[0], &mut seen).await;
        nodes[0].claimed.add([ShardId(5)]);
        settle(&nodes[0], &mut seen).await;

        let told = bench.table().await.expect("written");
        assert_eq!(told.claimed, BTreeSet::from([ShardId(5)]));

        // Another one, of a version that knows no such thing, leaves it out.
        let forgot = Table {
            version: told.version + 1,
            claimed: BTreeSet::new(),
            ..told.clone()
        };

        assert_eq!(bench.store.swap(told.version, forgot).await, Ok(true));
        settle(&nodes[0], &mut seen).await;
        assert_eq!(bench.table().await.expect("written").claimed, told.claimed);

        let kept = nodes[0]
            .folder
            .last_table()
            .expect("it is read")
            .expect("there is one");
        assert_eq!(kept.claimed, told.claimed);
    }
}
